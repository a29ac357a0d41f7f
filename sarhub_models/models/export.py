"""A network as one file that describes itself: ONNX, PyTorch's own ``.pt2`` (torch.export), or its weights."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import networks
from ..errors import ExportError, MissingDependencyError, OptionError, SarHubError
from ..io.files import replacing
from ..transforms import Pipeline
from ..weights import write_weights
from ..weights.checkpoint import EXPORTED
from ..zoo.description import to_metadata
from ..zoo.entries import Input, ModelInfo, Preprocessing
from .choice import choose, image_values
from .create import build_model, create_model, input_channels, select_channels
from .loading import load_tensors
from .whole import SCORES, Whole, check_whole, made_up_pixels, scores

__all__ = [
    "FORMATS",
    "Export",
    "describe_head",
    "export_model",
    "export_named",
    "export_whole",
    "load_exported",
]

FORMATS = tuple(suffix[1:] for suffix in EXPORTED)
_WEIGHTS = "safetensors"
_INPUT, _OUTPUT = "image", "logits"
_LARGEST = 8192  # pixels a side of an image whose preprocessing is in the file
_TOLERANCE = 1e-3  # relative to the largest logit: what reordered float32 sums leave behind in a hundred layers
_ONNX_TORCH = "2.6"  # from here on torch.onnx.export documents its exporter through torch.export, with dynamic_shapes

Run = Callable[[torch.Tensor], torch.Tensor]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Export:
    """A network that was written to a file.

    Attributes:
        file: the file.
        format: ``"onnx"``, ``"pt2"`` or ``"safetensors"``.
        bytes: its size.
        input_shape: (channels, height, width) that it takes; the batch is free, and ``None`` is any size.
        difference: largest absolute difference between its output and ours, or ``None`` where it could not be run
            because onnxruntime is not installed.
    """

    file: Path
    format: str
    bytes: int
    input_shape: tuple[int, int | None, int | None]
    difference: float | None


def export_named(
    name: str | os.PathLike[str],
    file: str | os.PathLike[str],
    *,
    format: str,
    pretrained: bool = True,
    checkpoint_path: str | os.PathLike[str] | None = None,
    preprocessing: str | None = None,
    num_classes: int | None = None,
    in_chans: int | None = None,
    image_size: int | None = None,
    with_preprocessing: bool = False,
    radiometry: str | None = None,
    full_scale: float | None = None,
) -> Export:
    """Write a model as one file that describes itself: :func:`~sarhub_models.create_transform` takes it.

    Args:
        name: as for :func:`~sarhub_models.create_model`: a name, a file that describes itself, or the folder of a run.
        file: where to write.
        format: ``"onnx"``, ``"pt2"``, or ``"safetensors"``, which :func:`~sarhub_models.create_model` takes.
        pretrained: load the SAR-pretrained weights.
        checkpoint_path: load this file in their place.
        preprocessing: for a file that does not describe itself, the registered name of weights with the preprocessing
            that it was trained with.
        num_classes: size of the head; ``None`` keeps the trained one, 0 gives features. Others would be random, and
            need a network without trained weights.
        in_chans: channels of the input, by the rule of :func:`~sarhub_models.create_model`.
        image_size: side of the input in pixels; ``None`` is the size of the preprocessing, or 128.
        with_preprocessing: put the preprocessing in front and the probabilities (softmax, or a sigmoid where an image
            has several labels; with the temperature of a fine-tuning) behind: the file takes pixels (B, bands, H, W),
            float32, of any size that the preprocessing makes one of. It looks at no value and refuses none; NaN gives
            NaN.
        radiometry: what these pixels hold; by default what those held that the weights were fine-tuned on, or what the
            weights expect.
        full_scale: value of amplitude 1; by default likewise, unless the radiometry is another one. With it, amplitudes
            are digital numbers.

    Returns:
        As :func:`export_model`.

    Raises:
        SarHubError: as :func:`export_model` and :func:`~sarhub_models.create_model` say.
        OptionError: also if ``num_classes`` is neither ``None``, 0 nor that of the weights.
        CheckpointError: also if the file does not describe itself and ``preprocessing`` is not given.
        ExportError: also if a step of the preprocessing cannot be exported.
    """
    choice = choose(name, checkpoint_path=checkpoint_path, preprocessing=preprocessing)
    trained, info = pretrained or checkpoint_path is not None, choice.info
    if trained and num_classes and num_classes != info.num_classes:
        raise OptionError(
            f"a head of {num_classes} classes on the trained {name} would be random: leave num_classes out to export "
            "the trained head, or give 0 to export features; train another head first and export it as a checkpoint"
        )
    if info.decoder is not None:
        raise OptionError(
            f"{info.name} has the decoder {info.decoder} for {info.task}: only networks for whole images are exported; "
            "'sarhub predict' applies it"
        )
    if with_preprocessing:
        check_whole(format, info, image_size)
    elif radiometry is not None or full_scale is not None:
        raise OptionError(
            "radiometry and full_scale say what pixels hold: they need with_preprocessing (--with-preprocessing)"
        )
    side = image_size or info.preprocessing.side or networks.spec(info.network).timm_args.get("img_size", 128)
    options: dict[str, Any] = {"img_size": side} if "img_size" in networks.spec(info.network).timm_args else {}
    tensors = load_tensors(choice) if trained else None
    model = build_model(choice, tensors, num_classes=num_classes, in_chans=in_chans, **options)
    facts = describe_head(select_channels(info, input_channels(info, in_chans=in_chans)), model)
    if side != info.preprocessing.side and (image_size or format in FORMATS):  # the file takes this size, and says so
        sized = dataclasses.replace(info.preprocessing, size=side, crop=None, final_crop=None)
        facts = dataclasses.replace(facts, preprocessing=sized, variants={})
    if not trained:  # what is registered of the weights is not true of these
        facts = dataclasses.replace(facts, sources=(), checksum=None, training=None)
    shape = (facts.input.channels, side, side)
    if format == _WEIGHTS:
        return _export_weights(model, Path(file), shape, facts)
    if with_preprocessing:
        return export_whole(
            model, file, format=format, info=facts, radiometry=radiometry, full_scale=full_scale, image_size=side
        )
    return export_model(model, file, format=format, input_shape=shape, metadata=to_metadata(facts))


def export_whole(
    model: nn.Module,
    file: str | os.PathLike[str],
    *,
    format: str,
    info: ModelInfo,
    radiometry: str | None = None,
    full_scale: float | None = None,
    image_size: int | None = None,
) -> Export:
    """Write a network with its preprocessing as one file, and compare it with ours on made-up images.

    Args:
        model: as of :func:`export_model`.
        file: where to write.
        format: ``"onnx"`` or ``"pt2"``.
        info: entry of the network.
        radiometry: as of :func:`export_named`.
        full_scale: likewise.
        image_size: side of the images, where the preprocessing makes none.

    Raises:
        SarHubError: as :func:`export_named` says.
    """
    made = info.training or {}
    images = {name: value for name, value in made.get("images", {}).items() if name != "full_scale"}  # is in the file
    radiometry, full_scale = image_values(info, radiometry=radiometry, full_scale=full_scale)
    if full_scale is not None and info.input.radiometry == "amplitude" and radiometry in (None, "amplitude"):
        radiometry = "dn"
    chain = Pipeline.from_dict(info.to_dict(), radiometry=radiometry, full_scale=full_scale, validate=False)
    kind: dict[str, Any] = {
        "multilabel": info.dataset.multilabel if info.num_classes else None,
        "temperature": float(made.get("temperature", 1.0)),
    }
    model.eval()

    def ours(pixels: torch.Tensor) -> torch.Tensor:
        return scores(model(chain(pixels)), **kind)

    first, bands = chain.steps["radiometry"], len(chain.bands)
    says = dataclasses.replace(
        info,
        input=Input(chain.bands, first.given, (0.0, 1.0) if first.takes_amplitude else None, bands),
        preprocessing=Preprocessing(
            *((0.0,) * bands, (1.0,) * bands),
            full_scale=full_scale if first.given == "dn" else info.preprocessing.full_scale,
            note="the preprocessing is in the file",
        ),
        variants={},
        training={**made, "images": {**images, "radiometry": first.given}, "output": SCORES, "side": chain.size},
    )
    samples = made_up_pixels(chain, side=image_size)
    try:
        whole = Whole(chain, model, **kind).eval()
        return _write(whole, ours, Path(file), format, samples, chain.size is not None, to_metadata(says))
    except (SarHubError, OSError):
        raise
    except Exception as err:  # whatever the exporters raise where they meet an operation that they do not know
        raise ExportError(
            f"the preprocessing of {info.name} cannot be exported ({str(err).strip().partition(chr(10))[0]}): leave it "
            "out, and prepare the images with create_transform"
        ) from err


def _export_weights(model: nn.Module, target: Path, input_shape: Shape, facts: ModelInfo) -> Export:
    """Write the weights alone, and compare the network that is made of the file."""
    with _complete_file(target) as partial:
        write_weights(model.state_dict(), partial, info=to_metadata(facts))
        again = create_model(partial).eval()
        images = torch.randn(3, *input_shape, generator=torch.Generator().manual_seed(0))
        difference = _compare(model.eval(), again, [images])
        size = partial.stat().st_size
    return Export(target, _WEIGHTS, size, input_shape, difference)


def describe_head(info: ModelInfo, model: nn.Module) -> ModelInfo:
    """Return an entry with the number of classes, their names and the number of parameters that a network really has.

    Its head may be another one than that of the registered weights; then the names of the classes are not known.
    """
    classes = int(model.num_classes)  # type: ignore[arg-type]
    return dataclasses.replace(
        info,
        num_classes=classes,
        class_names=info.class_names if classes == info.num_classes else None,
        params=sum(parameter.numel() for parameter in model.parameters()),
    )


def export_model(
    model: nn.Module,
    file: str | os.PathLike[str],
    *,
    format: str,
    input_shape: Shape = (3, 128, 128),
    metadata: Mapping[str, str] | None = None,
) -> Export:
    """Write a network as one file, run the file, and compare it with the network.

    The file takes a float32 batch ``(B, C, H, W)`` of any size B, prepared as the weights demand (the preprocessing is
    not in the file; pass it as ``metadata``), and returns logits ``(B, num_classes)``.

    Args:
        model: the network, on the CPU; it is put in evaluation mode.
        file: where to write; it appears when it is complete and checked.
        format: ``"onnx"`` or ``"pt2"``.
        input_shape: (channels, height, width) of the input.
        metadata: texts to store in the file by name, such as
            :func:`~sarhub_models.zoo.description.to_metadata` gives.

    Returns:
        What was written, and how far its output is from the network's.

    Raises:
        OptionError: there is no such format.
        MissingDependencyError: ONNX was asked for, and ``onnx`` or ``onnxscript`` is not installed, or torch is older
            than 2.6.
        ExportError: the file computes something else than the network.
        OSError: the file cannot be written.
    """
    if format not in FORMATS:
        raise OptionError(f"no export format is called {format!r}; known: {', '.join(FORMATS)}")
    model.eval()
    generator = torch.Generator().manual_seed(0)
    # Neither batch is that of the trace, whose batch would be taken for a constant if it were 1.
    samples = [torch.zeros(2, *input_shape)]
    samples += [torch.randn(batch, *input_shape, generator=generator) for batch in (1, 3)]
    return _write(model, model, Path(file), format, samples, False, metadata or {})


def _write(
    model: nn.Module,
    ours: Run,
    target: Path,
    format: str,
    samples: list[torch.Tensor],
    free: bool,
    metadata: Mapping[str, str],
) -> Export:
    """Trace a network with the first sample, write it, and compare the file with ours on the others."""
    if format == "onnx":
        _require_onnx()
    write, load = (_write_onnx, _load_onnx) if format == "onnx" else (_write_pt2, _load_pt2)
    with _complete_file(target) as partial:
        write(model, _example(samples[0], free), partial, metadata)
        run = load(partial)
        difference = _compare(ours, run, samples[1:]) if run is not None else None
        size = partial.stat().st_size
    channels, height, width = samples[0].shape[1:]
    return Export(target, format, size, (channels, *((None, None) if free else (height, width))), difference)


@contextmanager
def _complete_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that becomes ``target`` when all went well, and vanishes otherwise."""
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder; create it first", str(target.parent))
    with replacing(target) as partial:
        yield partial


