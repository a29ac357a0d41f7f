"""Networks on windows: what a batch of them becomes, whatever scene they come from.

A :class:`WindowModel` knows nothing of files and places. What walks over a scene (:mod:`.runner`) knows nothing of
networks: it hands over pixels and gets maps (N, channels, h, w), of one value a window or of many.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError
from ..features.journal import maker_digest
from ..features.predict import Predictor
from ..io.files import digests
from ..models.choice import find_info, image_values
from ..models.create import open_model
from ..transforms import Pipeline, normalize_amplitude
from ..transforms.amplitude import as_tensor
from ..zoo.entries import SINGLE
from ..zoo.manifest import own_file

__all__ = ["BOX", "KINDS", "ModelSpec", "WindowModel", "needs", "numbers_of", "probe"]

KINDS = ("classes", "boxes", "features", "dense")
"""What a window becomes: probabilities of classes, boxes of :data:`BOX` numbers, one vector, or a map of vectors."""

BOX = 6
"""Numbers of a box: x1, y1, x2, y2 in shares of the window, its score, its class; a score of 0 fills up."""

_PLACED = ("segmentation", "detection")
"""Tasks whose answers have places within a window, so that windows go through the network at their own size."""

_SIZED = ("resize", "crop", "final_crop")
_FALLBACK = 256  # side of a window for networks that take any size


@dataclass(frozen=True)
class ModelSpec:
    """All that it takes to load a model in another process.

    Attributes:
        weights: a name, a file of weights, or the folder of a run.
        kind: one of :data:`KINDS`.
        radiometry: what the scenes hold; ``None``: what the weights, or their fine-tuning, expect.
        full_scale: digital number of amplitude 1, likewise.
        device: where the network runs.
    """

    weights: str
    kind: str
    radiometry: str | None = None
    full_scale: float | None = None
    device: str = "cpu"


class WindowModel:
    """A network with its preprocessing, for windows of one size.

    Args:
        spec: what to load.

    Attributes:
        transform: the preprocessing.
        names: of the classes; ``()`` of features.
        size: side of the windows that it wants, in pixels.

    Raises:
        OptionError: the kind is unknown, or the network cannot do it.
        SarHubError: as :func:`~sarhub_models.create_model` says.
    """

    def __init__(self, spec: ModelSpec) -> None:
        if spec.kind not in KINDS:
            raise OptionError(f"expected a kind of {', '.join(KINDS)}, got {spec.kind!r}")
        self.spec, self._predictor = spec, None
        self.names: tuple[str, ...] = ()
        self._full_scale = spec.full_scale
        self.network: Any
        self.transform: Pipeline
        if spec.kind in ("classes", "boxes"):
            _check_task(spec)
            found = Predictor(
                spec.weights, radiometry=spec.radiometry, full_scale=spec.full_scale, nodata="fill", device=spec.device
            )
            self._predictor, self.network, self.transform = found, found.network, found.transform
            self.names, self.device, self._full_scale = found.class_names, found.device, found.full_scale
        else:
            radiometry, self._full_scale = image_values(
                find_info(spec.weights), radiometry=spec.radiometry, full_scale=spec.full_scale
            )
            network, self.transform, _ = open_model(spec.weights, radiometry=radiometry, full_scale=self._full_scale)
            self.device = torch.device(spec.device)
            self.network = network.eval().to(self.device)
        info = find_info(spec.weights)
        inside = (info.training or {}).get("side")  # of an exported file that makes images of one size itself
        self.size = self.transform.size or inside or _FALLBACK
        if info.task in _PLACED and spec.kind in ("classes", "boxes"):
            self.transform = self.transform.without(*_SIZED)  # larger windows show more, not the same in less detail

    @property
    def multilabel(self) -> bool:
        """A window can have several classes, or none."""
        return self._predictor is not None and self._predictor.multilabel

    def digest(self) -> str:
        """Return the digest of all that decides what it makes of a window."""
        known = self.network
        if not isinstance(known, torch.nn.Module):  # an exported file
            file = own_file(self.spec.weights)
            assert file is not None
            known = digests(file).sha256
        temperature = None if self._predictor is None else self._predictor.temperature
        decided = {key: value for key, value in asdict(self.spec).items() if key not in ("weights", "device")}
        return maker_digest(known, self.transform, decided, self._full_scale, self.names, temperature)

    def __call__(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        """Return what the network says of windows.

        Args:
            windows: of one size, (C, H, W) each, in the radiometry of the spec, all pixels with a value.

        Returns:
            float32 (N, channels, h, w): with h = w = 1 of classes, boxes and features.

        Raises:
            ImageError: values contradict the radiometry.
        """
        inputs = self._prepared(np.stack(windows)).to(self.device)
        values = self.compute(inputs)
        return values.float().cpu().numpy()

    def _prepared(self, batch: np.ndarray) -> Tensor:
        values: Any = batch
        if self.transform.takes_amplitude:
            values = self.amplitude(batch)
        return self.transform(as_tensor(values).to(self.device))

    def amplitude(self, pixels: np.ndarray) -> np.ndarray:
        """Return amplitude in [0, 1]; errors and warnings of :func:`~sarhub_models.normalize_amplitude`."""
        return normalize_amplitude(pixels, full_scale=self._full_scale, trained=self.transform.trained_full_scale)

    @torch.inference_mode()
    def compute(self, inputs: Tensor) -> Tensor:
        """Return the output (N, channels, h, w) for inputs (N, C, S, S) of the network."""
        if self.spec.kind == "boxes":
            return _padded(self.network(list(inputs)), self.network.detections_per_img, inputs.shape[-1])
        if self._predictor is not None:
            logits = self.network(inputs).float()
            if logits.ndim == 4:  # of segmentation: a value for each pixel
                scaled = logits / self._predictor.temperature
                return scaled.sigmoid() if self.multilabel else scaled.softmax(dim=1)
            found = self._predictor.decide(logits.cpu().numpy(), [""] * len(logits))
            return torch.from_numpy(found.probabilities)[:, :, None, None]
        maps = self.network.forward_features(inputs)
        if self.spec.kind == "features":
            pooled = self.network.forward_head(maps, pre_logits=True)
            return torch.as_tensor(pooled).flatten(1)[:, :, None, None]
        return _as_map(self.network, maps)


def probe(model: WindowModel, size: int) -> tuple[int, int, int]:
    """Return (channels, h, w) of what becomes of a window of so many pixels a side.

    Raises:
        OptionError: the network takes windows of its own size, or some others, but not these.
    """
    blank: Any = torch.full((1, len(model.transform.bands), size, size), 0.5)
    for step in list(model.transform.steps.values())[1:]:  # behind the conversion of the radiometry
        blank = step(blank)
    try:
        _, channels, height, width = model.compute(blank.to(model.device)).shape
    except Exception as err:  # each library has its own
        if size == model.size or isinstance(err, OptionError):
            raise
        reason = str(err).partition("\n")[0]
        raise OptionError(
            f"{model.spec.weights} cannot take windows of {size} pixels ({reason}); its own have {model.size}"
        ) from err
    return int(channels), int(height), int(width)


def needs(weights: str | os.PathLike[str]) -> tuple[tuple[str, ...], str | None, dict[str, list[Any]]]:
    """Return what weights need of a scene, which takes no loading of them.

    Weights of one band without a name take any. What weights were fine-tuned on comes before what they expect.

    Returns:
        The bands that it must have, the radiometry that is expected of it, and, under ``bands`` and ``band``, the names
        or the positions of the bands in the files of the fine-tuning, where it was told these.
    """
    info = find_info(weights)
    images = (info.training or {}).get("images", {})
    said = images.get("radiometry") or info.input.radiometry
    bands = tuple(name for name in info.input.bands if name != SINGLE)
    trained = {name: list(images[name]) for name in ("bands", "band") if images.get(name)}
    return bands, None if said is None else str(said), trained


def numbers_of(weights: str | os.PathLike[str]) -> float | None:
    """Return the number that stood for amplitude 1 in a fine-tuning on numbers as they are stored; else ``None``."""
    info = find_info(weights)
    images = (info.training or {}).get("images", {})
    stored = (images.get("radiometry") or info.input.radiometry) in (None, "amplitude", "dn")
    scale: float | None = images.get("full_scale") if stored else None
    return scale


def _check_task(spec: ModelSpec) -> None:
    """Refuse weights for boxes where classes are wanted, and the other way round."""
    boxes = find_info(spec.weights).task == "detection"
    if boxes and spec.kind != "boxes":
        raise OptionError(f"{spec.weights} finds boxes, and a map holds classes: write .parquet or .geojson")
    if not boxes and spec.kind == "boxes":
        raise OptionError(f"{spec.weights} gives classes and no boxes: write a map, .tif")


def _padded(found: Sequence[dict[str, Tensor]], most: int, side: int) -> Tensor:
    """Return the boxes of a batch of windows as channels, (N, most * BOX, 1, 1)."""
    rows = torch.zeros(len(found), most, BOX)
    for row, one in zip(rows, found, strict=True):
        count = len(one["scores"])
        row[:count, :4] = one["boxes"] / side
        row[:count, 4], row[:count, 5] = one["scores"], one["labels"]
    return rows.flatten(1)[:, :, None, None]


def _as_map(network: Any, maps: Tensor) -> Tensor:
    """Return what a network's last stage gives, (B, D, h, w), from timm's three layouts."""
    width = getattr(network, "num_features", None)
    if maps.ndim == 3:  # a transformer's tokens, those of no place first
        tokens = maps[:, getattr(network, "num_prefix_tokens", 0) :]
        side = math.isqrt(tokens.shape[1])
        if side * side != tokens.shape[1]:
            raise OptionError(
                f"expected tokens of a square, the network gave {tokens.shape[1]}: it has no dense features"
            )
        return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)
    if maps.ndim != 4:
        raise OptionError(f"expected maps (B, D, h, w), the network gave {tuple(maps.shape)}: it has no dense features")
    last = maps.shape[-1] == width and maps.shape[1] != width  # Swin keeps its channels last
    return maps.permute(0, 3, 1, 2) if last else maps
