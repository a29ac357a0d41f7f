"""Weights describe themselves: one text in a file's metadata, which is written and read here and nowhere else.

The text is the entry of the weights (:class:`~sarhub_models.ModelInfo`) as JSON: network, bands, radiometry,
preprocessing, names of the classes and how the weights were made. Every file of weights that this package writes has
it under the key :data:`KEY`: safetensors in its metadata, ONNX in ``metadata_props``, ``.pt2`` as an extra file.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, ManifestError, MissingDependencyError
from ..io.files import metadata, open_file
from .entries import ModelInfo

__all__ = ["BEST", "KEY", "read_description", "require_description", "to_metadata", "weights_file"]

KEY = "sarhub"
BEST = "best.safetensors"  # the weights to use, in the folder of a run
_OF_FOLDER = (BEST, "model.safetensors")  # of a run, of a published repository
_LARGEST = 16_000_000  # bytes of a text
_PATH = re.compile(r"[/\\]|\.(safetensors|pth|pt|pt2|onnx|npz|ckpt|bin)$")
_EXTRA = re.compile(rf"(^|/)extra(_files)?/{KEY}$")  # where torch.export puts an extra file, by its version


def to_metadata(info: ModelInfo) -> dict[str, str]:
    """Return the description of weights as metadata of a file, for :func:`read_description`."""
    return {KEY: json.dumps(info.to_dict())}


def weights_file(place: str | os.PathLike[str]) -> Path | None:
    """Return the file of weights that a path stands for: itself, or the best weights of a run's folder.

    Args:
        place: a file, a folder of a run or of a published repository, or a name of the list of weights.

    Returns:
        The file; ``None`` for a name.

    Raises:
        FileNotFoundError: it can only be a path, and nothing is there.
        CheckpointError: it is a folder without weights.
    """
    text = os.fspath(place)
    if isinstance(place, str) and text.startswith("hf-hub:"):
        return None
    path = Path(text).expanduser()
    if isinstance(place, str) and not _PATH.search(text) and not path.exists():
        return None
    if path.is_dir():
        found = [path / name for name in _OF_FOLDER if (path / name).is_file()]
        if not found:
            raise CheckpointError(
                f"{path} is a folder without weights: expected a file, or the folder of a run, which holds {BEST}"
            )
        return found[0]
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    return path


def read_description(file: Path) -> ModelInfo | None:
    """Return what a file of weights says of itself, or ``None`` where it says nothing.

    Args:
        file: safetensors, ``.pt2``, ONNX, or a checkpoint of anybody else.

    Raises:
        CheckpointError: the description is damaged.
        MissingDependencyError: it is an ONNX file, and the package ``onnx`` is not installed.
        OSError: the file cannot be read.
    """
    text = _text(file)
    if text is None:
        return None
    try:
        info = ModelInfo.from_dict(_printable(json.loads(text)))
    except (ValueError, RecursionError, ManifestError) as err:
        raise CheckpointError(f"{file}: its description of itself is damaged ({err})") from err
    if info.class_names is not None and len(info.class_names) != info.num_classes:
        raise CheckpointError(
            f"{file}: its description of itself is damaged ({len(info.class_names)} names, {info.num_classes} classes)"
        )
    return info


def require_description(file: Path) -> ModelInfo:
    """Return what a file of weights says of itself.

    Raises:
        CheckpointError: it says nothing, or the description is damaged.
    """
    info = read_description(file)
    if info is None:
        raise CheckpointError(
            f"{file} does not say which preprocessing its network was trained with. To fix it, name the weights of "
            "'sarhub list' that were trained with the same: create_model(NAME, checkpoint_path=FILE) and "
            "create_transform(NAME), or --preprocessing NAME on the command line"
        )
    return info


def _text(file: Path) -> str | None:
    with open_file(file) as stream:
        start = stream.read(9)
    if start[8:] == b"{":
        return metadata(file).get(KEY)
    if start[:2] == b"PK":
        return _of_archive(file)
    return _of_onnx(file) if file.suffix == ".onnx" else None


def _of_archive(file: Path) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            found = [member for member in archive.infolist() if _EXTRA.search(member.filename)]
            if not found or found[0].file_size > _LARGEST:
                return None
            return archive.read(found[0]).decode()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, RuntimeError):
        return None  # whoever reads its tensors says what is wrong


def _of_onnx(file: Path) -> str | None:
    try:
        import onnx
    except ImportError as err:
        raise MissingDependencyError(
            f"the description in {file} needs onnx: pip install 'sarhub-models[export]'"
        ) from err
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(str(file), load_external_data=False)
    except DecodeError as err:
        raise CheckpointError(f"{file} is no intact ONNX file: {err}") from err
    return next((entry.value for entry in model.metadata_props if entry.key == KEY), None)


def _printable(value: Any) -> Any:
    """Return JSON data without control characters, which a terminal would obey."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() or c == "\n" else "?" for c in value)
    if isinstance(value, list):
        return [_printable(one) for one in value]
    return {_printable(key): _printable(one) for key, one in value.items()} if isinstance(value, dict) else value
