"""DSN-SLC: public single-look complex patches of Sentinel-1 and TerraSAR-X, 64 by 64 pixels.

From the repository Alien9427/DSN (MIT license, Copyright (c) 2022 Alien9427). Cite Huang, Datcu, Pan, Lei: Deep
SAR-Net: Learning objects from signals. ISPRS Journal of Photogrammetry and Remote Sensing 161, 2020.

Three parts: ``s1`` (Sentinel-1 stripmap, 8 land-cover classes), ``tsx`` (TerraSAR-X, 5 classes) and ``opensarship``
(Sentinel-1 ship chips, 5 types). On disk each is one packed file ``<part>.npz`` with

* ``iq`` int16 (N, 64, 64, 2), real and imaginary part in digital numbers,
* ``label`` int64 (N,), indexing ``classes``, and ``name`` (N,), ``"<class>/<stem>"`` of the file in the repository,
* ``split`` (N,), ``"train"``, ``"val"`` or ``"test"``.

:func:`.dsn.download.download_dsn` fetches the repository's files and packs them,
:func:`pack_folder` packs files already there. Many patches of a scene overlap, so a random split would leak pixels:
:func:`assign_splits` keeps overlapping ones on one side.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ....errors import DataError, OptionError, UnknownNameError, closest
from ....io.files import replacing
from ....io.npz import read_arrays
from ...catalog import CatalogEntry
from ...lists import AnyPath
from ..base import Sample, SceneDataset

__all__ = [
    "DATASET",
    "PARTS",
    "SPLITS",
    "DsnPatches",
    "DsnSLC",
    "assign_splits",
    "load_dsn",
    "overlap_groups",
    "pack_folder",
]

PATCH_SIZE = 64
SPLITS = ("train", "val", "test")
_SHARES = (0.70, 0.15, 0.15)
_ARRAYS = ("iq", "label", "split", "name", "classes")


@dataclass(frozen=True)
class Part:
    """The place of one part in the repository.

    Attributes:
        folder: path of the part in the repository; it holds a folder for each class.
        position: pattern of a file's stem, with the position in the scene (columns ``x`` and ``y``, pixels) and,
            where the names tell it, the ``scene``.
    """

    folder: str
    position: re.Pattern[str]


PARTS = {
    "s1": Part("data/slc_data", re.compile(r"[^_]+_(?P<scene>.+)_(?P<x>\d+)_(?P<y>\d+)")),
    "tsx": Part("data/slc_TSX", re.compile(r"[^_]+_(?P<scene>.+)_(?P<x>\d+)_(?P<y>\d+)")),
    "opensarship": Part("data/slc_OpenSARShip", re.compile(r".+_x(?P<x>\d+)_y(?P<y>\d+)")),
}


@dataclass(frozen=True)
class DsnPatches:
    """The patches of one split.

    Attributes:
        images: float32 (N, 64, 64) amplitude, or complex64 (N, 64, 64), in digital numbers.
        labels: int64 (N,), indexing ``class_names``.
        class_names: ``"<part>/<class>"`` for every class of every part that was asked for, in order.
        names: path of each patch in the repository, ``"<part>/<class>/<stem>"``.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    names: tuple[str, ...]


def load_dsn(
    root: AnyPath,
    *,
    parts: Sequence[str] = ("s1", "tsx"),
    split: str = "train",
    quantity: Literal["amplitude", "complex"] = "amplitude",
) -> DsnPatches:
    """Read one split of some parts with a joint set of labels.

    Args:
        root: folder with the packed files, ``s1.npz``, ``tsx.npz``, ``opensarship.npz``.
        parts: which of them, in the order in which their classes are numbered.
        split: ``"train"``, ``"val"`` or ``"test"``, or several of them joined, ``"train+val"``.
        quantity: ``"amplitude"`` (float32 magnitude) or ``"complex"`` (complex64), in digital numbers.

    Returns:
        The patches, in the order of ``parts`` and of the files.

    Raises:
        UnknownNameError: there is no such part, split or quantity.
        DataError: a packed file is missing or damaged; the message says how to get it.
    """
    _check_name("part", parts, PARTS)
    splits = split.split("+")
    _check_name("split", splits, SPLITS)
    _check_name("quantity", (quantity,), ("amplitude", "complex"))
    images, labels, names = [], [], []
    class_names: list[str] = []
    for part in parts:
        arrays = _read_packed(Path(root), part)
        chosen = np.isin(arrays["split"], splits)
        iq = arrays["iq"][chosen].astype(np.float32)
        images.append(np.hypot(iq[..., 0], iq[..., 1]) if quantity == "amplitude" else iq.view(np.complex64)[..., 0])
        labels.append(arrays["label"][chosen] + len(class_names))
        names += [f"{part}/{name}" for name in arrays["name"][chosen]]
        class_names += [f"{part}/{name}" for name in arrays["classes"]]
    return DsnPatches(np.concatenate(images), np.concatenate(labels), tuple(class_names), tuple(names))


