"""``sarhub explain``: what a network looks at in a folder of chips."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ..errors import OptionError
from ..zoo.manifest import list_models, model_info
from . import console
from .arguments import Json, complete_name, usable_device

if TYPE_CHECKING:
    from torch import nn

    from ..explain import Chips, KnowledgePoints, Regions
    from ..transforms import SarTransform

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def explain() -> None:
    """Show and measure what a network looks at.

    \b
    Examples:
      sarhub explain kp --model mobilenetv3_dsn --images chips/ --out kp/ --full-scale 65535
      sarhub explain cam --model mobilenetv3_dsn --images chips/ --out cam/ --full-scale 65535
      sarhub explain compare kp_none/ kp_sar/ --out compared/
    """


class Estimator(str, Enum):
    """How the noise that a patch bears is found."""

    direct = "direct"
    unet = "unet"


class Method(str, Enum):
    """Kinds of class-activation maps."""

    gradcam = "gradcam"
    gradcampp = "gradcam++"
    hirescam = "hirescam"
    layercam = "layercam"
    xgradcam = "xgradcam"
    eigencam = "eigencam"


class Table(str, Enum):
    """Formats of tables."""

    csv = "csv"
    parquet = "parquet"


class Picture(str, Enum):
    """Formats of pictures."""

    png = "png"
    pdf = "pdf"


class Palette(str, Enum):
    """Colours of pictures."""

    default = "default"
    colourblind = "colourblind"


Model = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="A name of 'sarhub list', or a checkpoint (.safetensors, .pth) of one of its networks.",
        autocompletion=complete_name,
    ),
]
Preprocessing = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="NAME", help="The model whose preprocessing a checkpoint needs.", autocompletion=complete_name
    ),
]
Images = Annotated[Path, typer.Option(metavar="DIR", help="Folder of chips; its subfolders are read, too.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder for tables, maps and pictures.")]
Label = Annotated[Optional[str], typer.Option(help="What the network is called in them. Default: --model.")]  # noqa: UP045
Layer = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="NAME", help="The layer to look at. Default: the last stage of the network."),
]
Patch = Annotated[int, typer.Option(min=1, help="Side of a patch in pixels of the network's input.")]
Masks = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        metavar="DIR",
        help="Masks of your own, an image of 0 (background), 1 (target), 2 (shadow) for each chip, named like it. "
        "Default: SAR-HUB's rules.",
    ),
]
FullScale = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(help="Amplitude that becomes 1. Default: the maximum of integer types; floats are in [0, 1]."),
]
Band = Annotated[Optional[int], typer.Option(min=1, help="Band to read, counted from 1.")]  # noqa: UP045
Limit = Annotated[Optional[int], typer.Option(min=1, help="Take the first so many chips only.")]  # noqa: UP045
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps …; auto: a GPU if there is one.")]
Seed = Annotated[int, typer.Option(min=0, help="Of all that is drawn at random.")]


@app.command("kp")
def points_command(
    model: Model,
    images: Images,
    out: Out,
    preprocessing: Preprocessing = None,
    label: Label = None,
    layer: Layer = None,
    patch: Patch = 8,
    masks: Masks = None,
    estimator: Annotated[
        Estimator, typer.Option(help="direct: chip by chip; unet: a U-Net that is trained on these chips.")
    ] = Estimator.direct,
    unet: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="FILE",
            help="U-Net of --estimator unet: read if it is there, with the settings it was trained with; else written.",
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the direct estimator.")] = 150,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the U-Net.")] = 500,
    alpha: Annotated[float, typer.Option(help="Weight of the entropy in the loss.")] = 0.25,
    draws: Annotated[int, typer.Option(min=1, help="Draws of noise whose mean disturbs a chip.")] = 15,
    exact: Annotated[bool, typer.Option("--exact", help="Draw so often, instead of once with less noise.")] = False,
    b: Annotated[
        Optional[list[float]],  # noqa: UP045
        typer.Option("--b", help="Threshold of knowledge points; may be repeated. Default: 0.25 0.3 0.4 0.5."),
    ] = None,
    full_scale: FullScale = None,
    band: Band = None,
    limit: Limit = None,
    table: Annotated[Table, typer.Option(help="Format of the tables.")] = Table.csv,
    pictures: Annotated[Picture, typer.Option(help="Format of the pictures.")] = Picture.png,
    palette: Annotated[Palette, typer.Option(help="Colours of the pictures.")] = Palette.default,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Find knowledge points.

    Patches where a network notices noise earlier than in the background, at several thresholds; and how many of them
    lie on the target and its shadow. Writes measures, summary, and for each chip maps (.npz) and a picture.

    \b
    Examples:
      sarhub explain kp --model mobilenetv3_dsn --images chips/ --out kp/ --full-scale 65535
      sarhub explain kp --model best.safetensors --preprocessing mobilenetv3_dsn --images chips/ --out kp/
    """
    if unet is not None and estimator is not Estimator.unet:
        raise OptionError("--unet is the file of --estimator unet: give both")
    network, transform = _network(model, preprocessing)
    chips = _chips(images, transform, full_scale, band, limit)
    from ..explain import THRESHOLDS, Amortised, Direct

    options: dict[str, Any] = {
        "layer": layer,
        "patch": patch,
        "mean": transform.mean,
        "std": transform.std,
        "alpha": alpha,
    }
    options |= {"draws": draws, "exact": exact, "seed": seed, "progress": not as_json}
    options["estimator"] = Direct(steps=steps) if estimator is Estimator.direct else Amortised(epochs=epochs)
    points = _explainer(network.to(usable_device(device)), chips, unet, options)
    summary = _write_points(
        *(out, label or model, chips, points, masks, tuple(b or THRESHOLDS)),
        {"table": table.value, "pictures": pictures.value, "palette": palette.value, "seed": seed},
    )
    _report(out, len(chips), summary, as_json)


