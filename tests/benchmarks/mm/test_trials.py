"""Cells of the tables of detection and segmentation: their folders, labels, weights and rows, without any training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sarhub_models as sarhub
from benchmarks.experiments.results import Result, compare_inits, read_results, write_report
from benchmarks.mm import run as mm
from benchmarks.mm.trials import Cell, Task, run_cells
from sarhub_models.errors import DataError, MissingDependencyError, OptionError, UnknownNameError

pytest.importorskip("mmcv", reason="the MM stack is not installed: make test-mm sets it up", exc_type=ImportError)

from benchmarks.mm.command import parse_cells

PREPARED = """
model = dict(backbone=dict(type="SARHubBackbone"))
train_dataloader = dict(dataset=dict(pipeline=[dict(type="SARHubPreprocess", name="resnet50_ben")]))
"""
PLAIN = 'model = dict(backbone=dict(type="SARHubBackbone"))\n'


class Tools:
    """What stands for the tools of MMDetection: a training that takes no time, and a test that scores it.

    Attributes:
        calls: the tool and the folder of each run.
        fails: what a tool raises, by the name of a run's folder.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Path]] = []
        self.fails: dict[str, BaseException] = {}

    def __call__(self, run: mm.Run, name: str, *arguments: str) -> None:
        self.calls.append((name, run.folder))
        if run.folder.name in self.fails:
            raise self.fails[run.folder.name]
        if name == "train":
            (run.folder / "train").mkdir(exist_ok=True)
            (run.folder / "train" / "last_checkpoint").write_text("epoch_1.pth")
        else:
            (run.folder / "test" / "1").mkdir(parents=True, exist_ok=True)
            (run.folder / "test" / "1" / "1.json").write_text(json.dumps({"score": len(self.calls) / 100}))


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Tools:
    found = Tools()
    monkeypatch.setattr(mm.Run, "_tool", lambda run, *arguments: found(run, *arguments))
    return found


@pytest.fixture
def task(tmp_path: Path) -> Task:
    (tmp_path / "configs").mkdir()
    for network in ("mobilenetv3", "resnet18"):
        (tmp_path / "configs" / f"{network}_toy.py").write_text(PREPARED)
        (tmp_path / "configs" / f"{network}_plain.py").write_text(PLAIN)

    def scores(found: Mapping[str, float]) -> dict[str, float]:
        return dict(found)

    def nothing(*_: Any) -> None:
        return None

    return Task("detection", "mmdet", tmp_path / "configs", scores, nothing, lambda _: (), nothing)


def write_weights(file: Path, seed: int = 0) -> Path:
    """Write a checkpoint of a MobileNetV3 as training leaves it, with a head of its own."""
    torch.manual_seed(seed)
    state = sarhub.create_model("mobilenetv3_tsx", num_classes=3).state_dict()
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": {f"module.{key}": tensor for key, tensor in state.items()}}, file)
    return file


def test_initializations_are_labelled_as_those_of_recognition(tmp_path: Path) -> None:
    first, second = (write_weights(tmp_path / name / "best.pth", i) for i, name in enumerate("ab"))
    cells = parse_cells("mobilenetv3_dsn", "ssdd", ["own", "none", f"mine={first}", str(second)], 2)
    assert [(cell.init, cell.label, cell.seed) for cell in cells[::2]] == [
        ("own", "mobilenetv3_dsn", 0),
        ("none", "none", 0),
        (str(first), "mine", 0),
        (str(second), "best", 0),
    ]
    assert cells[5].folder == Path("ssdd", "mobilenetv3_dsn", "mine-1")
    with pytest.raises(OptionError, match="weights of resnet50, but mobilenetv3_dsn is a mobilenetv3"):
        parse_cells("mobilenetv3_dsn", "ssdd", ["none", "resnet50_ben"], 1)
    with pytest.raises(OptionError, match="LABEL"):
        parse_cells("mobilenetv3_dsn", "ssdd", ["=none"], 1)
    with pytest.raises(UnknownNameError, match="mobilenetv3_dns"):
        parse_cells("mobilenetv3_dns", "ssdd", ["none"], 1)