class DsnSLC(SceneDataset):
    """One split of some parts, in memory, with the interface of the other readers: amplitude in digital numbers.

    Args:
        root: folder with the packed files.
        split: as for :func:`load_dsn`.
        parts: as for :func:`load_dsn`.

    Raises:
        UnknownNameError: there is no such part or split.
        DataError: a packed file is missing or damaged.
    """

    def __init__(self, root: AnyPath, split: str, *, parts: Sequence[str] = ("s1", "tsx")) -> None:
        patches = load_dsn(root, parts=parts, split=split)
        super().__init__(root, [Path(root, name) for name in patches.names], patches.labels, patches.class_names)
        self.images = patches.images

    def __getitem__(self, index: int) -> Sample:
        """Return one patch; the image is float32 (64, 64)."""
        return Sample(self.images[index], int(self.labels[index]), self.names[index])

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of one patch in pixels."""
        height, width = self.images[index].shape
        return height, width

    @classmethod
    def options(cls, root: Path, lists: Path | None) -> dict[str, Any]:
        """Return the parts that are there, or all where none is; the packed patches say their splits themselves."""
        if lists is not None:
            raise OptionError("the packed patches of dsn say their splits themselves; leave the lists out")
        return {"parts": [part for part in PARTS if (root / f"{part}.npz").is_file()] or list(PARTS)}


DATASET = CatalogEntry(
    DsnSLC,
    dict.fromkeys(SPLITS),
    recipe={  # small, trained from scratch
        # one number for every operator keeps them comparable
        "data": {"options": {"parts": ["s1", "tsx"]}, "full_scale": 65535, "workers": 0},
        # twice the patch: the stem would otherwise blur the texture that tells the classes apart
        "preprocess": {"operator": "log_amplitude", "size": 128},
        # no quarter turns: range and azimuth have different resolutions, by which a network knows the sensor
        "augment": {"geometry": "flip"},
        "optim": {"epochs": 40, "batch_size": 32, "max_lr": 2.0e-3, "decay_vectors": False},
    },
    target=True,
    finetune_steps=280,
)


def pack_folder(folder: AnyPath, target: AnyPath, part: str) -> Path:
    """Pack ``<folder>/<class>/*.npy`` (complex, 64 by 64) into one file that :func:`load_dsn` reads.

    Empty files, which the repository has, are left out with a warning. The split is made by :func:`assign_splits`.

    Args:
        folder: the part's folder, with one folder for each class.
        target: the ``.npz`` to write; it appears complete or not at all.
        part: which part it is; decides how positions are read from the names.

    Returns:
        ``target`` as a path.

    Raises:
        UnknownNameError: there is no such part.
        DataError: no patches were found, or one is unreadable, of another shape or dtype, does not hold whole
            numbers that fit int16, or has a name without a position.
    """
    _check_name("part", (part,), PARTS)
    files = sorted(Path(folder).glob("*/*.npy"))
    empty = [file for file in files if file.stat().st_size == 0]
    if empty:
        warnings.warn(f"left out {len(empty)} empty file(s): {', '.join(map(str, empty))}", stacklevel=2)
    files = [file for file in files if file.stat().st_size > 0]
    if not files:
        raise DataError(f"expected complex 64x64 patches as {folder}/<class>/*.npy, found none")
    classes = sorted({file.parent.name for file in files})
    labels = np.array([classes.index(file.parent.name) for file in files], dtype=np.int64)
    names = np.array([f"{file.parent.name}/{file.stem}" for file in files])
    arrays: dict[str, Any] = {
        "iq": np.stack([_read_patch(file) for file in files]),
        "label": labels,
        "split": assign_splits(part, names.tolist(), labels),
        "name": names,
        "classes": np.array(classes),
    }
    target = Path(target)
    with replacing(target) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    return target


