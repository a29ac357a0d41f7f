"""Recognition on simulated chips: what is run, what is not run again, and what comes out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.convert import convert
from benchmarks.experiments.results import read_results
from benchmarks.recognition import __main__ as command
from benchmarks.recognition.grid import METHODS
from benchmarks.recognition.methods import class_scores
from sarhub_models.datasets import FolderDataset
from sarhub_models.features.probe import classifiers
from tests.engine.conftest import CHILDREN

from .recognition import CLASSES, arguments, rows_of, run, times


@pytest.mark.slow
@pytest.mark.slow
def test_every_trial_is_scored_and_all_is_left_that_is_promised(done: Path) -> None:
    results = read_results(done / "results.csv")
    assert len(results) == 3 * 2 * 2 * 2 * 3  # methods, initializations, fractions, seeds, scores
    assert set(results["task"]) == set(METHODS.values())
    assert set(results[["init", "fraction", "seed"]].itertuples(index=False, name=None)) == {
        (init, fraction, seed) for init in ("none", "mine") for fraction in (0.5, 1.0) for seed in (0, 1)
    }
    assert set(results["dataset"]) == {"chips"} and results["value"].between(0, 1).all()
    text = (done / "results.md").read_text(encoding="utf-8")
    assert "### recognition, linear probe, chips: overall accuracy" in text
    assert "| network | init | 50 % | 100 % |" in text and "| mobilenetv3 | 50 % | mine | none |" in text
    figures = [*(done / f"accuracy_{method}.png" for method in METHODS), *(done / "confusion").iterdir()]
    assert len(figures) == 3 + 3 * 2 * 2
    assert all(figure.read_bytes().startswith(b"\x89PNG") for figure in figures)


@pytest.mark.slow
def test_predictions_are_those_that_were_scored(done: Path, chips: Path) -> None:
    test = FolderDataset(chips, "test", lists=done / "split")
    expected = {name: CLASSES[label] for name, label in zip(test.names, test.labels, strict=True)}
    for folder in done.glob("trials/*/*/*/*/"):
        stored = json.loads((folder / "scores.json").read_text())
        rows = rows_of(folder / "predictions.csv")
        assert {row["name"]: row["label"] for row in rows} == expected
        right = [row["label"] == row["prediction"] for row in rows]
        assert stored["scores"]["overall_accuracy"] == pytest.approx(np.mean(right))
        for row in rows:
            scores = {name: float(row[f"score: {name}"]) for name in CLASSES}
            assert max(scores, key=lambda name: scores[name]) == row["prediction"]
            if folder.name != "probe":
                assert sum(scores.values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_frozen_features_tell_simulated_scenes_apart(done: Path) -> None:
    results = read_results(done / "results.csv")
    assert results[(results["task"] == METHODS["probe"]) & (results["fraction"] == 1)]["value"].mean() > 0.6


@pytest.mark.slow
def test_initializations_matter_and_so_do_seeds(done: Path) -> None:
    def bodies(init: str) -> list[torch.Tensor]:
        files = [done / "trials" / "folder" / "mobilenetv3" / f"{init}-100-{seed}" / "finetune" for seed in (0, 1)]
        assert not any((file / "last.pt").exists() for file in files), "it is of no use any more"
        return [load_file(file / "best.safetensors")["blocks.0.0.conv_dw.weight"] for file in files]

    none, mine = bodies("none"), bodies("mine")
    assert (mine[0] - mine[1]).abs().mean() < 0.3 * (none[0] - none[1]).abs().mean()
    assert not torch.equal(mine[0], mine[1])


@pytest.mark.slow
def test_what_is_finished_is_not_run_again(copy: Path, chips: Path, weights: Path) -> None:
    before = times(copy)
    shutil.rmtree(copy / "confusion")
    result = run(chips, copy, "--init", "none", "--init", f"mine={weights}", "--threads", "2")
    assert result.exit_code == 0 and times(copy) == before
    assert (copy / "confusion").is_dir(), "the report is made again"


def damage(copy: Path) -> set[str]:
    """Damage some results, each in another way; return which."""
    trials = copy / "trials" / "folder" / "mobilenetv3"
    scores = [trials / "mine-50-1" / method / "scores.json" for method in METHODS]
    for file in scores:
        file.write_bytes(file.read_bytes()[:40])
    scores.append(trials / "mine-100-0" / "probe" / "scores.json")
    scores[-1].write_text("[1, 2]")
    scores.append(trials / "none-50-0" / "finetune" / "scores.json")
    (scores[-1].parent / "predictions.csv").unlink()
    scores.append(trials / "none-100-1" / "finetune" / "scores.json")
    (scores[-1].parent / "best.safetensors").unlink()  # has to be trained again
    scores[-1].unlink()
    return {str(file.relative_to(copy)) for file in scores}


@pytest.mark.slow
def test_a_damaged_trial_is_run_again_and_no_other(copy: Path, chips: Path, weights: Path) -> None:
    before = times(copy)
    whole = {file: file.read_bytes() for file in copy.glob("trials/*/*/*/*/predictions.csv")}
    damaged = damage(copy)
    result = run(chips, copy, "--init", "none", "--init", f"mine={weights}")
    assert result.exit_code == 0, result.output
    assert {name for name, when in times(copy).items() if before[name] != when} == damaged
    assert {file: file.read_bytes() for file in whole} == whole


@pytest.mark.slow
def test_a_failed_trial_is_named_with_its_log_and_the_others_go_on(chips: Path, tmp_path: Path) -> None:
    cut = ("--init", "none", "--methods", "finetune", "--fractions", "1", "--seeds", "1")
    assert run(chips, tmp_path / "out", *cut).exit_code == 0
    folder = tmp_path / "out" / "trials" / "folder" / "mobilenetv3" / "none-100-0" / "finetune"
    for name in ("scores.json", "run.json"):
        (folder / name).unlink()
    (folder / "last.pt").write_bytes(b"damaged")
    result = run(chips, tmp_path / "out", "--init", "none", "--methods", "finetune")
    assert result.exit_code == 1
    assert f"mobilenetv3/none-100-0/finetune: status 1, see {folder / 'log.txt'}" in result.output
    assert "last.pt cannot be read" in (folder / "log.txt").read_text()
    assert len(times(tmp_path / "out")) == 3
    results = read_results(tmp_path / "out" / "results.csv")
    assert set(results[["fraction", "seed"]].itertuples(index=False, name=None)) == {(0.5, 0), (0.5, 1), (1.0, 1)}
    (folder / "last.pt").unlink()
    assert run(chips, tmp_path / "out", "--init", "none", "--methods", "finetune").exit_code == 0


@pytest.mark.slow
def test_other_settings_in_the_same_folder_are_refused(copy: Path, chips: Path, weights: Path) -> None:
    before = times(copy)
    for change in (("--steps", "20"), ("optim.max_lr=0.5",)):
        result = run(chips, copy, "--init", "none", "--init", f"mine={weights}", *change)
        assert result.exit_code == 1
        assert "holds results of other settings (optim." in result.output and "delete it" in result.output
    assert times(copy) == before


def with_other_names(chips: Path, root: Path) -> Path:
    """The same classes, each with a chip more."""
    shutil.copytree(chips, root)
    for name in CLASSES:
        np.save(root / name / "one more.npy", np.load(next((root / name).glob("*.npy"))))
    return root


def with_other_pixels(chips: Path, root: Path) -> Path:
    """The same names, each chip darker."""
    for file in shutil.copytree(chips, root).rglob("*.npy"):
        np.save(file, (np.load(file) * 0.5).astype(np.float32))
    return root


@pytest.mark.slow
@pytest.mark.parametrize("make", [with_other_names, with_other_pixels])
def test_results_of_other_chips_are_not_taken_for_these(
    make: Callable[[Path, Path], Path], copy: Path, chips: Path, weights: Path, tmp_path: Path
) -> None:
    before = times(copy)
    other = make(chips, tmp_path / "other")
    lists = tmp_path / "lists"
    shutil.copytree(copy / "split", lists)
    named = sorted(str(file.relative_to(other)) for file in other.rglob("one more.npy"))
    with (lists / "test.txt").open("a") as stream:
        stream.writelines(f"{name} {label}\n" for label, name in enumerate(named))
    result = run(other, copy, "--init", "none", "--init", f"mine={weights}", "--lists", str(lists))
    assert result.exit_code == 1
    split = "data.test" if named else "data.train"
    assert (
        f"holds results of other data ({split}: SHA-256 " in result.output
        and "another folder with --out" in result.output
    )
    assert times(copy) == before


@pytest.mark.slow
def test_a_training_does_not_go_on_with_other_chips(copy: Path, chips: Path, tmp_path: Path) -> None:
    for file in copy.glob("trials/*/*/*/*/scores.json"):
        file.unlink()
    other = with_other_pixels(chips, tmp_path / "other")
    more = ("--init", "none", "--methods", "finetune")
    result = run(other, copy, *more)
    assert result.exit_code == 1 and "finetune holds results of other data (data.train: SHA-256" in result.output
    for file in copy.glob("trials/*/*/*/finetune/provenance.json"):
        file.unlink()
    result = run(chips, copy, *more)
    assert result.exit_code == 1 and "does not say what its results come from" in result.output
    assert times(copy) == {}


@pytest.mark.slow
def test_the_same_chips_may_be_moved(copy: Path, chips: Path, weights: Path, tmp_path: Path) -> None:
    before = times(copy)
    moved = shutil.copytree(chips, tmp_path / "elsewhere" / "chips")
    result = run(moved, copy, "--init", "none", "--init", f"mine={weights}")
    assert result.exit_code == 0 and times(copy) == before


@pytest.mark.slow
def test_weights_trained_anew_at_the_same_path_are_not_finished(chips: Path, weights: Path, tmp_path: Path) -> None:
    file = Path(shutil.copy(weights, tmp_path / "mine.safetensors"))
    cut = ("--init", str(file), "--methods", "probe", "--seeds", "1", "--fractions", "1")
    assert run(chips, tmp_path / "out", *cut).exit_code == 0
    save_file({name: tensor * 1.5 for name, tensor in load_file(weights).items()}, file)
    result = run(chips, tmp_path / "out", *cut)
    assert result.exit_code == 1 and "holds results of other starting weights (weights: SHA-256 " in result.output


@pytest.mark.slow
def test_results_that_do_not_say_of_which_chips_are_refused(copy: Path, chips: Path, weights: Path) -> None:
    file = next(copy.glob("trials/*/*/none-*/probe/provenance.json"))
    file.unlink()
    result = run(chips, copy, "--init", "none", "--init", f"mine={weights}")
    assert result.exit_code == 1 and f"{file.parent} does not say what its results come from" in result.output


def test_another_test_share_is_not_ignored(copy: Path, chips: Path, weights: Path) -> None:
    result = run(chips, copy, "--init", "none", "--init", f"mine={weights}", "--test-share", "0.5")
    assert result.exit_code == 1 and "test_share: 0.3 there, 0.5 now" in result.output


@pytest.mark.slow
def test_weights_may_be_discarded(chips: Path, tmp_path: Path) -> None:
    cut = ("--init", "none", "--methods", "finetune", "--seeds", "1", "--fractions", "1", "--no-keep-weights")
    assert run(chips, tmp_path / "out", *cut).exit_code == 0
    (folder,) = tmp_path.glob("out/trials/*/*/*/finetune")
    assert not (folder / "best.safetensors").exists() and (folder / "scores.json").exists()
    before = times(tmp_path / "out")
    assert run(chips, tmp_path / "out", *cut).exit_code == 0 and times(tmp_path / "out") == before


def as_before(out: Path) -> None:
    """Lay a finished benchmark out as earlier versions did."""
    trained = next(out.glob("trials/*/*/*/finetune/provenance.json"))
    optim = json.loads(trained.read_text())["settings"]["optim"]
    for file in list(out.glob("trials/*/*/*/*/provenance.json")):
        folder = file.parent
        settings, data, weights = json.loads(file.read_text().replace("eval_value", "evaluation")).values()
        settings = {"optim": optim, **{name: values for name, values in settings.items() if name != "frozen"}}
        file.unlink()
        scores = json.loads((folder / "scores.json").read_text())
        inputs = {**data, "weights": weights}
        (folder / "scores.json").write_text(
            json.dumps({**scores, "classes": [], "settings": settings, "inputs": inputs})
        )
        method = {"knn": "neighbours"}.get(folder.name, folder.name)
        (out / "cells" / f"{folder.parents[1].name}-{folder.parent.name}").mkdir(parents=True, exist_ok=True)
        folder.rename(out / "cells" / f"{folder.parents[1].name}-{folder.parent.name}" / method)
    split = json.loads((out / "split" / "split.json").read_text())
    (out / "split" / "split.json").write_text(json.dumps({"share": split["test_share"], "chips": split["chips"]}))


@pytest.mark.slow
def test_results_of_earlier_versions_are_taken_over(copy: Path, chips: Path, weights: Path) -> None:
    before = {file.relative_to(copy): file.read_bytes() for file in copy.glob("trials/*/*/*/*/*.json")}
    as_before(copy)
    assert convert(copy) == 24 and convert(copy) == 0
    written = times(copy)
    assert {file.relative_to(copy): file.read_bytes() for file in copy.glob("trials/*/*/*/*/*.json")} == before
    assert run(chips, copy, "--init", "none", "--init", f"mine={weights}").exit_code == 0
    assert times(copy) == written, "nothing was run again"


# ------------------------------------------------------------------------------------------------ stop and go on


def start(chips: Path, out: Path) -> BaseProcess:
    more = ("--init", "none", "--methods", "finetune", "--jobs", "1", "--steps", "50", "--fractions", "1")
    child = CHILDREN.Process(target=command.app, kwargs={"args": arguments(chips, out, *more)})
    child.start()
    return child


def wait_for(files: Callable[[], Iterable[Path]], child: BaseProcess, seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while child.is_alive() and not list(files()):
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_or_killed_benchmark_goes_on_where_it_was(number: int, chips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = start(chips, out)
    wait_for(lambda: out.glob("trials/*/*/*-0/finetune/scores.json"), child)
    wait_for(lambda: out.glob("trials/*/*/*-1/finetune/last.pt"), child)
    assert child.pid is not None
    os.kill(child.pid, number)
    child.join(600)
    assert child.exitcode == (75 if number == signal.SIGTERM else -signal.SIGKILL)
    second = out / "trials" / "folder" / "mobilenetv3" / "none-100-1" / "finetune"
    until = time.monotonic() + 600
    while not (second / "interrupted").exists():  # the run ends with its parent
        assert time.monotonic() < until and not (second / "scores.json").exists()
        time.sleep(0.05)
    before = times(out)
    child = start(chips, out)
    child.join(600)
    assert child.exitcode == 0
    after = times(out)
    assert len(after) == 2 and {name: after[name] for name in before} == before
    assert "stopped" in (second / "log.txt").read_text(), "it went on with the same run"


def test_two_commands_in_one_folder_are_refused(copy: Path, chips: Path) -> None:
    from filelock import FileLock

    with FileLock(copy / ".lock"):
        result = run(chips, copy, "--init", "none")
    assert result.exit_code == 1 and "another command works in" in result.output


@pytest.mark.parametrize("method", ["linear", "knn"])
def test_scores_of_classes_that_were_not_learnt_are_missing(method: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 2], 10)
    features = rng.normal(size=(20, 4)) + labels[:, None]
    scores = class_scores(classifiers(20)[method].fit(features, labels), features, 4)
    assert scores.shape == (20, 4) and np.isnan(scores[:, [1, 3]]).all()
    np.testing.assert_array_equal(
        np.nanargmax(scores, axis=1), classifiers(20)[method].fit(features, labels).predict(features)
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--dataset", "mstr"], "did you mean 'mstar'"),
        (["--networks", "resnet81"], "did you mean 'resnet18'"),
        (["--methods", "probes"], "did you mean 'probe'"),
        (["--fractions", "0"], "expected --fractions above 0"),
        (["--fractions", "10%"], "expected --fractions above 0"),
        (["--init", "none", "optim.max_l=1"], "did you mean 'optim.max_lr'"),
        (["--init", "imagenet"], "--init imagenet: timm has no ImageNet weights for mobilenetv3"),
    ],
)
def test_a_wrong_option_is_answered_in_one_line(more: list[str], words: str, chips: Path, tmp_path: Path) -> None:
    result = run(chips, tmp_path / "out", *more)
    assert result.exit_code == 1 and words in result.output and "Traceback" not in result.output
    assert not (tmp_path / "out" / "trials").exists()


@pytest.mark.slow
def test_imagenet_is_left_out_by_default_where_there_is_none(chips: Path, tmp_path: Path) -> None:
    cut = ("--methods", "probe", "--seeds", "1", "--fractions", "1")
    result = run(chips, tmp_path / "out", *cut)
    assert result.exit_code == 0, result.output
    assert "imagenet is left out for mobilenetv3: timm has no such weights" in result.output
    assert set(read_results(tmp_path / "out" / "results.csv")["init"]) == {"none"}


def test_no_such_folder(tmp_path: Path) -> None:
    result = run(tmp_path / "absent", tmp_path / "out", "--init", "none")
    assert result.exit_code == 1 and "no such folder" in result.output