def _example(images: torch.Tensor, free: bool) -> dict[str, Any]:
    """Return the arguments that leave the batch free, and height and width on request."""
    axes: dict[int, Any] = {0: torch.export.Dim("batch")}
    if free:
        axes |= {axis: torch.export.Dim(name, min=2, max=_LARGEST) for axis, name in ((2, "height"), (3, "width"))}
    return {"args": (images,), "dynamic_shapes": (axes,)}


def _require_onnx() -> None:
    if torch.__version__ < _ONNX_TORCH:  # compared as versions, not as text
        raise MissingDependencyError(
            f"ONNX export needs torch {_ONNX_TORCH} or newer, found {torch.__version__}: "
            "pip install -U torch, or export pt2"
        )
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"ONNX export needs {' and '.join(missing)}: pip install 'sarhub-models[export]' (pt2 needs nothing more)"
        )


def _write_onnx(model: nn.Module, example: Mapping[str, Any], file: Path, metadata: Mapping[str, str]) -> None:
    exported = torch.onnx.export(
        model, **example, dynamo=True, verbose=False, input_names=[_INPUT], output_names=[_OUTPUT]
    )
    assert exported is not None  # dynamo=True always returns the program
    exported.model.metadata_props.update(metadata)
    exported.save(str(file), external_data=False)


