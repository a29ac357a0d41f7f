"""``sarhub features | export | publish | demo | compare``: what models are used for."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from ..errors import DownloadError, ImageError, OptionError
from ..zoo import text
from ..zoo.manifest import load_manifest
from . import console
from .arguments import Checkpoint, Json, Name, Names, complete_name, usable_device

__all__ = ["COMMANDS"]


class UnitName(str, Enum):
    """Units of images."""

    amplitude = "amplitude"
    intensity = "intensity"
    db = "db"
    dn = "dn"


Unit = Annotated[
    Optional[UnitName],  # noqa: UP045
    typer.Option(help="What the images hold; it is converted. Default: what the weights expect."),
]


class OnError(str, Enum):
    """What a bad image does to ``sarhub features``."""

    stop = "stop"
    skip = "skip"


def features_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images; its subfolders are read, too.")],
    model: Annotated[str, typer.Option(metavar="NAME", help="A name of 'sarhub list'.", autocompletion=complete_name)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write, .safetensors or .parquet.")],
    checkpoint: Checkpoint = None,
    full_scale: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Amplitude that becomes 1. Default: the maximum of integer types; floats are in [0, 1]."),
    ] = None,
    unit: Unit = None,
    band: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option(min=1, help="Band to read, counted from 1; several times for weights of several bands, in order."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images that go through the network at once.")] = 64,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images; 0: none but this one.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps …; auto: a GPU if there is one.")] = "auto",
    on_error: Annotated[OnError, typer.Option(help="At a bad image: stop, or skip it and go on.")] = OnError.stop,
    as_json: Json = False,
) -> None:
    """Compute the features of a folder of images.

    One row an image, named by its path in the folder. A run that was interrupted goes on where it stopped when it is
    started again. Reads .npy, .npz, GeoTIFF, PNG and JPEG.

    \b
    Examples:
      sarhub features chips/ --model mobilenetv3_dsn --out features.safetensors --full-scale 65535
      sarhub features tiles/ --model resnet50_ben --out features.parquet --band 1 --on-error skip
      sarhub features tiles/ --model resnet50_ssl4eo.moco --out features.safetensors --unit intensity
    """
    from ..features.extract import extract_features
    from ..io.images import list_images
    from ..models.create import create_model, create_transform

    files = list_images(folder)
    network = create_model(model, pretrained=True, checkpoint_path=checkpoint)
    transform = create_transform(model, unit=unit and unit.value, full_scale=full_scale)
    hint = _full_scale_hint(model) if full_scale is None else None
    try:
        features = extract_features(
            network,
            transform,
            files,
            out=out,
            names=[file.relative_to(folder).as_posix() for file in files],
            full_scale=full_scale if transform.takes_amplitude else None,
            band=band[0] if band and len(band) == 1 else band,
            batch_size=batch_size,
            workers=workers,
            device=usable_device(device),
            on_error=on_error.value,
            progress=not as_json,
        )
    except ImageError as err:
        advice = "; ".join(filter(None, ["--on-error skip leaves bad images out", hint]))
        raise ImageError(f"{err}. On the command line, {advice}") from err
    rows, columns = features.values.shape
    if as_json:
        console.print_json({"file": out, "images": rows, "features": columns, "skipped": features.skipped})
        return
    for name, reason in features.skipped.items():
        console.note(f"skipped {name}: {reason}")
    if features.skipped and hint is not None:
        console.note(hint)
    print(f"{out}: {rows} images, {columns} features each")


def _full_scale_hint(model: str) -> str:
    """Say how the command line is told what amplitude is in the images, and what these weights were trained with."""
    hint = "--full-scale NUMBER gives the amplitude that becomes 1"
    info = load_manifest().models.get(model)  # a published model is not in it
    full_scale = getattr(info.preprocessing, "full_scale", None) if info is not None else None
    if full_scale is None:
        return hint
    known = f"{full_scale:.10g}"
    return f"{hint}; these weights were trained with amplitude / {known}: try --full-scale {known}"


class Format(str, Enum):
    """File formats of ``sarhub export``."""

    onnx = "onnx"
    pt2 = "pt2"


def export_command(
    name: Name,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The file to write.")],
    format: Annotated[Format, typer.Option(help="onnx, or PyTorch's pt2 (torch.export).")] = Format.onnx,
    checkpoint: Checkpoint = None,
    untrained: Annotated[bool, typer.Option("--untrained", help="Random weights, to try the way out.")] = False,
    num_classes: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=0, help="0: features instead of logits; another head only with --untrained. Default: as trained."
        ),
    ] = None,
    in_chans: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Channels of the input. Default: those of the weights."),
    ] = None,
    image_size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Side of the input in pixels. Default: the one of the preprocessing, or 128."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a network for other runtimes.

    One file, in which the size of the batch stays free. It is run and compared with the network before it appears
    (ONNX: where onnxruntime is installed). It takes prepared chips; the preprocessing is written into its metadata, key
    "sarhub".

    \b
    Examples:
      sarhub export mobilenetv3_dsn --out mobilenetv3.onnx
      sarhub export resnet50_ben --format pt2 --out resnet50.pt2 --in-chans 1
    """
    if untrained and checkpoint is not None:
        raise OptionError("give --checkpoint or --untrained, not both")
    from ..models.export import export_named

    export = export_named(
        name,
        out,
        format=format.value,
        checkpoint=checkpoint,
        pretrained=not untrained,
        num_classes=num_classes,
        in_chans=in_chans,
        image_size=image_size,
    )
    if as_json:
        console.print_json(vars(export))
        return
    shape = " x ".join(map(str, export.input_shape))
    print(f"{export.file}  {export.format}  {text.size(export.bytes)}  input: batch x {shape}")
    if export.difference is None:
        console.note("not compared with the network: pip install 'sarhub-models[export]' brings onnxruntime")
    else:
        print(f"largest difference from the network: {export.difference:.2g}")


