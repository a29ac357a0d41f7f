"""Small images in the true formats of the scene data sets."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning


def pixels(seed: int, size: int = 8) -> np.ndarray:
    """Float32 (size, size) in [0, 1)."""
    return np.random.default_rng(seed).random((size, size), dtype=np.float32)


def write_npy(file: Path, seed: int = 0) -> np.ndarray:
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, pixels(seed))
    return pixels(seed)


def write_png(file: Path, seed: int = 0) -> np.ndarray:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = (255 * pixels(seed)).astype(np.uint8)
    Image.fromarray(image).save(file)
    return image


def write_tif(file: Path, image: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = {"height": image.shape[0], "width": image.shape[1], "count": 1, "dtype": image.dtype.name}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(file, "w", driver="GTiff", **shape) as dataset:
            dataset.write(image, 1)


def write_bigearthnet_patch(root: Path, name: str, labels: Sequence[str], seed: int = 0) -> np.ndarray:
    """Write the three files of a patch; return its VV backscatter in dB, float32 (120, 120)."""
    vv = (-25 + 30 * pixels(seed, 120)).astype(np.float32)
    write_tif(root / name / f"{name}_VV.tif", vv)
    write_tif(root / name / f"{name}_VH.tif", (vv - 6).astype(np.float32))
    metadata = {"labels": list(labels), "corresponding_s2_patch": "S2A", "acquisition_time": "2017-06-13T16:50:43"}
    (root / name / f"{name}_labels_metadata.json").write_text(json.dumps(metadata))
    return vv
