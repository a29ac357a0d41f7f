"""The command line ``sarhub``: what can be asked, and which function answers.

Torch, timm and NumPy are imported inside the commands that need them: ``sarhub list`` and ``--help`` need none.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from . import console, describe
from ._version import __version__
from .cli_cache import Json, Name, cache_app, complete_name, on_disk
from .errors import OptionError, SarHubError
from .registry import ModelInfo, list_models, model_info

if TYPE_CHECKING:
    from .weights import Verification

__all__ = ["app", "main"]

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
app.add_typer(cache_app, name="cache")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``sarhub`` with these arguments (by default the process's) and return its exit code."""
    return console.run(app, arguments)


Names = Annotated[
    Optional[list[str]],  # noqa: UP045 (typer evaluates it, also on Python 3.10)
    typer.Argument(metavar="[NAME]...", help="Names of 'sarhub list'.", autocompletion=complete_name),
]
Checkpoint = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="Use this file of weights (.pth or .safetensors) instead of the registered ones."),
]


@app.callback(invoke_without_command=True)
def sarhub(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Pre-trained networks for radar (SAR) images, with the preprocessing they were trained with.

    \b
    First steps:
      sarhub demo                                  see what the features are good for
      sarhub list                                  which networks there are
      sarhub info resnet50_ben                     what one of them is and needs
      sarhub features CHIPS/ --model mobilenetv3_dsn --out features.npz

    \b
    The environment:
      SARHUB_CACHE    folder of the weights        SARHUB_MIRROR   folder or URL to try first
      SARHUB_OFFLINE  1: never use the network     SARHUB_DEBUG    1: show where an error came from
    """
    if version:
        print(f"sarhub-models {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command("list")
def list_command(
    pattern: Annotated[str, typer.Argument(help="Shell-style wildcards; quote them.")] = "*",
    network: Annotated[Optional[str], typer.Option(help="Only this architecture.")] = None,  # noqa: UP045
    dataset: Annotated[Optional[str], typer.Option(help="Only weights trained on this data.")] = None,  # noqa: UP045
    as_json: Json = False,
) -> None:
    """List the models.

    \b
    Examples:
      sarhub list
      sarhub list 'resnet*' --dataset ben
      sarhub list --network swin_t --json
    """
    infos = [model_info(name) for name in list_models(pattern, network=network, dataset=dataset)]
    rows = [(info, _whereabouts(info)) for info in infos]
    if as_json:
        console.print_json([describe.summary(info, here) for info, here in rows])
    elif rows:
        console.print_table(
            ("name", "network", "data", "classes", "params", "here"),
            [
                (
                    info.name,
                    info.network,
                    info.dataset.title,
                    str(info.num_classes or "-"),
                    describe.thousands(info.params),
                    here or "",
                )
                for info, here in rows
            ],
        )
    else:
        console.note(f"no model matches {pattern!r}; 'sarhub list' shows all")


@app.command("info")
def info_command(name: Name, as_json: Json = False) -> None:
    """Show all about one model.

    Data, classes, preprocessing with its numbers, sources, checksum, terms, citation, and how to load it.

    \b
    Examples:
      sarhub info resnet50_ben
      sarhub info swin_t_tsx --json
    """
    info = model_info(name)
    here = _whereabouts(info)
    if as_json:
        console.print_json({**info.to_dict(), "here": here, "licence": describe.licence(info)})
    else:
        console.print_facts(describe.facts(info, here))


@app.command("download")
def download_command(
    names: Names = None,
    everything: Annotated[bool, typer.Option("--all", help="Download every model.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch weights into the cache.

    They are checked, converted to safetensors and ready for use offline. Interrupted downloads go on where they
    stopped. What is here already is not fetched again.

    \b
    Examples:
      sarhub download resnet18_tsx.grsl2020
      sarhub download resnet50_ben resnet50_osu
    """
    if everything == bool(names):
        raise OptionError("give the names of models, or --all")
    infos = [model_info(name) for name in (list_models() if everything else names or [])]
    from .factory import layout_of
    from .weights import Store

    results: list[dict[str, Any]] = []
    for info in infos:
        try:
            path = Store().path(info, layout_of(info), progress=not as_json)
        except SarHubError as err:
            results.append({"name": info.name, "path": None, "bytes": None, "error": str(err)})
            console.note(str(err))
            continue
        results.append({"name": info.name, "path": path, "bytes": path.stat().st_size, "error": None})
        if not as_json:
            print(f"{info.name}  {describe.size(path.stat().st_size)}  {path}")
    if as_json:
        console.print_json(results)
    if any(result["error"] for result in results):
        raise typer.Exit(console.FAILED)


@app.command("verify")
def verify_command(names: Names = None, as_json: Json = False) -> None:
    """Hash the weights on this disk anew.

    The exit code is 1 if a file is not what it was. A damaged file is put aside, so that the next use fetches it again.

    \b
    Examples:
      sarhub verify
      sarhub verify resnet50_ben --json
    """
    from .weights import Store

    found: list[Verification] = []
    wanted: list[str | None] = [*names] if names else [None]
    for name in wanted:
        with on_disk(name):
            found += Store().verify(name)
    if as_json:
        console.print_json([{"name": v.name, "path": v.path, "ok": v.ok, "problem": v.problem} for v in found])
    else:
        for result in found:
            print(f"{result.name}  {'ok' if result.ok else 'DAMAGED'}  {result.problem or result.path}")
        if not found:
            print("no weights are on this disk")
    if not all(result.ok for result in found):
        console.note("some weights are damaged")
        raise typer.Exit(console.FAILED)


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="A released .pth file, or a .safetensors of this package.")],
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The model that it holds; without it, file name and contents decide."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Cache a file of weights that you have.

    It is checked and converted; it stays as it is. For weights that no program may fetch: download them in a browser
    ('sarhub info NAME' shows where), then import.

    \b
    Examples:
      sarhub import ResNet50_BEN.pth
      sarhub import weights.pth --name resnet50_ben
    """
    from .factory import import_checkpoint

    imported = import_checkpoint(file, name)
    if as_json:
        console.print_json({"name": imported.info.name, "path": imported.path, "reasons": imported.reasons})
    else:
        print(f"{file} is {imported.info.name}: {'; '.join(imported.reasons)}")
        print(f"converted to {imported.path}")


class Format(str, Enum):
    """File formats of ``sarhub export``."""

    onnx = "onnx"
    pt2 = "pt2"


@app.command("export")
def export_command(
    name: Name,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The file to write.")],
    format: Annotated[Format, typer.Option(help="onnx, or PyTorch's pt2 (torch.export).")] = Format.onnx,
    checkpoint: Checkpoint = None,
    untrained: Annotated[bool, typer.Option("--untrained", help="Random weights, to try the way out.")] = False,
    num_classes: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, help="Size of the head; 0: features instead of logits. Default: as trained."),
    ] = None,
    in_chans: Annotated[int, typer.Option(min=1, help="Channels of the input.")] = 3,
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
    from .export import export_named

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
    print(f"{export.file}  {export.format}  {describe.size(export.bytes)}  input: batch x {shape}")
    if export.difference is None:
        console.note("not compared with the network: pip install 'sarhub-models[export]' brings onnxruntime")
    else:
        print(f"largest difference from the network: {export.difference:.2g}")


@app.command("publish")
def publish_command(
    name: Name,
    repo: Annotated[str, typer.Option(metavar="ORGANISATION/NAME", help="The repository on the Hugging Face Hub.")],
    checkpoint: Checkpoint = None,
    private: Annotated[bool, typer.Option("--private", help="Create a private repository.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the files to --out and upload nothing.")] = False,
    out: Annotated[Optional[Path], typer.Option(metavar="DIR", help="Folder for --dry-run.")] = None,  # noqa: UP045
    permitted: Annotated[
        bool,
        typer.Option("--i-have-permission", help="You may publish these weights although they have no licence."),
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
    from . import publish

    if out is not None:
        for file in publish.write_repository(name, out, repo, checkpoint=checkpoint, permitted=permitted):
            print(file)
    else:
        print(publish.publish(name, repo, checkpoint=checkpoint, private=private, permitted=permitted))


def _whereabouts(info: ModelInfo) -> str | None:
    """Return where the weights are on this disk: ``"cached"``, ``"bundled"`` or, if nowhere, ``None``."""
    from .weights import Store
    from .weights.sources import source_from

    if Store().cached(info.name) is not None:
        return "cached"
    return "bundled" if any(source_from(entry).in_place() for entry in info.sources) else None