def test_checkpoints_of_one_name_need_labels(task: Task, tools: Tools, tmp_path: Path) -> None:
    files = [write_weights(tmp_path / name / "best.pth", i) for i, name in enumerate("ab")]
    out = tmp_path / "out"
    with pytest.raises(OptionError, match=r"toy/mobilenetv3_dsn/best-0: --init LABEL=PLACE"):
        run_cells(task, parse_cells("mobilenetv3_dsn", "toy", [str(file) for file in files], 1), tmp_path / "data", out)
    assert not tools.calls and not out.exists(), "it is said before anything is trained"
    cells = parse_cells("mobilenetv3_dsn", "toy", [f"{file.parent.name}={file}" for file in files], 1)
    run_cells(task, cells, tmp_path / "data", out)
    assert [row.init for row in read_results(out / "results.csv")] == ["a", "b"]
    first, second = (out / cell.folder / "init.safetensors" for cell in cells)
    assert first.read_bytes() != second.read_bytes()


@pytest.mark.parametrize("label", ["../up", "a/b"])
def test_a_label_cannot_lead_out_of_the_folder(task: Task, tools: Tools, tmp_path: Path, label: str) -> None:
    with pytest.raises(OptionError, match="another label"):
        run_cells(
            task, parse_cells("mobilenetv3_dsn", "toy", [f"{label}=none"], 1), tmp_path / "data", tmp_path / "out"
        )
    assert not tools.calls


def test_a_run_is_found_again_only_with_its_weights(task: Task, tools: Tools, tmp_path: Path) -> None:
    file, out = write_weights(tmp_path / "best.pth"), tmp_path / "out"
    cells = parse_cells("mobilenetv3_dsn", "toy", [str(file)], 1)
    run_cells(task, cells, tmp_path / "data", out)
    folder = out / cells[0].folder
    kept = (folder / "init.safetensors").read_bytes()
    run_cells(task, cells, tmp_path / "data", out)
    assert len(tools.calls) == 2, "a finished run is not done again"
    write_weights(file, seed=1)
    for state in ("finished", "interrupted"):
        with pytest.raises(OptionError, match=r"best-0 holds a run from other weights: .*hash sha256 .*LABEL=PLACE"):
            run_cells(task, cells, tmp_path / "data", out)
        assert (folder / "init.safetensors").read_bytes() == kept, state
        (folder / "scores.json").unlink(missing_ok=True)
    assert len(tools.calls) == 2
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []
    write_weights(file, seed=0)
    run_cells(task, cells, tmp_path / "data", out)
    assert len(tools.calls) == 3, "the test alone was left to do"


