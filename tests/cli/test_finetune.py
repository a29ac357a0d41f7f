"""``sarhub finetune`` has the options of the functions that it calls, with their defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from sarhub_models import engine
from sarhub_models.cli.commands.finetune import command

# Parameters that are another thing on a command line: required there, or text for what is a list here.
OTHERWISE = {"assignments", "say", "data", "model", "out", "decoder", "nodata"}


@pytest.mark.parametrize("function", [engine.finetune, engine.finetune_masks])
def test_options_and_defaults_are_those_of_the_function(function: Callable[..., Any]) -> None:
    ours, theirs = inspect.signature(command).parameters, inspect.signature(function).parameters
    assert set(theirs) - {"say"} <= set(ours)
    different = {name for name in theirs.keys() - OTHERWISE if ours[name].default != theirs[name].default}
    assert different - {"freeze"} == set()
