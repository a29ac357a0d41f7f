"""Configurations run by the own tools of MMDetection and MMSegmentation, and what they leave collected.

A run is a folder: the complete configuration ``config.py``, the hashes of the data in ``data.txt`` and of the starting
weights in ``weights.txt``, what ``tools/train.py`` writes to ``train`` and ``tools/test.py`` to ``test``, the output of
both in ``log.txt``, and, last of all, ``scores.json``. A finished run is not done again, an interrupted one goes on
from its last checkpoint; one of another configuration, on other data or from other weights is refused.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from safetensors.torch import save_file
from torch import Tensor

from sarhub_models import model_info
from sarhub_models.engine.initialization import starting_weights
from sarhub_models.engine.processes import Programs, sigterm_interrupts
from sarhub_models.errors import DataError, MissingDependencyError, OptionError
from sarhub_models.io.files import digests, replace_atomically, write_text

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ["OWN", "Run", "history", "load_config", "parse_options", "prepares", "set_data", "set_weights"]

OWN = "own"
"""The initialization by the weights that the name of the model stands for."""

Package = Literal["mmdet", "mmseg"]
_CLONE = Path(__file__).resolve().parents[2]
_CONFIG, _LOG, _SCORES, _INIT = "config.py", "log.txt", "scores.json", "init.safetensors"
_TRAINED, _WEIGHTS, _DATA = "trained.txt", "weights.txt", "data.txt"
_TAIL = 5  # lines of the log that an error shows


def load_config(file: Path) -> Config:
    """Read a configuration, with those it is based on.

    Raises:
        DataError: there is no such file.
        MissingDependencyError: MMEngine is not installed.
    """
    try:
        from mmengine.config import Config
    except ImportError as err:
        raise _missing("mmengine") from err
    if not file.is_file():
        raise DataError(f"no configuration {file}; expected one of: {', '.join(sorted(_names(file.parent)))}")
    return Config.fromfile(file, import_custom_modules=False)


def _names(folder: Path) -> Iterable[str]:
    return (path.stem for path in folder.glob("*.py"))


def _missing(package: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"{package} is not installed: 'make test-mm' sets the MM packages up, and 'MMDetection and MMSegmentation' in "
        "docs/integrations.md says how to do it by hand"
    )


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Return ``key=value`` texts as the MM tools read those of ``--cfg-options``.

    Raises:
        OptionError: a text has no ``=``.
        MissingDependencyError: MMEngine is not installed.
    """
    try:
        from mmengine.config import DictAction
    except ImportError as err:
        raise _missing("mmengine") from err

    options = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise OptionError(f"expected --cfg-options KEY=VALUE, such as train_cfg.max_iters=100, got {text!r}")
        options[key] = DictAction._parse_iterable(value)
    return options


def set_weights(config: Config, name: str, init: str, folder: Path) -> None:
    """Let a configuration's backbone be a named model, started from ``init``, and its images prepared for that model.

    Args:
        config: changed in place: ``model.backbone``, and every ``SARHubPreprocess`` of every pipeline.
        name: of :func:`~sarhub_models.list_models`; its preprocessing is used whatever ``init`` is, so that
            initializations are compared on the same images.
        init: ``"own"``, the weights of that name; ``"none"``; ``"imagenet"``; a checkpoint; or another name.
        folder: of the run; weights that are not yet a file of this package are put there, and the hash of all.

    Raises:
        UnknownNameError: no model is called ``name``, or ``init`` is none of these.
        OptionError: ``init`` is of another network, or the folder holds a run from other weights.
        SarHubError: the weights cannot be had, or do not fit.
    """
    info = model_info(name)
    pretrained: bool | str = init == OWN
    if init not in (OWN, "none"):
        pretrained = str(_put_weights(starting_weights(info.network, init), folder))
    elif init == OWN and info.checksum is not None:  # without one, the cache keeps to the file that came first
        _check_weights(folder, f"{info.checksum.algorithm} {info.checksum.value}")
    config.model.backbone.update(name=name, pretrained=pretrained)
    if init == "none":  # random features are trained, also those that a configuration for trained ones freezes
        config.model.backbone.update(frozen_stages=-1, norm_eval=False, norm_requires_grad=True)
    for step in _steps(config._cfg_dict):
        step["name"] = name


def _put_weights(tensors: Mapping[str, Tensor], folder: Path) -> Path:
    """Write starting weights into the folder of a run, and return their file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / _INIT
    temporary = file.with_name(f".{_INIT}.tmp")
    try:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, temporary)
        _check_weights(folder, f"sha256 {digests(temporary).sha256}")
        replace_atomically(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    return file


def _check_weights(folder: Path, digest: str) -> None:
    """Note the hash of the weights that a run starts from, or check that it is the one of this folder's run."""
    _check_note(folder, _WEIGHTS, digest, "from other weights", "another folder or another label (--init LABEL=PLACE)")


def set_data(data: Path, folder: Path) -> None:
    """Note the hash of the data of a run, or check that it is the one of this folder's run.

    It is that of all texts (annotations, settings, lists of classes) and of the names and sizes of all other files.

    Args:
        data: folder of the prepared data set.
        folder: of the run.

    Raises:
        OptionError: the folder holds a run on other data.
    """
    found = hashlib.sha256()
    for file in sorted(path for path in data.rglob("*") if path.is_file()):
        content = file.read_bytes() if file.suffix in (".json", ".txt") else str(file.stat().st_size).encode()
        found.update(f"{file.relative_to(data).as_posix()}\0{len(content)}\0".encode() + content)
    _check_note(folder, _DATA, f"sha256 {found.hexdigest()}", "on other data", "another folder")


