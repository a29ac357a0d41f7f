"""A small stand-in for the DSN repository: made-up patches, its git listing, and its archive."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping

import numpy as np

TOP = "DSN-d4923ebf76d54a470ce4f030276fd1bdce782507"


def patch(seed: int) -> np.ndarray:
    """Complex64 (64, 64) of whole numbers."""
    iq = np.random.default_rng(seed).integers(-300, 300, (64, 64, 2))
    return (iq[..., 0] + 1j * iq[..., 1]).astype(np.complex64)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def repository(per_class: int = 6) -> dict[str, bytes]:
    """Files by path: three parts with two classes each, pictures and an empty file beside the patches."""
    files: dict[str, bytes] = {"README.md": b"about", "data/.DS_Store": b"\0"}
    layout = {
        "data/slc_data": ("water", "forest", "{0}_4312_HH_{1}_900"),
        "data/slc_TSX": ("ships", "railways", "{0}_TSX_1550_HH_{1}_900"),
        "data/slc_OpenSARShip": ("Bulk Carrier", "Tanker", "Cargo_x{1}_y900"),
    }
    for folder, (first, second, stem) in layout.items():
        for number, name in enumerate((first, second)):
            for index in range(per_class):
                position = 5000 * number + 200 * index
                path = f"{folder}/{name}/{stem.format(name, position)}"
                files[f"{path}.npy"] = npy(patch(len(files)))
                files[f"{path}.png"] = b"picture"
    files["data/slc_OpenSARShip/Tanker/Tanker_x1_y1.npy"] = b""
    return files


def listing(files: Mapping[str, bytes], truncated: bool = False) -> bytes:
    """The answer of GitHub's API for the recursive tree."""
    tree = [
        {
            "path": path,
            "type": "blob",
            "sha": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
            "size": len(content),
        }
        for path, content in files.items()
    ]
    tree.append({"path": "data", "type": "tree", "sha": "0" * 40})
    return json.dumps({"sha": "0" * 40, "tree": tree, "truncated": truncated}).encode()


def archive(files: Mapping[str, bytes], extra: list[tarfile.TarInfo] | None = None) -> bytes:
    """The commit as .tar.gz under one top folder; ``extra`` members come first."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for member in extra or []:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
        for path, content in files.items():
            member = tarfile.TarInfo(f"{TOP}/{path}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), compresslevel=1)