def overlap_groups(part: str, names: Sequence[str]) -> np.ndarray:
    """Number the groups of patches that share pixels, directly or through others.

    Two patches overlap if they are of one scene and less than 64 pixels apart in both directions. The names of the
    part ``opensarship`` do not tell the scene: there all patches count as one scene, which can join patches that
    do not overlap but never separates ones that do.

    Args:
        part: which part the names belong to.
        names: ``"<class>/<stem>"`` of each patch, (N,).

    Returns:
        Group of each patch, int64 (N,); groups are numbered in the order in which they appear.

    Raises:
        DataError: a name does not end in a position.
    """
    scenes, positions = _positions(part, names)
    groups = np.arange(len(names))
    for scene in np.unique(scenes):
        inside = np.flatnonzero(scenes == scene)
        apart = np.abs(positions[inside, None] - positions[None, inside]).max(axis=-1)
        neighbors = apart < PATCH_SIZE
        while True:  # each patch takes the smallest number among its neighbors until nothing changes
            smallest = np.where(neighbors, groups[inside], len(names)).min(axis=1)
            if (smallest == groups[inside]).all():
                break
            groups[inside] = smallest
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def assign_splits(part: str, names: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """Split patches into train, val and test, about 70/15/15 % of every class, without shared pixels.

    The groups of :func:`overlap_groups` are dealt out whole, the largest first, each to the split that its classes
    are furthest from filling; the result depends on names and labels alone. (Groups differ in size, so small
    classes can end up away from these shares.)

    Args:
        part: which part the names belong to.
        names: ``"<class>/<stem>"`` of each patch, (N,).
        labels: class of each patch, (N,).

    Returns:
        ``"train"``, ``"val"`` or ``"test"`` for each patch, (N,).

    Raises:
        DataError: a name does not end in a position.
    """
    groups = overlap_groups(part, names)
    members = np.zeros((groups.max() + 1, labels.max() + 1), dtype=np.int64)
    np.add.at(members, (groups, labels), 1)
    missing = np.outer(_SHARES, members.sum(axis=0))
    first_name = {group: name for name, group in sorted(zip(names, groups.tolist(), strict=True), reverse=True)}
    splits = np.empty(len(members), dtype="<U5")
    for group in sorted(first_name, key=lambda g: (-members[g].sum(), first_name[g])):
        side = int(np.argmax(missing @ members[group]))
        missing[side] -= members[group]
        splits[group] = SPLITS[side]
    return splits[groups]


def _check_name(kind: str, names: Sequence[str], known: Sequence[str] | dict[str, Part]) -> None:
    for name in names:
        if name not in known:
            raise UnknownNameError(f"no {kind} is called {name!r}{closest(name, known)}; known: {', '.join(known)}")


def _positions(part: str, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the scene (N,) and the position (N, 2) of each patch."""
    pattern = PARTS[part].position
    scenes, positions = [], []
    for name in names:
        match = pattern.fullmatch(name.rpartition("/")[2])
        if match is None:
            raise DataError(f"{name!r} does not end in a position; names of {part} look like {pattern.pattern!r}")
        scenes.append(match.groupdict().get("scene", ""))
        positions.append((int(match["x"]), int(match["y"])))
    return np.array(scenes), np.array(positions)


def _read_packed(root: Path, part: str) -> dict[str, np.ndarray]:
    file = root / f"{part}.npz"
    if not file.is_file():
        raise DataError(
            f"expected the packed DSN-SLC patches in {file}, found no such file; "
            f"download_dsn({str(root)!r}) fetches and packs them, pack_folder(...) packs what is on disk"
        )
    try:
        arrays = read_arrays(file, keys=_ARRAYS)
    except DataError as err:
        raise DataError(f"{file} does not hold packed DSN-SLC patches ({err}); delete it and fetch it again") from err
    count = arrays["iq"].shape[0] if arrays["iq"].ndim else 0
    if arrays["iq"].shape != (count, PATCH_SIZE, PATCH_SIZE, 2) or arrays["iq"].dtype != np.int16:
        raise DataError(f"{file}: expected iq as int16 (N, 64, 64, 2), got {arrays['iq'].dtype} {arrays['iq'].shape}")
    if any(arrays[key].shape != (count,) for key in ("label", "split", "name")) or arrays["classes"].ndim != 1:
        raise DataError(f"{file}: iq, label, split and name differ in length; delete it and fetch it again")
    labels = arrays["label"]
    if labels.dtype.kind not in "iu" or (count and not 0 <= labels.min() <= labels.max() < len(arrays["classes"])):
        raise DataError(f"{file}: expected labels that number its classes; delete it and fetch it again")
    if any(arrays[key].dtype.kind != "U" for key in ("split", "name", "classes")):
        raise DataError(f"{file}: expected split, name and classes as text; delete it and fetch it again")
    return arrays


def _read_patch(file: Path) -> np.ndarray:
    """Return one complex patch as int16 (64, 64, 2)."""
    try:
        patch = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as err:
        raise DataError(f"{file} is not a readable .npy file ({err}); delete it and fetch it again") from err
    if patch.shape != (PATCH_SIZE, PATCH_SIZE) or not np.iscomplexobj(patch):
        raise DataError(f"{file}: expected a complex 64x64 patch, got {patch.dtype} of shape {patch.shape}")
    iq = np.stack([patch.real, patch.imag], axis=-1)
    whole = np.rint(iq)
    if not (np.isfinite(iq).all() and np.abs(iq - whole).max() < 1e-3 and np.abs(whole).max() < 2**15):
        raise DataError(f"{file}: expected whole digital numbers within int16, got values up to {np.abs(iq).max()}")
    return whole.astype(np.int16)
