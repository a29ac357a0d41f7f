"""Write a network for other runtimes: ``sarhub export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ...errors import OptionError
from ...zoo import text
from .. import console
from ..arguments import Checkpoint, FullScale, Json, Preprocessing, Radiometry, Weights


def command(
    name: Weights,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The file to write.")],
    format: Annotated[
        Literal["onnx", "pt2", "safetensors"],
        typer.Option(help="ONNX; PyTorch's own (torch.export); or the weights alone, for create_model."),
    ] = "onnx",
    checkpoint: Checkpoint = None,
    preprocessing: Preprocessing = None,
    untrained: Annotated[bool, typer.Option("--untrained", help="Export random weights, to try the format.")] = False,
    num_classes: Annotated[
        int | None,
        typer.Option(
            min=0, help="0: features instead of logits; another head only with --untrained. Default: as trained."
        ),
    ] = None,
    in_chans: Annotated[
        int | None,
        typer.Option(min=1, help="Channels of the input. Default: those of the weights."),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=1, help="Side of the input in pixels. Default: the one of the preprocessing, or 128."),
    ] = None,
    with_preprocessing: Annotated[
        bool, typer.Option("--with-preprocessing", help="Pixels of any size in, probabilities out.")
    ] = False,
    radiometry: Radiometry = None,
    full_scale: FullScale = None,
    as_json: Json = False,
) -> None:
    """Write a network for other runtimes.

    The size of the batch is dynamic. The file is run and compared with the network before it is put in place (ONNX: if
    onnxruntime is installed). Its input is the output of the preprocessing, which stands in its metadata, key "sarhub":
    create_transform takes the file. With --with-preprocessing the input are pixels as --radiometry and --full-scale say
    (float32, batch x bands x height x width), and the output are the probabilities of the classes.

    \b
    Examples:
      sarhub export mobilenetv3_dsn --out mobilenetv3.onnx
      sarhub export resnet50_ben --format pt2 --out resnet50.pt2 --in-chans 1
      sarhub export outputs/my_run --out mine.onnx --with-preprocessing
      sarhub export mine.pth --preprocessing resnet50_ben --format safetensors --out mine.safetensors
    """
    if untrained and checkpoint is not None:
        raise OptionError("give --checkpoint or --untrained, not both")
    from ...models.export import export_named

    export = export_named(
        name,
        out,
        format=format,
        checkpoint_path=checkpoint,
        preprocessing=preprocessing,
        pretrained=not untrained,
        num_classes=num_classes,
        in_chans=in_chans,
        image_size=image_size,
        with_preprocessing=with_preprocessing,
        radiometry=radiometry,
        full_scale=full_scale,
    )
    if as_json:
        console.print_json(vars(export))
        return
    shape = " x ".join("any" if side is None else str(side) for side in export.input_shape)
    print(f"{export.file}  {export.format}  {text.size(export.bytes)}  input: batch x {shape}")
    if export.difference is None:
        console.note(
            "not compared with the network: onnxruntime is missing; to fix: pip install 'sarhub-models[export]'"
        )
    else:
        print(f"largest difference from ours: {export.difference:.2g}")