def _load_onnx(file: Path) -> Run | None:
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run([_OUTPUT], {_INPUT: images.numpy()})[0])


def _write_pt2(model: nn.Module, example: Mapping[str, Any], file: Path, metadata: Mapping[str, str]) -> None:
    torch.export.save(torch.export.export(model, **example, strict=False), file, extra_files=dict(metadata))


def _load_pt2(file: Path) -> Run:
    return torch.export.load(file).module()


def load_exported(file: str | os.PathLike[str]) -> Run:
    """Return the network of an exported file as a function on the CPU: prepared images (B, C, S, S) → logits.

    Args:
        file: ``.onnx`` or ``.pt2``, as :func:`export_named` writes it.

    Raises:
        OptionError: it is neither.
        MissingDependencyError: it is an ONNX file, and onnxruntime is not installed.
    """
    path = Path(file)
    if path.suffix not in EXPORTED:
        raise OptionError(f"{path}: expected a file that ends in {' or '.join(EXPORTED)}")
    run = _load_onnx(path) if path.suffix == ".onnx" else _load_pt2(path)
    if run is None:
        raise MissingDependencyError(f"running {path} needs onnxruntime: pip install 'sarhub-models[export]'")
    return run


def _compare(ours: Run, run: Run, samples: Iterable[torch.Tensor]) -> float:
    """Return the largest difference over some batches."""
    worst = 0.0
    for images in samples:
        with torch.inference_mode():
            expected, got = ours(images), run(images)
        difference = (got - expected).abs().max().item()
        allowed = _TOLERANCE * expected.abs().max().item()
        if not difference <= allowed:  # a NaN compares false
            raise ExportError(
                f"the exported file differs from the network by {difference:.2g} on a batch of {len(images)}, more "
                f"than {allowed:.2g}; nothing was written"
            )
        worst = max(worst, difference)
    return worst