def _explainer(network: nn.Module, chips: Chips, unet: Path | None, options: dict[str, Any]) -> KnowledgePoints:
    """Return what finds the points: with a U-Net from a file, with one trained on these chips, or without."""
    from ..explain import Direct, KnowledgePoints

    if unet is not None and unet.exists():
        return KnowledgePoints.load(unet, network, progress=options["progress"])
    points = KnowledgePoints(network, **options)
    if not isinstance(points.estimator, Direct):
        points.fit(chips.values, chips.names)
        if unet is not None:
            points.save(unet)
    return points


def _write_points(
    out: Path,
    label: str,
    chips: Chips,
    points: KnowledgePoints,
    masks: Path | None,
    thresholds: tuple[float, ...],
    options: dict[str, Any],
) -> list[dict[str, Any]]:
    from ..explain.results import Found, write_folder

    regions = _regions(chips, masks, points.problem.patch)
    explanation = points.explain(chips.values, chips.names)
    found = Found.of_points(
        label, chips.names, chips.amplitude, regions, explanation, thresholds, settings=points.settings()
    )
    return write_folder(out, found, **options)


@app.command("cam")
def cam_command(
    model: Model,
    images: Images,
    out: Out,
    preprocessing: Preprocessing = None,
    label: Label = None,
    method: Annotated[Method, typer.Option(help="Grad-CAM or one of its kin.")] = Method.gradcam,
    layer: Layer = None,
    class_index: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--class", min=0, help="The class to look for. Default: the one that the network gives each chip."
        ),
    ] = None,
    patch: Patch = 8,
    masks: Masks = None,
    full_scale: FullScale = None,
    band: Band = None,
    limit: Limit = None,
    table: Annotated[Table, typer.Option(help="Format of the tables.")] = Table.csv,
    pictures: Annotated[Picture, typer.Option(help="Format of the pictures.")] = Picture.png,
    palette: Annotated[Palette, typer.Option(help="Colours of the pictures.")] = Palette.default,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw class-activation maps.

    Where the evidence for a class lies, and how much of it on the target and its shadow. Needs a classifier.

    \b
    Examples:
      sarhub explain cam --model mobilenetv3_dsn --images chips/ --out cam/ --full-scale 65535
      sarhub explain cam --model mobilenetv3_dsn --images chips/ --out cam/ --method layercam --class 3
    """
    network, transform = _network(model, preprocessing)
    chips = _chips(images, transform, full_scale, band, limit)
    from ..explain import class_activation_maps
    from ..explain.results import Found, write_folder

    regions = _regions(chips, masks, patch)
    maps = class_activation_maps(
        network.to(usable_device(device)),
        chips.values,
        method=method.value,
        layer=layer,
        classes=None if class_index is None else [class_index] * len(chips),
        mean=transform.mean,
        std=transform.std,
        names=chips.names,
        progress=not as_json,
    )
    settings = {"model": model, "method": method.value, "layer": layer, "class": class_index}
    found = Found(label or model, method.value, chips.names, chips.amplitude, regions, maps, settings=settings)
    summary = write_folder(out, found, table=table.value, pictures=pictures.value, palette=palette.value)
    _report(out, len(chips), summary, as_json)


@app.command("compare")
def compare_command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Two or more folders of 'kp' or of 'cam'.")],
    out: Out,
    b: Annotated[Optional[float], typer.Option("--b", help="Threshold of the grid. Default: the first.")] = None,  # noqa: UP045
    most: Annotated[int, typer.Option(min=1, help="Chips in the grid.")] = 8,
    table: Annotated[Table, typer.Option(help="Format of the tables.")] = Table.csv,
    pictures: Annotated[Picture, typer.Option(help="Format of the pictures.")] = Picture.png,
    palette: Annotated[Palette, typer.Option(help="Colours of the pictures.")] = Palette.default,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compare networks on the same chips.

    The difference of each network's shares from the first one's, with bootstrap intervals over chips, how far their
    maps agree, and chips side by side.

    \b
    Examples:
      sarhub explain compare kp_none/ kp_sar/ --out compared/
    """
    from ..explain.results import compare, read_folder

    rows = compare(
        [read_folder(folder) for folder in folders],
        out,
        table=table.value,
        pictures=pictures.value,
        palette=palette.value,
        threshold=b,
        most=most,
        seed=seed,
    )
    if as_json:
        console.print_json({"folder": out, "comparison": rows})
        return
    console.print_table(
        ("network", "against", "map", "measure", "mean", "95 % interval"),
        [(row["network"], row["against"], _map_name(row), row["measure"], *_numbers(row)) for row in rows],
    )
    print(f"\n{out}")