def _check_note(folder: Path, name: str, digest: str, difference: str, advice: str) -> None:
    note = folder / name
    known = note.read_text(encoding="utf-8").strip() if note.is_file() else None
    if (folder / _CONFIG).is_file() and known not in (None, digest):
        raise OptionError(
            f"{folder} holds a run {difference}: those had the hash {known}, these have {digest}; give {advice}, or "
            "delete it"
        )
    write_text(note, f"{digest}\n")


def prepares(config: Config) -> bool:
    """Whether a configuration prepares its images for a named model, by ``SARHubPreprocess``."""
    return next(_steps(config._cfg_dict), None) is not None


def _steps(node: Any) -> Iterator[dict[str, Any]]:
    """Give every ``SARHubPreprocess`` within a configuration."""
    if isinstance(node, dict):
        if node.get("type") == "SARHubPreprocess":
            yield node
        for value in node.values():
            yield from _steps(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _steps(value)


@dataclass(frozen=True)
class Run:
    """One training and its test.

    Attributes:
        package: whose tools run it.
        folder: of the run.
        threads: of the tools' processes; ``None`` leaves it to PyTorch.
        test_arguments: further ones of ``tools/test.py``, such as where to put predictions.
    """

    package: Package
    folder: Path
    threads: int | None = None
    test_arguments: tuple[str, ...] = ()

    def __call__(self, config: Config) -> dict[str, float]:
        """Train and test, unless that is done, and return the scores of the test.

        Raises:
            OptionError: the folder holds a run of another configuration.
            DataError: a tool failed; the message has the end of its output.
            MissingDependencyError: the package is not installed.
        """
        self._keep(config)
        if not (self.folder / _SCORES).is_file():
            if not (self.folder / _TRAINED).is_file():  # which a training that stopped early does not tell otherwise
                self.train()
                write_text(self.folder / _TRAINED, f"{self.checkpoint()}\n")
            write_text(self.folder / _SCORES, json.dumps(self.test(), indent=2) + "\n")
        scores: dict[str, float] = json.loads((self.folder / _SCORES).read_text(encoding="utf-8"))
        return scores

    def train(self) -> None:
        """Run ``tools/train.py``; an interrupted training goes on."""
        self._tool("train", str(self.folder / _CONFIG), "--work-dir", str(self.folder / "train"), "--resume")

    def test(self) -> dict[str, float]:
        """Run ``tools/test.py`` on the checkpoint and return the scores."""
        work = self.folder / "test"
        arguments = [str(self.folder / _CONFIG), str(self.checkpoint()), "--work-dir", str(work)]
        self._tool("test", *arguments, *self.test_arguments)
        written = sorted(work.glob("*/*.json"))
        if not written:
            raise DataError(f"the test wrote no scores below {work}; its output: {self.folder / _LOG}")
        scores = json.loads(written[-1].read_text(encoding="utf-8"))
        return {key: float(value) for key, value in scores.items() if key not in ("time", "data_time")}

    def checkpoint(self) -> Path:
        """Return the checkpoint that is tested: the best one on the validation set if the configuration keeps it
        (``CheckpointHook(save_best=…)``), else the last one.

        Raises:
            DataError: there is none.
        """
        folder = self.folder / "train"
        best = sorted(folder.glob("best_*.pth"), key=lambda path: path.stat().st_mtime)
        if best:
            return best[-1]
        if (folder / "last_checkpoint").is_file():
            return Path((folder / "last_checkpoint").read_text(encoding="utf-8").strip())
        raise DataError(f"the training left no checkpoint in {folder}; its output: {self.folder / _LOG}")

    def _keep(self, config: Config) -> None:
        """Write the complete configuration, or check that it is the one of this folder."""
        file = self.folder / _CONFIG
        text = config.pretty_text
        if file.is_file() and file.read_text(encoding="utf-8") != text:
            raise OptionError(
                f"{self.folder} holds a run of another configuration ({file}); give another folder or delete it"
            )
        write_text(file, text)

    def _tool(self, name: str, *arguments: str) -> None:
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            raise _missing(self.package)
        tool = Path(spec.origin).parent / ".mim" / "tools" / f"{name}.py"
        log = self.folder / _LOG
        path = os.pathsep.join(filter(None, [str(_CLONE), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path}
        if self.threads is not None:
            environment["OMP_NUM_THREADS"] = str(self.threads)
        with sigterm_interrupts():
            code = Programs().run([sys.executable, str(tool), *arguments], log, environment)
        if code != 0:
            last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:])
            raise DataError(f"{name} of {self.package} ended with status {code}; its output, {log}, ends with\n{last}")


def history(folder: Path, metric: str) -> dict[int, float]:
    """Return a metric of the validation set by epoch or iteration, also of a training that went on several times.

    Args:
        folder: of the run.
        metric: such as ``"coco/bbox_mAP_50"`` or ``"mIoU"``.
    """
    found: dict[int, float] = {}
    for file in sorted((folder / "train").glob("*/vis_data/scalars.json")):
        rows = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
        found.update((row["step"], row[metric]) for row in rows if metric in row)
    return dict(sorted(found.items()))