def publish_command(
    name: Name,
    repo: Annotated[str, typer.Option(metavar="ORGANISATION/NAME", help="The repository on the Hugging Face Hub.")],
    checkpoint: Checkpoint = None,
    private: Annotated[bool, typer.Option("--private", help="Create a private repository.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the files to --out and upload nothing.")] = False,
    out: Annotated[Optional[Path], typer.Option(metavar="DIR", help="Folder for --dry-run.")] = None,  # noqa: UP045
    permitted: Annotated[
        bool,
        typer.Option("--i-have-permission", help="You may publish these weights although they have no license."),
    ] = False,
) -> None:
    """Put a model on the Hugging Face Hub.

    Weights, configuration and a model card, in timm's format. Whoever has sarhub_models loads it, preprocessing
    included, with create_model("hf-hub:ORGANISATION/NAME"). Log in first with 'hf auth login' or set HF_TOKEN.

    \b
    Examples:
      sarhub publish mobilenetv3_dsn --repo me/mobilenetv3_dsn --dry-run --out card/
      sarhub publish mobilenetv3_dsn --repo me/mobilenetv3_dsn --private
    """
    if dry_run != (out is not None):
        raise OptionError("--dry-run and --out belong together: give both or neither")
    from ..models import publish

    if out is not None:
        for file in publish.write_repository(name, out, repo, checkpoint=checkpoint, permitted=permitted):
            print(file)
    else:
        print(publish.publish(name, repo, checkpoint=checkpoint, private=private, permitted=permitted))