def _network(model: str, preprocessing: str | None) -> tuple[nn.Module, SarTransform]:
    """Return the network of a name or of a checkpoint, and its preprocessing."""
    from ..models.create import create_model, create_transform

    file = Path(model).expanduser()
    if not file.is_file() and file.suffix not in (".safetensors", ".pth", ".pt"):
        if preprocessing is not None:
            raise OptionError(f"--preprocessing is for checkpoints: {model} has its own")
        return create_model(model, pretrained=True), _one_band(create_transform(model), model)
    from ..networks import identify
    from ..weights import read_tensors

    architecture = identify(read_tensors(file))
    if preprocessing is None:
        raise OptionError(
            f"{file} is a {architecture}, but does not tell the preprocessing it was trained with: "
            "give --preprocessing NAME, a name of 'sarhub list'"
        )
    info = model_info(preprocessing)
    name = info.name if info.network == architecture else list_models(network=architecture)[0]
    return create_model(name, checkpoint_path=file), _one_band(create_transform(preprocessing), preprocessing)


def _one_band(transform: nn.Module, name: str) -> SarTransform:
    from ..transforms import SarTransform

    if not isinstance(transform, SarTransform):
        raise OptionError(f"chips of one band are explained, and {name} takes several bands: see 'sarhub info {name}'")
    return transform


def _chips(
    folder: Path, transform: SarTransform, full_scale: float | None, band: int | None, limit: int | None
) -> Chips:
    from ..explain import read_chips
    from ..io.images import list_images

    files = list_images(folder)[:limit]
    names = [file.relative_to(folder).as_posix() for file in files]
    return read_chips(files, transform, names=names, full_scale=full_scale, band=band)


def _regions(chips: Chips, masks: Path | None, patch: int) -> Regions:
    """Return the regions that masks say, or else SAR-HUB's rules."""
    from ..explain import find_regions, read_regions

    if masks is None:
        return find_regions(chips.values.numpy(), patch)
    return read_regions(masks, chips.names, (chips.values.shape[-2], chips.values.shape[-1]), patch)


def _report(out: Path, chips: int, summary: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        console.print_json({"folder": out, "chips": chips, "summary": summary})
        return
    console.print_table(
        ("map", "measure", "mean", "95 % interval", "chips"),
        [(_map_name(row), row["measure"], *_numbers(row), str(row["chips"])) for row in summary],
    )
    print(f"\n{out}: {chips} chips")


def _map_name(row: dict[str, Any]) -> str:
    return row["map"] if row["map"] != "kp" else f"kp, b = {row['b']:g}"


def _numbers(row: dict[str, Any]) -> tuple[str, str]:
    return f"{row['mean']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}"
