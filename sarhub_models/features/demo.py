"""Show what the features are good for: radar chips through a pre-trained network and its untrained twin.

Needs the extra ``demo`` (scikit-learn, matplotlib).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..datasets.labeled import TEST, TRAIN, LabeledImages, open_images
from ..datasets.simulated import simulate_chips
from ..errors import DataError
from ..weights import Store
from ..zoo.manifest import DEFAULT
from .compare import Comparison, compare

__all__ = ["PARTS", "fetch_data", "run_demo"]

PARTS = ("s1", "opensarship")  # of DSN-SLC: Sentinel-1 land cover and ships
_BRIGHT = 100.0  # digital number of a simulated amplitude of 1, as bright land has


def run_demo(
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    model: str = DEFAULT,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Comparison]:
    """Compare a pre-trained network with its untrained twin on radar chips.

    Args:
        out: folder for the numbers and pictures, one below it for each set of chips (see :func:`.compare.compare`).
        data: folder with packed DSN-SLC patches, ``s1.npz`` or ``opensarship.npz``; ``None`` simulates chips.
        model: a name of :func:`~sarhub_models.list_models`.
        seed: of the simulated chips, of the untrained network and of the folds.
        progress: draw bars on stderr where that is a terminal.

    Returns:
        What was measured, by the name of the chips: a part of DSN-SLC, or ``"simulated"``.

    Raises:
        DataError: there are no packed patches in ``data``.
        SarHubError: see :func:`.compare.compare`.
    """
    if data is None:
        with _simulated(seed) as chips:
            return {"simulated": compare(chips, [model], Path(out, "simulated"), seed=seed, progress=progress)}
    found = {}
    for file in [file for part in PARTS if (file := Path(data, f"{part}.npz")).is_file()]:
        with open_images(file) as chips:
            found[file.stem] = compare(chips, [model], Path(out, file.stem), seed=seed, progress=progress)
    if not found:
        raise DataError(f"{data}: expected packed DSN-SLC patches, {' or '.join(f'{part}.npz' for part in PARTS)}")
    return found


def fetch_data() -> Path:
    """Return the folder of the DSN-SLC patches in the cache, after downloading them there if need be.

    Raises:
        DownloadError: they are not there and could not be downloaded.
    """
    folder = Store().root / "data" / "dsn"
    if not all((folder / f"{part}.npz").is_file() for part in PARTS):
        from ..datasets.recognition.dsn.download import download_dsn
        from ..io.progress import download_bar

        with download_bar("DSN-SLC", True) as bar:
            download_dsn(folder, parts=PARTS, progress=bar)
    return folder


@contextmanager
def _simulated(seed: int) -> Iterator[LabeledImages]:
    """Yield simulated chips in digital numbers, in a temporary folder until the end of the block."""
    files: list[Path] = []
    labels: list[str] = []
    split: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for part, count, number in ((TRAIN, 40, 2 * seed), (TEST, 60, 2 * seed + 1)):
            images, classes, names = simulate_chips(count, seed=number)
            for image, label in zip(images, classes, strict=True):
                files.append(Path(folder, f"{len(files):04d}.npy"))
                np.save(files[-1], image * _BRIGHT)
                labels.append(names[label])
                split.append(part)
        yield LabeledImages(
            tuple(files), tuple(file.stem for file in files), tuple(labels), tuple(split), "dn", full_scale=65535.0
        )
