"""``sarhub finetune`` gives the options of its line, and no others, to the function of their task."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from sarhub_models import engine
from sarhub_models.cli import main
from sarhub_models.cli.commands.finetune import command
from sarhub_models.engine.finetuning.chips import Finetuned
from sarhub_models.engine.finetuning.options import BoxOptions, ChipOptions, MaskOptions, Options
from sarhub_models.engine.finetuning.windowed import Trained

FUNCTIONS = {"finetune": ChipOptions, "finetune_masks": MaskOptions, "finetune_boxes": BoxOptions}
COMMON = ["--model", "mobilenetv3_dsn", "--out", "run"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The functions that are called in place of a training, with their arguments."""
    made: list[tuple[str, dict[str, Any]]] = []

    def stand_in(name: str) -> Callable[..., Any]:
        def call(data: Path, **options: Any) -> Any:
            FUNCTIONS[name](data, **options)  # what the function itself makes of them
            made.append((name, {key: value for key, value in options.items() if key not in ("say", "assignments")}))
            if name == "finetune":
                return Finetuned(Path("run"), Path("run/best"), {"a": 0.5}, {}, 1.0, (0.1, 0.1), {})
            return Trained(Path("run"), Path("run/best"), {"a": 0.5}, {}, {}, {})

        return call

    for name in FUNCTIONS:
        monkeypatch.setattr(engine, name, stand_in(name), raising=False)
    return made


@pytest.mark.parametrize("task", FUNCTIONS.values())
def test_every_option_of_a_task_is_an_option_of_the_command(task: type[Options]) -> None:
    assert {option.name for option in fields(task)} - {"say"} <= set(inspect.signature(command).parameters)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_stand_in_signature_and_documentation(name: str) -> None:
    function = getattr(engine, name)
    assert list(inspect.signature(function).parameters) == [option.name for option in fields(FUNCTIONS[name])]
    listed = (function.__doc__ or "").partition("\nArgs:\n")[2].partition("\nRaises:\n")[0]
    assert [line.split(":")[0].strip() for line in listed.splitlines() if line] == list(
        inspect.signature(function).parameters
    )


@pytest.mark.parametrize(
    ("words", "name", "expected"),
    [
        ([], "finetune", {}),
        (
            ["--labels", "a.csv", "--bands", "VV,VH", "--band", "2", "--band", "1", "--freeze", "--lr", "0.1"],
            "finetune",
            {"labels": Path("a.csv"), "bands": ["VV", "VH"], "band": [2, 1], "freeze": True, "lr": 0.1},
        ),
        (["--nodata", "fill", "--lora", "4", "--test", "0"], "finetune", {"nodata": "fill", "lora": 4, "test": 0.0}),
        (
            ["--masks", "m", "--classes", "0=a,1=b", "--ignore", "0", "--decoder", "fpn"],
            "finetune_masks",
            {"masks": Path("m"), "classes": ["0=a", "1=b"], "ignore": 0, "decoder": "fpn"},
        ),
        (["--boxes", "b.json", "--on-error", "skip"], "finetune_boxes", {"boxes": Path("b.json"), "on_error": "skip"}),
    ],
)
def test_options_that_are_given_go_to_the_function(
    words: list[str], name: str, expected: dict[str, Any], calls: list[tuple[str, dict[str, Any]]]
) -> None:
    assert main(["finetune", "chips", *COMMON, *words]) == 0
    assert calls == [(name, {"model": "mobilenetv3_dsn", "out": Path("run"), **expected})]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--boxes", "b.json", "--lora", "4"], "--lora has no meaning for boxes"),
        (["--masks", "m", "--nodata", "refuse"], "--nodata has no meaning for masks"),
        (["--decoder", "fpn"], "--decoder has no meaning for whole images"),
        (["--steps", "0"], "Invalid value for '--steps'"),
    ],
)
def test_options_of_other_tasks_are_refused(
    words: list[str],
    message: str,
    calls: list[tuple[str, dict[str, Any]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["finetune", "chips", *COMMON, *words]) == 2
    assert message in capsys.readouterr().err and not calls
