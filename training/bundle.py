"""Put a run's weights into the package: ``python -m training.bundle mobilenetv3_dsn RUN_DIR --command "…"``.

Floating-point tensors are stored in half precision. The manifest entry is written from the run and from the scores
of the stored file, so that the numbers published are those of the weights published.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich import print as show
from safetensors.torch import load_file

from sarhub_models.engine.augment import describe
from sarhub_models.engine.run import Run, load_model, load_run
from sarhub_models.engine.scoring import score
from sarhub_models.engine.splits import open_source
from sarhub_models.errors import CheckpointError, SarHubError
from sarhub_models.weights import write_weights
from sarhub_models.zoo.description import BEST, require_description, to_metadata
from sarhub_models.zoo.manifest import manifest_path

BUNDLED = Path(__file__).resolve().parents[1] / "sarhub_models" / "bundled"
LARGEST = 4_000_000  # bytes; the wheel carries this file
_DATASETS = {
    "dsn": {
        "title": "DSN-SLC patches",
        "sensor": "Sentinel-1 and TerraSAR-X",
        "citation": "dsn2020",
        "license": "apache",
    }
}
_NOTE = "Input: magnitude of single-look complex digital numbers, divided by full_scale."
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    name: Annotated[str, typer.Argument(help="Name of the weights, <network>_<dataset>.")],
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    command: Annotated[str, typer.Option(help="The command that made the run, for the manifest.")],
    manifest: Annotated[Path | None, typer.Option(help="Manifest to update [the clone's].")] = None,
    target: Annotated[
        Path, typer.Option(help="Folder of the bundled files.", show_default="that of the package")
    ] = BUNDLED,
    assignments: Annotated[list[str] | None, typer.Argument(help="data.root=DIR where the data have moved.")] = None,
) -> None:
    """Store a run's weights in half precision, score them on val and test, and enter them in the manifest."""
    try:
        run = load_run(folder, assignments or [])
        file = write_half(folder / BEST, target / f"{name}.safetensors", name=name)
        scores = _scores(run, file)
        update_manifest(manifest or manifest_path(), name, run, file, scores, command)
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None
    show(f"{file}: {file.stat().st_size} bytes, {scores}")


def write_half(source: Path, target: Path, *, name: str) -> Path:
    """Write a safetensors file with its floating-point tensors in half precision, and what it says of itself.

    Args:
        source: the weights of a run.
        target: the file to write.
        name: name of the weights from now on.

    Raises:
        CheckpointError: a value is out of half precision's range, or the file is larger than the package may carry.
    """
    tensors = {key: t.half() if t.is_floating_point() else t for key, t in load_file(source).items()}
    if wrong := [key for key, t in tensors.items() if t.is_floating_point() and not t.isfinite().all()]:
        raise CheckpointError(f"{source}: {', '.join(wrong[:3])} cannot be stored in half precision")
    write_weights(tensors, target, info=to_metadata(dataclasses.replace(require_description(source), name=name)))
    if target.stat().st_size > LARGEST:
        raise CheckpointError(
            f"{target} has {target.stat().st_size} bytes, more than the {LARGEST} the package may carry"
        )
    return target


def _scores(run: Run, file: Path) -> dict[str, dict[str, float]]:
    """Return the scores of the stored file on the validation split, unless it was trained on, and on the test split."""
    recipe, classes = run.recipe, len(run.class_names)
    model = load_model(file, recipe.model.network, classes, recipe.preprocess.size)
    scores = {}
    trained_on = recipe.data.train.split("+")
    for split in (name for name in ("val", "test") if name not in trained_on):
        loader = open_source(recipe.data, split).evaluation(recipe.evaluation.batch_size)
        values, _ = score(model, loader, run.transform(), classes, run.multilabel)
        scores[split] = {key: round(value, 4) for key, value in values.items()}
    return scores


def update_manifest(
    path: Path, name: str, run: Run, file: Path, scores: dict[str, dict[str, float]], command: str
) -> None:
    """Enter the weights and their data set in a manifest, in place of what it held under these names."""
    manifest = json.loads(path.read_text(encoding="utf-8"))
    recipe, about = run.recipe, _DATASETS[run.recipe.data.name]
    manifest["datasets"][recipe.data.name] = {
        "title": about["title"],
        "sensor": about["sensor"],
        "num_classes": len(run.class_names),
        "class_names": list(run.class_names),
        "multilabel": False,
        "preprocessing": {
            **describe(recipe.preprocess, run.mean, run.std, full_scale=recipe.data.full_scale),
            "note": _NOTE,
        },
        "input": {"bands": ["single"], "radiometry": "amplitude", "range": [0, 1], "channels": 3},
    }
    tensors = load_file(file)
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    manifest["models"][name] = {
        "network": recipe.model.network,
        "dataset": recipe.data.name,
        "sources": [{"type": "bundled", "file": file.name}],
        "checksum": {"algorithm": "sha256", "value": hashlib.sha256(file.read_bytes()).hexdigest()},
        "citation": about["citation"],
        "license": about["license"],
        "params": sum(tensor.numel() for key, tensor in tensors.items() if not key.endswith(buffers)),
        "training": {
            "command": command,
            "data": f"DSN-SLC, {recipe.data.train} of {' and '.join(recipe.data.options['parts'])}",
            "seed": recipe.runtime.seed,
            "epochs": recipe.optim.epochs,
            "torch": torch.__version__.partition("+")[0],
            **scores,
        },
    }
    path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app()
