"""Fine-tune weights on one's own chips: ``sarhub finetune``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ...engine.finetuning.options import BoxOptions, ChipOptions, MaskOptions, Options, StrPath
from ...errors import MissingDependencyError, OptionError
from .. import console
from ..arguments import Bands, FullScale, Json, Radiometry, Seed, complete_name, split_bands

if TYPE_CHECKING:
    from ...engine import Finetuned, Trained

_TASKS: tuple[type[Options], ...] = (ChipOptions, MaskOptions, BoxOptions)
_ALIKE: dict[str, Any] = {  # in other commands
    "bands": Bands,
    "radiometry": Radiometry,
    "full_scale": FullScale,
    "seed": Seed,
}
_TYPES: dict[str, Any] = {"model": str, "classes": str | None, "band": list[int] | None}  # as a shell gives them
_EXTRA: dict[str, dict[str, Any]] = {
    "model": {"metavar": "NAME|FILE|RUN|none", "autocompletion": complete_name},
    "out": {"metavar": "RUN"},
    "group_by": {"metavar": "parent|COLUMN"},
    "labels": {"metavar": "FILE"},
    "masks": {"metavar": "FOLDER|FILE"},
    "boxes": {"metavar": "FILE|FOLDER"},
    "decoder": {"metavar": "NAME"},
    "classes": {"metavar": "N=NAME,..."},
    "lora": {"metavar": "RANK"},
}


def _parameters() -> list[inspect.Parameter]:
    """Return a parameter for each option of a task; one that differs between them has no default here."""
    parameters: dict[str, inspect.Parameter] = {}
    texts: dict[str, list[str]] = {}
    for task in _TASKS:
        hints = get_type_hints(task)
        for option in fields(task):
            name, text = option.name, option.metadata["text"]
            if name in ("data", "assignments", "say") or text in texts.get(name, ()):
                continue
            texts.setdefault(name, []).append(text)
            hint = _TYPES.get(name, Path | None if hints[name] in (StrPath, StrPath | None) else hints[name])
            default = ... if name in ("model", "out") else None if option.default is MISSING else option.default
            told = " ".join(text[0].upper() + text[1:] for text in texts[name])
            flag = (f"--{name}",) if hint is bool else ()  # without a --no-…
            given = typer.Option(*flag, min=option.metadata["least"], help=told, **_EXTRA.get(name, {}))
            typed = _ALIKE.get(name) or Annotated[hint, given]
            kind = inspect.Parameter.KEYWORD_ONLY
            default = None if len(texts[name]) > 1 and default is not ... else default
            parameters[name] = inspect.Parameter(name, kind, default=default, annotation=typed)
    return list(parameters.values())


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take the options of the tasks, in place of its last parameter."""
    *own, as_json, _ = inspect.signature(command, eval_str=True).parameters.values()
    named = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *_parameters(), as_json)]
    command.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in named}
    return command


@_with_options
def command(
    context: typer.Context,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Folder with a folder of chips for each class, or with 'images' and 'masks'."
        ),
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Values over the recipe, such as augment.geometry=none."),
    ] = None,
    as_json: Json = False,
    **values: Any,
) -> None:
    """Fine-tune weights on one's own chips.

    Labels in, one weights file that describes itself and a report out. The learning rate and the number of steps follow
    from the number of chips. Start a stopped run again with the same options and it resumes.

    With masks the answer is a class for each pixel: DATA holds 'images' and 'masks', or --masks says where these are.
    With --boxes it finds objects.

    \b
    Examples:
      sarhub finetune chips/ --model resnet50_ssl4eo.moco --out ships
      sarhub finetune chips/ --model mobilenetv3_dsn --out ships --freeze
      sarhub finetune tiles/ --model resnet50_ssl4eo.moco --labels labels.csv --radiometry db --out land
      sarhub finetune chips/ --model mobilenetv3_dsn --out ships --group-by parent augment.geometry=dihedral
      sarhub finetune scenes/ --masks masks/ --model resnet50_ssl4eo.moco --classes 0=land,1=water --out water
      sarhub finetune images/ --boxes annotations.json --model resnet50_ssl4eo.moco --out vehicles
    """
    try:
        from ...engine import finetune, finetune_boxes, finetune_masks
    except ImportError as err:
        raise MissingDependencyError("fine-tuning needs more packages: pip install 'sarhub-models[train]'") from err

    # by the name of the source: releases of typer differ in whose enum it is
    sources = {name: getattr(context.get_parameter_source(name), "name", "") for name in values}
    options = {name: value for name, value in values.items() if sources[name] == "COMMANDLINE"}
    for name in ("bands", "classes"):
        if name in options:
            options[name] = split_bands(options[name])
    options |= {"assignments": assignments or (), "say": console.note if as_json else print}
    if "boxes" in options:
        _check(options, BoxOptions, "boxes")
        _print_trained(finetune_boxes(data, **options), as_json)
    elif "masks" in options or all((data / folder).is_dir() for folder in ("images", "masks")):
        _check(options, MaskOptions, "masks")
        _print_trained(finetune_masks(data, **options), as_json)
    else:
        _check(options, ChipOptions, "whole images")
        _print_finetuned(finetune(data, **options), as_json)


def _check(options: Collection[str], task: type[Options], what: str) -> None:
    """Refuse options that have no meaning for the data."""
    known = {option.name for option in fields(task)}
    if strange := [name for name in options if name not in known]:
        raise OptionError(f"--{strange[0].replace('_', '-')} has no meaning for {what}: leave it out")


def _print_finetuned(done: Finetuned, as_json: bool) -> None:
    """Print the result of a fine-tuning for whole images."""
    if as_json:
        kept = ("weights", "val", "test", "temperature", "calibration_error", "skipped")
        console.print_json({name: getattr(done, name) for name in kept})
        return
    print()
    for name, scores in (("validation", done.val), ("test", done.test)):
        if scores:
            print(f"{name}: " + ", ".join(f"{key.replace('_', ' ')} {value:.4f}" for key, value in scores.items()))
    before, after = done.calibration_error
    print(f"temperature {done.temperature:.3f}: calibration error {before:.3f} before, {after:.3f} after")
    print(f"{done.weights}; next: sarhub predict {done.folder} IMAGES --out predictions.csv")


def _print_trained(done: Trained, as_json: bool) -> None:
    """Print the result of a fine-tuning for masks or boxes."""
    scores = {"val": done.val, "test": done.test, "classes": done.classes}
    if as_json:
        console.print_json({"weights": done.weights, **scores, "skipped": done.skipped})
        return
    print()
    for name, found in (("validation", done.val), ("test", done.test), ("classes", done.classes)):
        if found:
            print(f"{name}: " + ", ".join(f"{key.replace('_', ' ')} {value:.4f}" for key, value in found.items()))
    print(f"{done.weights}; next: sarhub predict {done.folder} IMAGES --out PREDICTIONS")