def test_a_run_is_found_again_only_with_its_data(task: Task, tools: Tools, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    (data / "images").mkdir(parents=True)
    (data / "images" / "1.png").write_bytes(b"image")
    (data / "train.json").write_text("[1]")
    cells = parse_cells("mobilenetv3_dsn", "toy", ["none"], 1)
    run_cells(task, cells, data, out)
    for file, content in (("train.json", "[2]"), ("images/1.png", "another image"), ("images/2.png", "image")):
        before = (data / file).read_bytes() if (data / file).exists() else None
        (data / file).write_text(content)
        with pytest.raises(OptionError, match="none-0 holds a run on other data"):
            run_cells(task, cells, data, out)
        (data / file).unlink() if before is None else (data / file).write_bytes(before)
    run_cells(task, cells, data, out)
    assert len(tools.calls) == 2, "the run of the same data is finished"


def test_two_commands_do_not_work_on_one_run(task: Task, tools: Tools, tmp_path: Path) -> None:
    cells, out = parse_cells("mobilenetv3_dsn", "toy", ["none"], 1), tmp_path / "out"

    def again(*_: Any) -> None:
        with pytest.raises(DataError, match="another command works in"):
            run_cells(replace(task, place=lambda *_: None), cells, tmp_path / "data", out)

    run_cells(replace(task, place=again), cells, tmp_path / "data", out)
    assert len(tools.calls) == 2 and len(read_results(out / "results.csv")) == 1


def test_weights_of_a_run_that_never_began_are_replaced(task: Task, tools: Tools, tmp_path: Path) -> None:
    file, out = write_weights(tmp_path / "best.pth"), tmp_path / "out"
    cells = parse_cells("mobilenetv3_dsn", "toy", [str(file)], 1)
    unprepared = DataError("no data")

    def refuse(*_: Any) -> None:
        raise unprepared

    with pytest.raises(DataError, match="no data"):
        run_cells(replace(task, place=refuse), cells, tmp_path / "data", out)
    write_weights(file, seed=1)
    run_cells(task, cells, tmp_path / "data", out)
    assert [name for name, _ in tools.calls] == ["train", "test"]


def test_the_own_weights_of_a_finished_run_are_those_of_the_list(
    task: Task, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, out = parse_cells("mobilenetv3_dsn", "toy", ["own"], 1), tmp_path / "out"
    run_cells(task, cells, tmp_path / "data", out)
    info = sarhub.model_info("mobilenetv3_dsn")
    assert info.checksum is not None
    released = replace(info, checksum=replace(info.checksum, value="0" * 64))
    monkeypatch.setattr(mm, "model_info", lambda _: released)
    with pytest.raises(OptionError, match=f"sha256 {info.checksum.value}, these have sha256 0000"):
        run_cells(task, cells, tmp_path / "data", out)


def test_rows_tell_whose_images_a_network_saw(task: Task, tools: Tools, tmp_path: Path) -> None:
    """An initialization of one network on images of two kinds gives two rows, which are not compared."""
    out = tmp_path / "out"
    for model in ("mobilenetv3_ben", "mobilenetv3_tsx"):
        run_cells(task, parse_cells(model, "toy", ["none", "own"], 2), tmp_path / "data", out)
    rows = read_results(out / "results.csv")
    assert len(rows) == 8
    assert {(row.network, row.init) for row in rows} == {
        ("mobilenetv3 (ben)", "mobilenetv3_ben"),
        ("mobilenetv3 (ben)", "none"),
        ("mobilenetv3 (tsx)", "mobilenetv3_tsx"),
        ("mobilenetv3 (tsx)", "none"),
    }
    assert [(c.network, c.base, c.other, c.n) for c in compare_inits(rows)] == [
        ("mobilenetv3 (ben)", "none", "mobilenetv3_ben", 2),
        ("mobilenetv3 (tsx)", "none", "mobilenetv3_tsx", 2),
    ]


def test_rows_of_images_that_are_prepared_for_no_model_have_the_network_alone(
    task: Task, tools: Tools, tmp_path: Path
) -> None:
    cells = [Cell("mobilenetv3_ben", "plain", init, 0, shown) for init, shown in (("none", "none"), ("none", "SAR"))]
    table = run_cells(task, cells, tmp_path / "data", tmp_path / "out")
    assert "| mobilenetv3 | none |" in table and "| mobilenetv3 | SAR |" in table


def test_what_is_finished_is_in_the_table_when_a_run_is_stopped(task: Task, tools: Tools, tmp_path: Path) -> None:
    cells, out = parse_cells("mobilenetv3_ben", "toy", ["none", "own"], 1), tmp_path / "out"
    tools.fails["mobilenetv3_ben-0"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run_cells(task, cells, tmp_path / "data", out)
    assert [row.init for row in read_results(out / "results.csv")] == ["none"]
    assert "| mobilenetv3 (ben) | none |" in (out / "results.md").read_text()


def test_a_failed_run_does_not_stop_the_others(task: Task, tools: Tools, tmp_path: Path) -> None:
    cells, out = parse_cells("mobilenetv3_ben", "toy", ["none", "own"], 2), tmp_path / "out"
    failures = {
        name: DataError(f"train ended with status 1; its output, {name}/log.txt") for name in ("none-0", "none-1")
    }
    tools.fails |= failures
    with pytest.raises(DataError, match="2 of 4 runs failed") as caught:
        run_cells(task, cells, tmp_path / "data", out)
    for name, error in failures.items():
        assert f"toy/mobilenetv3_ben/{name}: {error}" in str(caught.value)
    assert [(row.init, row.seed) for row in read_results(out / "results.csv")] == [
        ("mobilenetv3_ben", 0),
        ("mobilenetv3_ben", 1),
    ]
    tools.fails.clear()
    assert "| none |" in run_cells(task, cells, tmp_path / "data", out)
    assert len(read_results(out / "results.csv")) == 4


def test_what_all_runs_lack_is_said_once(task: Task, tools: Tools, tmp_path: Path) -> None:
    tools.fails["none-0"] = MissingDependencyError("mmdet is not installed")
    with pytest.raises(MissingDependencyError, match="mmdet is not installed"):
        run_cells(task, parse_cells("mobilenetv3_ben", "toy", ["none"], 2), tmp_path / "data", tmp_path / "out")
    assert len(tools.calls) == 1


def test_a_row_that_is_there_is_replaced_where_it_stands(task: Task, tools: Tools, tmp_path: Path) -> None:
    """The initialization that comes first is the one that others are compared with."""
    cells, out = parse_cells("mobilenetv3_ben", "toy", ["none", "own"], 1), tmp_path / "out"
    run_cells(task, cells, tmp_path / "data", out)
    first, second = read_results(out / "results.csv")
    write_report(
        [replace(first, value=0.9), second, Result("x", "y", "z", "none", 1.0, 0, "score", 0.5)], out, "metric"
    )
    run_cells(task, cells[:1], tmp_path / "data", out)
    assert read_results(out / "results.csv")[:2] == [first, second]
