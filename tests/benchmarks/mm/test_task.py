"""Trials of detection and segmentation: their folders, labels, weights and rows, without any training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sarhub_models as sarhub
from benchmarks.convert import convert
from benchmarks.experiments.initializations import Initialization
from benchmarks.experiments.results import compare, read_results, write_results
from benchmarks.experiments.trial import Trial
from benchmarks.mm import run as mm
from benchmarks.mm import task as mm_task
from benchmarks.mm.task import MMExperiment, Task, parse_trials, run_table
from sarhub_models.errors import DataError, MissingDependencyError, OptionError, UnknownNameError

pytest.importorskip("mmengine", reason="the MM stack is not installed: make test-mm sets it up", exc_type=ImportError)

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

    def __call__(self, package: str, folder: Path, threads: int | None, name: str, *arguments: str) -> None:
        self.calls.append((name, folder))
        if folder.name in self.fails:
            raise self.fails[folder.name]
        if name == "train":
            (folder / "train").mkdir(exist_ok=True)
            (folder / "train" / "last_checkpoint").write_text("epoch_1.pth")
        else:
            (folder / "test" / "1").mkdir(parents=True, exist_ok=True)
            (folder / "test" / "1" / "1.json").write_text(json.dumps({"score": len(self.calls) / 100}))


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Tools:
    found = Tools()
    monkeypatch.setattr(mm, "run_tool", found)
    return found


@pytest.fixture
def task(tmp_path: Path) -> Task:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "toy.py").write_text(PREPARED)
    (tmp_path / "configs" / "plain.py").write_text(PLAIN)

    def scores(found: Mapping[str, float]) -> dict[str, float]:
        return dict(found)

    def nothing(*_: Any) -> None:
        return None

    return Task("detection", "mmdet", tmp_path / "configs", nothing, scores, nothing, lambda _: (), nothing)


def run(task: Task, trials: list[Trial], tmp_path: Path, data: str = "data") -> str:
    return run_table(MMExperiment(tmp_path / "out", task, tmp_path / data), trials)


def inits_of(file: Path) -> list[tuple[str, int]]:
    return list(read_results(file)[["init", "seed"]].itertuples(index=False, name=None))


def write_weights(file: Path, seed: int = 0) -> Path:
    """Write a checkpoint of a MobileNetV3 as training leaves it, with a head of its own."""
    torch.manual_seed(seed)
    state = sarhub.create_model("mobilenetv3_tsx", num_classes=3).state_dict()
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": {f"module.{key}": tensor for key, tensor in state.items()}}, file)
    return file


def test_initializations_are_labeled_as_those_of_recognition(task: Task, tmp_path: Path) -> None:
    first, second = (write_weights(tmp_path / name / "best.pth", i) for i, name in enumerate("ab"))
    trials = parse_trials(task, "mobilenetv3_dsn", "ssdd", ["own", "none", f"mine={first}", str(second)], 2)
    assert [(trial.initialization.init, trial.label, trial.seed) for trial in trials[::2]] == [
        ("own", "mobilenetv3_dsn", 0),
        ("none", "none", 0),
        (str(first), "mine", 0),
        (str(second), "best", 0),
    ]
    assert trials[5].folder == Path("trials", "ssdd", "mobilenetv3_dsn", "mine-100-1")
    with pytest.raises(OptionError, match="weights of resnet50, but mobilenetv3_dsn is a mobilenetv3"):
        parse_trials(task, "mobilenetv3_dsn", "ssdd", ["none", "resnet50_ben"], 1)
    with pytest.raises(OptionError, match="LABEL"):
        parse_trials(task, "mobilenetv3_dsn", "ssdd", ["=none"], 1)
    with pytest.raises(UnknownNameError, match="mobilenetv3_dns"):
        parse_trials(task, "mobilenetv3_dns", "ssdd", ["none"], 1)


@pytest.mark.slow
def test_checkpoints_of_one_name_need_labels(task: Task, tools: Tools, tmp_path: Path) -> None:
    files = [write_weights(tmp_path / name / "best.pth", i) for i, name in enumerate("ab")]
    out = tmp_path / "out"
    with pytest.raises(OptionError, match=r"toy/mobilenetv3_dsn/best-100-0: --init LABEL=PLACE"):
        run(task, parse_trials(task, "mobilenetv3_dsn", "toy", [str(file) for file in files], 1), tmp_path)
    assert not tools.calls and not out.exists(), "it is said before anything is trained"
    trials = parse_trials(task, "mobilenetv3_dsn", "toy", [f"{file.parent.name}={file}" for file in files], 1)
    run(task, trials, tmp_path)
    assert inits_of(out / "results.csv") == [("a", 0), ("b", 0)]
    first, second = (out / trial.folder / "init.safetensors" for trial in trials)
    assert first.read_bytes() != second.read_bytes()


def test_runs_of_other_settings_or_data_do_not_come_into_one_table(task: Task, tools: Tools, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    own, none, other = (
        parse_trials(task, model, "toy", [init], 1)
        for model, init in (("mobilenetv3_dsn", "own"), ("mobilenetv3_dsn", "none"), ("resnet50_ben", "none"))
    )
    run(task, own, tmp_path)
    longer = MMExperiment(tmp_path / "out", task, tmp_path / "data", {"train_cfg.max_epochs": 3})
    with pytest.raises(OptionError, match=r"dsn-100-0 holds results of other settings or data \(train_cfg\.max_epochs"):
        run_table(longer, none)
    assert len(tools.calls) == 2 and inits_of(tmp_path / "out" / "results.csv") == [("mobilenetv3_dsn", 0)]
    run(task, none, tmp_path)  # starts and frozen parts differ between trials
    run_table(longer, other)  # and another network may be trained otherwise
    (tmp_path / "data" / "classes.txt").write_text("ship")
    with pytest.raises(OptionError, match=r"dsn-100-0 holds results of other settings or data \(data\.folder"):
        run(task, parse_trials(task, "mobilenetv3_dsn", "toy", ["none"], 2)[1:], tmp_path)


@pytest.mark.parametrize("label", ["../up", "a/b"])
def test_a_label_cannot_lead_out_of_the_folder(task: Task, tools: Tools, tmp_path: Path, label: str) -> None:
    (trial,) = parse_trials(task, "mobilenetv3_dsn", "toy", [f"{label}=none"], 1)
    run(task, [trial], tmp_path)
    assert tools.calls[0][1].resolve().parent == tmp_path / "out" / "trials" / "toy" / "mobilenetv3_dsn"
    assert inits_of(tmp_path / "out" / "results.csv") == [(label, 0)]


@pytest.mark.slow
def test_a_run_is_found_again_only_with_its_weights(task: Task, tools: Tools, tmp_path: Path) -> None:
    file, out = write_weights(tmp_path / "best.pth"), tmp_path / "out"
    trials = parse_trials(task, "mobilenetv3_dsn", "toy", [str(file)], 1)
    run(task, trials, tmp_path)
    folder = out / trials[0].folder
    kept = (folder / "init.safetensors").read_bytes()
    run(task, trials, tmp_path)
    assert len(tools.calls) == 2, "a finished run is not done again"
    write_weights(file, seed=1)
    for state in ("finished", "interrupted"):
        with pytest.raises(OptionError, match=r"best-100-0 holds results of other starting weights \(weights: "):
            run(task, trials, tmp_path)
        assert (folder / "init.safetensors").read_bytes() == kept, state
        (folder / "scores.json").unlink(missing_ok=True)
    assert len(tools.calls) == 2
    write_weights(file, seed=0)
    run(task, trials, tmp_path)
    assert len(tools.calls) == 3, "the test alone was left to do"


def test_a_run_is_found_again_only_with_its_data(task: Task, tools: Tools, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    (data / "images" / "1.png").write_bytes(b"image")
    (data / "train.json").write_text("[1]")
    trials = parse_trials(task, "mobilenetv3_dsn", "toy", ["none"], 1)
    run(task, trials, tmp_path)
    for file, content in (("train.json", "[2]"), ("images/1.png", "another image"), ("images/2.png", "image")):
        before = (data / file).read_bytes() if (data / file).exists() else None
        (data / file).write_text(content)
        with pytest.raises(OptionError, match=r"none-100-0 holds results of other data \(data.folder: "):
            run(task, trials, tmp_path)
        (data / file).unlink() if before is None else (data / file).write_bytes(before)
    run(task, trials, tmp_path)
    assert len(tools.calls) == 2, "the run of the same data is finished"


def test_two_commands_do_not_work_on_one_run(task: Task, tools: Tools, tmp_path: Path) -> None:
    trials, out = parse_trials(task, "mobilenetv3_dsn", "toy", ["none"], 1), tmp_path / "out"

    def again(_: Path) -> tuple[str, ...]:
        with pytest.raises(DataError, match="another command works in"):
            run(task, trials, tmp_path)
        return ()

    run(replace(task, test_arguments=again), trials, tmp_path)
    assert len(tools.calls) == 2 and len(read_results(out / "results.csv")) == 1


@pytest.mark.slow
def test_weights_of_a_run_that_never_began_are_replaced(task: Task, tools: Tools, tmp_path: Path) -> None:
    file = write_weights(tmp_path / "best.pth")
    trials = parse_trials(task, "mobilenetv3_dsn", "toy", [str(file)], 1)
    unprepared = DataError("no data")

    def refuse(*_: Any) -> None:
        raise unprepared

    with pytest.raises(DataError, match="no data"):
        run(replace(task, place=refuse), trials, tmp_path)
    write_weights(file, seed=1)
    run(task, trials, tmp_path)
    assert [name for name, _ in tools.calls] == ["train", "test"]


def test_the_own_weights_of_a_finished_run_are_those_of_the_list(
    task: Task, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = parse_trials(task, "mobilenetv3_dsn", "toy", ["own"], 1)
    run(task, trials, tmp_path)
    info = sarhub.model_info("mobilenetv3_dsn")
    assert info.checksum is not None
    released = replace(info, checksum=replace(info.checksum, value="0" * 64))
    monkeypatch.setattr(mm_task, "model_info", lambda _: released)
    with pytest.raises(OptionError, match=f"SHA-256 {info.checksum.value[:12]} there, SHA-256 000000000000 now"):
        run(task, trials, tmp_path)


@pytest.mark.slow
def test_runs_of_earlier_versions_are_taken_over(task: Task, tools: Tools, tmp_path: Path) -> None:
    file = write_weights(tmp_path / "best.pth")
    trials = parse_trials(task, "mobilenetv3_dsn", "toy", ["none", f"mine={file}"], 1)
    run(task, trials, tmp_path)
    for trial in trials:
        folder = tmp_path / "out" / "toy" / "mobilenetv3_dsn" / f"{trial.label}-0"
        folder.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / trial.folder).rename(folder)
        record = json.loads((folder / "provenance.json").read_text())
        for name, digest in (("data", record["data"]["folder"]), ("weights", record["weights"])):
            if digest is not None:
                (folder / f"{name}.txt").write_text(f"{digest}\n")
        (folder / "provenance.json").unlink()
        (folder / "scores.json").write_text(json.dumps({"coco/bbox_mAP": 0.5, "mIoU": 50.0, "aAcc": 75.0}))
    assert convert(tmp_path / "out") == 2
    run(task, trials, tmp_path)
    assert len(tools.calls) == 4, "nothing was run again"


@pytest.mark.slow
def test_rows_tell_whose_images_a_network_saw(task: Task, tools: Tools, tmp_path: Path) -> None:
    """An initialization of one network on images of two kinds gives two rows, which are not compared."""
    out = tmp_path / "out"
    for model in ("mobilenetv3_ben", "mobilenetv3_tsx"):
        run(task, parse_trials(task, model, "toy", ["none", "own"], 2), tmp_path)
    rows = read_results(out / "results.csv")
    assert len(rows) == 8
    assert set(rows[["network", "init"]].itertuples(index=False, name=None)) == {
        ("mobilenetv3 (ben)", "mobilenetv3_ben"),
        ("mobilenetv3 (ben)", "none"),
        ("mobilenetv3 (tsx)", "mobilenetv3_tsx"),
        ("mobilenetv3 (tsx)", "none"),
    }
    compared = compare(rows)[["network", "base", "other", "n"]]
    assert list(compared.itertuples(index=False, name=None)) == [
        ("mobilenetv3 (ben)", "none", "mobilenetv3_ben", 2),
        ("mobilenetv3 (tsx)", "none", "mobilenetv3_tsx", 2),
    ]


def test_rows_of_images_that_are_prepared_for_no_model_have_the_network_alone(
    task: Task, tools: Tools, tmp_path: Path
) -> None:
    inits = [Initialization(label, "none") for label in ("none", "SAR")]
    table = run(task, [Trial("detection", "plain", "mobilenetv3_ben", init) for init in inits], tmp_path)
    assert "| mobilenetv3 | none |" in table and "| mobilenetv3 | SAR |" in table


def test_what_is_finished_is_in_the_table_when_a_run_is_stopped(task: Task, tools: Tools, tmp_path: Path) -> None:
    trials, out = parse_trials(task, "mobilenetv3_ben", "toy", ["none", "own"], 1), tmp_path / "out"
    tools.fails["mobilenetv3_ben-100-0"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(task, trials, tmp_path)
    assert inits_of(out / "results.csv") == [("none", 0)]
    assert "| mobilenetv3 (ben) | none |" in (out / "results.md").read_text()


@pytest.mark.slow
def test_a_failed_run_does_not_stop_the_others(task: Task, tools: Tools, tmp_path: Path) -> None:
    trials, out = parse_trials(task, "mobilenetv3_ben", "toy", ["none", "own"], 2), tmp_path / "out"
    failures = {
        name: DataError(f"train ended with status 1; its output, {name}/log.txt")
        for name in ("none-100-0", "none-100-1")
    }
    tools.fails |= failures
    with pytest.raises(DataError, match="2 of 4 trials failed") as caught:
        run(task, trials, tmp_path)
    for name, error in failures.items():
        assert f"toy/mobilenetv3_ben/{name}: {error}" in str(caught.value)
    assert inits_of(out / "results.csv") == [("mobilenetv3_ben", 0), ("mobilenetv3_ben", 1)]
    tools.fails.clear()
    assert "| none |" in run(task, trials, tmp_path)
    assert len(read_results(out / "results.csv")) == 4


def test_what_all_runs_lack_is_said_once(task: Task, tools: Tools, tmp_path: Path) -> None:
    tools.fails["none-100-0"] = MissingDependencyError("mmdet is not installed")
    with pytest.raises(MissingDependencyError, match="mmdet is not installed"):
        run(task, parse_trials(task, "mobilenetv3_ben", "toy", ["none"], 2), tmp_path)
    assert len(tools.calls) == 1


def test_a_row_that_is_there_is_replaced_where_it_stands(task: Task, tools: Tools, tmp_path: Path) -> None:
    """The initialization that comes first is the one that others are compared with."""
    trials, out = parse_trials(task, "mobilenetv3_ben", "toy", ["none", "own"], 1), tmp_path / "out"
    run(task, trials, tmp_path)
    file = out / "results.csv"
    rows = read_results(file)
    write_results(rows.assign(value=[0.9, rows["value"][1]]), file)
    run(task, trials[:1], tmp_path)
    assert read_results(file).equals(rows)