def demo_command(
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="DIR", help="Folder with packed DSN-SLC patches: s1.npz, opensarship.npz."),
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Simulated chips: fetch no real ones.")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the pictures.")] = Path("sarhub-demo"),
    model: Annotated[
        str, typer.Option(metavar="NAME", help="A name of 'sarhub list'.", autocompletion=complete_name)
    ] = "mobilenetv3_dsn",
    checkpoint: Checkpoint = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn at random.")] = 0,
    as_json: Json = False,
) -> None:
    """Show what the features are good for.

    Radar chips are classified from 1, 5 and 20 labels a class, with the features of a pre-trained network and with
    those of the same network untrained. Prints a table and draws two pictures; takes a minute or two on two cores.

    Without --data the chips are the DSN-SLC patches (public, MIT license), which are fetched once into the cache;
    where they cannot be fetched, simulated ones.

    \b
    Examples:
      sarhub demo
      sarhub demo --simulate --out pictures/
      sarhub demo --data dsn/ --model resnet50_tsx
    """
    if simulate and data is not None:
        raise OptionError("give --data or --simulate, not both")
    from ..features import demo

    if data is None and not simulate:
        try:
            data = demo.fetch_data()
        except DownloadError as err:
            console.note(f"no real chips, so these are simulated: {err}")
    result = demo.run_demo(out, data=data, model=model, checkpoint=checkpoint, seed=seed)
    rows = demo.summary(result)
    if as_json:
        console.print_json({"data": result.tasks, "accuracy": rows, "files": result.files})
        return
    for title, origin in result.tasks.items():
        print(f"{title}: {origin}")
    print(f"\nBalanced accuracy of a linear classifier on features of {result.model}, mean and sd of the draws:\n")
    console.print_table(
        ("task", "network", "labels per class", "accuracy"),
        [
            (row["task"], row["network"], str(row["labels_per_class"]), f"{row['accuracy']:.3f} +- {row['sd']:.3f}")
            for row in rows
        ],
    )
    print("\nPictures:", *result.files)


def compare_command(
    models: Names = None,
    images: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of images, or packed DSN-SLC patches (folder or one file).")
    ] = ...,  # type: ignore[assignment]
    labels: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="CSV: image,label or image,label,split with split train or test."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the picture and the numbers.")] = Path(
        "sarhub-compare"
    ),
    bands: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Polarisations in the images, in their order: VV,VH."),
    ] = None,
    unit: Unit = None,
    full_scale: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Digital number that stands for amplitude 1."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images that go through a network at once.")] = 64,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images; 0: none but this one.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps …; auto: a GPU if there is one.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of the untrained twins and the folds.")] = 0,
    as_json: Json = False,
) -> None:
    """Compare backbones on the same chips.

    Every network computes features of the chips, and so does its untrained twin, the control. With labels: accuracy of
    nearest neighbours and of a linear probe. Always: similarity of the features (CKA) and a map of the chips. Prints a
    table; writes a picture and the numbers. Without NAMEs, all weights that are on this disk.

    \b
    Examples:
      sarhub compare mobilenetv3_dsn resnet50_ben --images chips/ --labels labels.csv --unit dn --full-scale 65535
      sarhub compare --images dsn/s1.npz
      sarhub compare resnet50_ssl4eo.moco resnet50_ben --images tiles/ --bands VV,VH --unit db
    """
    from ..features.compare import TWIN, compare, open_chips, weights_here

    with open_chips(images, labels) as chips:
        result = compare(
            chips,
            models or weights_here(),
            out,
            bands=bands.split(",") if bands is not None else None,
            unit=unit and unit.value,
            full_scale=full_scale,
            batch_size=batch_size,
            workers=workers,
            device=usable_device(device),
            seed=seed,
            progress=not as_json,
        )
    if as_json:
        console.print_json({**result.to_dict(), "files": result.files})
        return
    for name, reason in result.skipped.items():
        console.note(f"skipped {name}: {reason}")
    print(f"{result.images} chips, {len(result.classes)} classes, {result.protocol}\n")
    header = ("network", "features", "nearest neighbours", "balanced", "linear probe", "balanced", "CKA with its twin")
    rows = []
    for row, name in enumerate(result.networks):
        scores = [f"{value:.3f}" for value in vars(result.scores[name]).values()] if result.scores else ["-"] * 4
        twin = "" if name.endswith(TWIN) else f"{result.similarity[row, row + 1]:.2f}"
        rows.append((name, str(result.dimensions[name]), *scores, twin))
    console.print_table(header, rows)
    print("\nWritten:", *result.files)


COMMANDS: dict[str, Callable[..., None]] = {
    "features": features_command,
    "export": export_command,
    "publish": publish_command,
    "demo": demo_command,
    "compare": compare_command,
}
