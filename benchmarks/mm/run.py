"""One training and its test by the own tools of MMDetection or MMSegmentation, and what they leave collected.

The folder of a run holds the complete configuration ``config.py``, what ``tools/train.py`` writes to ``train`` and
``tools/test.py`` to ``test``, and the output of both in ``log.txt``. An interrupted training goes on from its last
checkpoint.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.experiments.runner import LOG
from sarhub_models.engine.processes import Programs, sigterm_interrupts
from sarhub_models.errors import DataError, MissingDependencyError, OptionError
from sarhub_models.io.files import write_text

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = [
    "CONFIG",
    "OWN",
    "Package",
    "history",
    "parse_options",
    "prepared_steps",
    "read_config",
    "run",
    "set_weights",
]

OWN = "own"
"""The initialization by the weights that the name of the model stands for."""
CONFIG = "config.py"

Package = Literal["mmdet", "mmseg"]
_CLONE = Path(__file__).resolve().parents[2]
_TRAINED = "trained.txt"
_TAIL = 5  # lines of the log that an error shows


def read_config(file: Path) -> Config:
    """Read a configuration, with those it is based on.

    Raises:
        MissingDependencyError: MMEngine is not installed.
    """
    try:
        from mmengine.config import Config
    except ImportError as err:
        raise _missing("mmengine") from err
    return Config.fromfile(file, import_custom_modules=False)


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


def set_weights(config: Config, init: str, file: Path) -> None:
    """Let a configuration's backbone start from other weights.

    Args:
        config: changed in place.
        init: ``"own"``, the weights of the backbone's name; ``"none"``; or else those in ``file``.
        file: of starting weights.
    """
    config.model.backbone.pretrained = str(file) if init not in (OWN, "none") else init == OWN
    if init == "none":  # random features are trained, also those that a configuration for trained ones freezes
        config.model.backbone.update(frozen_stages=-1, norm_eval=False, norm_requires_grad=True)


def prepared_steps(node: Any) -> Iterator[dict[str, Any]]:
    """Give every ``SARHubPreprocess`` within a configuration."""
    if isinstance(node, dict):
        if node.get("type") == "SARHubPreprocess":
            yield node
        node = list(node.values())
    for value in node if isinstance(node, list | tuple) else ():
        yield from prepared_steps(value)


def run(
    package: Package, config: Config, folder: Path, threads: int | None = None, test_arguments: Sequence[str] = ()
) -> dict[str, float]:
    """Train, unless that is done, and test; return the scores of the test.

    Args:
        package: whose tools are run.
        config: the complete configuration.
        folder: of the run.
        threads: of the tools' processes; ``None`` leaves it to PyTorch.
        test_arguments: further ones of ``tools/test.py``, such as where to put predictions.

    Raises:
        DataError: a tool failed; the message has the end of its output.
        MissingDependencyError: the package is not installed.
    """
    file, work = folder / CONFIG, folder / "test"
    write_text(file, config.pretty_text)
    if not (folder / _TRAINED).is_file():  # which a training that stopped early does not tell otherwise
        run_tool(package, folder, threads, "train", str(file), "--work-dir", str(folder / "train"), "--resume")
        write_text(folder / _TRAINED, f"{_checkpoint(folder)}\n")
    tested = (str(file), str(_checkpoint(folder)), "--work-dir", str(work), *test_arguments)
    run_tool(package, folder, threads, "test", *tested)
    written = sorted(work.glob("*/*.json"))
    if not written:
        raise DataError(f"the test wrote no scores below {work}; its output: {folder / LOG}")
    scores = json.loads(written[-1].read_text(encoding="utf-8"))
    return {key: float(value) for key, value in scores.items() if key not in ("time", "data_time")}


def _checkpoint(folder: Path) -> Path:
    """Return the checkpoint that is tested: the best one on the validation set if the configuration keeps it
    (``CheckpointHook(save_best=…)``), else the last one.

    Raises:
        DataError: there is none.
    """
    best = sorted((folder / "train").glob("best_*.pth"), key=lambda path: path.stat().st_mtime)
    if best:
        return best[-1]
    last = folder / "train" / "last_checkpoint"
    if last.is_file():
        return Path(last.read_text(encoding="utf-8").strip())
    raise DataError(f"the training left no checkpoint in {last.parent}; its output: {folder / LOG}")


def run_tool(package: Package, folder: Path, threads: int | None, name: str, *arguments: str) -> None:
    """Run ``tools/<name>.py`` of a package with its output in the log of a folder.

    Raises:
        DataError: it failed; the message has the end of its output.
        MissingDependencyError: the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise _missing(package)
    tool = Path(spec.origin).parent / ".mim" / "tools" / f"{name}.py"
    log = folder / LOG
    path = os.pathsep.join(filter(None, [str(_CLONE), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    with sigterm_interrupts():
        code = Programs().run([sys.executable, str(tool), *arguments], log, environment=environment)
    if code != 0:
        last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:])
        raise DataError(f"{name} of {package} ended with status {code}; its output, {log}, ends with\n{last}")


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
