"""Put a run's weights into the package: ``python -m training.bundle mobilenetv3_dsn RUN_DIR --command "…"``.

Floating-point tensors are stored in half precision. The manifest entry is written from the run and from the scores
of the stored file, so that the numbers published are those of the weights published.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import print as show
from safetensors.torch import load_file
from torch import Tensor

from sarhub_models.engine.augment import describe
from sarhub_models.engine.run import Run, load_model, load_run
from sarhub_models.engine.scoring import score
from sarhub_models.engine.splits import open_source
from sarhub_models.errors import CheckpointError, DataError, SarHubError
from sarhub_models.io.files import write_text
from sarhub_models.io.tables import read_table
from sarhub_models.networks import spec
from sarhub_models.weights import write_weights
from sarhub_models.zoo.description import BEST, require_description, to_metadata
from sarhub_models.zoo.manifest import manifest_path
from training.recipes import RECIPES

BUNDLED = Path(__file__).resolve().parents[1] / "sarhub_models" / "bundled"
LARGEST = 7_000_000  # bytes; the wheel carries this file
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class _About:
    """Facts of its data that a run does not know.

    Attributes:
        title: of the data set.
        sensor: that took it.
        citation: key of the manifest.
        license: key of the manifest.
        data: what was trained on; by default the parts of the data set.
        note: on the input.
        keep_head: the classes are worth keeping; else the weights give features.
        method: how it was pre-trained.
    """

    title: str
    sensor: str
    citation: str
    license: str
    data: str = ""
    note: str = ""
    keep_head: bool = True
    method: str = "supervised"


_DATASETS = {
    "dsn": _About(
        title="DSN-SLC patches",
        sensor="Sentinel-1 and TerraSAR-X",
        citation="dsn2020",
        license="apache",
        note="Input: magnitude of single-look complex digital numbers, divided by full_scale.",
    ),
    "sar": _About(
        title="Five sources of chips and simulated vehicles",
        sensor="Sentinel-1, TerraSAR-X, RadarSat-2, Gaofen-3; simulated X band",
        citation="sar_sources",
        license="sar-sources",
        data="DSN-SLC train (s1, tsx, opensarship), SAR-ACD train, SSDD train (chips of 128 pixels), tiles of "
        "Sentinel-1 GRD without labels, simulated vehicles",
        note="Input: amplitude in [0, 1]; integers are divided by the largest value of their dtype, other values need "
        "full_scale.",
        keep_head=False,
        method="supervised-simclr",
    ),
}
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
    transfer: Annotated[
        Path | None, typer.Option(help="Table of benchmarks.transfer with rows of these weights, for the manifest.")
    ] = None,
    assignments: Annotated[list[str] | None, typer.Argument(help="data.root=DIR where the data have moved.")] = None,
) -> None:
    """Store a run's weights in half precision, score them on val and test, and enter them in the manifest."""
    try:
        run = load_run(folder, assignments or [])
        about = _DATASETS[run.recipe.data.name]
        head = spec(run.recipe.model.network).head if not about.keep_head else None
        file = write_half(folder / BEST, target / f"{name}.safetensors", name=name, without=head)
        scores: dict[str, Any] = _scores(run, file) if about.keep_head else {}
        scores |= _transferred(transfer, folder.name) if transfer is not None else {}
        update_manifest(manifest or manifest_path(), name, run, file, scores, command)
    except SarHubError as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from None
    show(f"{file}: {file.stat().st_size} bytes, {scores}")


def write_half(source: Path, target: Path, *, name: str, without: str | None = None) -> Path:
    """Write a safetensors file with its floating-point tensors in half precision, and what it says of itself.

    Args:
        source: the weights of a run.
        target: the file to write.
        name: name of the weights from now on.
        without: name of the head, to be left out.

    Raises:
        CheckpointError: a value is out of half precision's range, or the file is larger than the package may carry.
    """
    tensors = {key: t.half() if t.is_floating_point() else t for key, t in load_file(source).items()}
    if wrong := [key for key, t in tensors.items() if t.is_floating_point() and not t.isfinite().all()]:
        raise CheckpointError(f"{source}: {', '.join(wrong[:3])} cannot be stored in half precision")
    info = dataclasses.replace(require_description(source), name=name)
    if without is not None:
        tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(f"{without}.")}
        dataset = dataclasses.replace(info.dataset, num_classes=0, class_names=None)
        info = dataclasses.replace(info, dataset=dataset, num_classes=0, class_names=None, params=_params(tensors))
    write_weights(tensors, target, info=to_metadata(info))
    if target.stat().st_size > LARGEST:
        raise CheckpointError(
            f"{target} has {target.stat().st_size} bytes, more than the {LARGEST} the package may carry"
        )
    return target


def _params(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for key, tensor in tensors.items() if not key.endswith(_BUFFERS))


def _transferred(table: Path, weights: str) -> dict[str, Any]:
    """Return the scores of weights on other tasks, by task."""
    rows = read_table(table, text=("weights", "start", "task", "digest"))
    own = [row for row in rows if (row["weights"], row["start"]) == (weights, "sar")]
    if not own:
        raise DataError(f"{table} has no row of {weights}: python -m benchmarks.transfer --weights {weights}")
    return {"transfer": {row["task"]: {name: row[name] for name in ("knn", "probe", "few")} for row in own}}


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


def _source(name: str, dataset: str) -> str:
    """Return the recipe that says the preprocessing: that of the data set, where it has one of its own."""
    shared = Path("data", f"{dataset}.yaml")
    return (Path("training/recipes") / (shared if (RECIPES / shared).is_file() else f"{name}.yaml")).as_posix()


def update_manifest(path: Path, name: str, run: Run, file: Path, scores: Mapping[str, Any], command: str) -> None:
    """Enter the weights and their data set in a manifest, in place of what it held under these names."""
    manifest = json.loads(path.read_text(encoding="utf-8"))
    recipe, about = run.recipe, _DATASETS[run.recipe.data.name]
    manifest["datasets"][recipe.data.name] = {
        "title": about.title,
        "sensor": about.sensor,
        "num_classes": len(run.class_names) if about.keep_head else 0,
        "class_names": list(run.class_names) if about.keep_head else None,
        "multilabel": False,
        "preprocessing": {
            **describe(recipe.preprocess, run.mean, run.std, full_scale=recipe.data.full_scale),
            "source": _source(name, recipe.data.name),
            "vouched_by": "authors",
            "note": about.note,
        },
        "input": {"bands": ["single"], "radiometry": "amplitude", "range": [0, 1], "channels": 3},
    }
    manifest["models"][name] = {
        "network": recipe.model.network,
        "dataset": recipe.data.name,
        "sources": [{"type": "bundled", "file": file.name}],
        "checksum": {"algorithm": "sha256", "value": hashlib.sha256(file.read_bytes()).hexdigest()},
        "citation": about.citation,
        "license": about.license,
        "code_license": "Apache-2.0 (this project).",
        "params": _params(load_file(file)),
        **({} if about.method == "supervised" else {"method": about.method}),
        "training": {
            "command": command,
            "data": about.data or f"DSN-SLC, {recipe.data.train} of {' and '.join(recipe.data.options['parts'])}",
            "seed": recipe.runtime.seed,
            "epochs": recipe.optim.epochs,
            **({"torch": run.torch} if run.torch else {}),
            **scores,
        },
    }
    write_text(path, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    app()
