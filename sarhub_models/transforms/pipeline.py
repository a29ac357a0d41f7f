"""The preprocessing chain of a set of weights: named steps, for one band or several, in training and evaluation."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import OptionError, UnknownNameError, closest
from .augmentation import Speckle, Window
from .draa import DRAA
from .geometry import Geometry
from .steps import Clip, Crop, FinalCrop, Normalize, Repeat, Resize, ToRadiometry

__all__ = ["Pipeline"]

# An operator sees the pixels as they were taken, so what resizes comes behind it; without one, the size comes first.
_WITH_OPERATOR = (
    "radiometry",
    "clip",
    "crop",
    "window",
    "speckle",
    "operator",
    "normalize",
    "resize",
    "final_crop",
    "augment",
    "repeat",
)
_WITHOUT = ("radiometry", "clip", "resize", "crop", "window", "speckle", "normalize", "augment", "repeat")
# Three copies of a band that are normalized like the channels of a photograph must be there before.
_PER_CHANNEL = ("radiometry", "clip", "resize", "crop", "window", "speckle", "repeat", "normalize", "augment")


class Pipeline(nn.Module):
    """A chain of named steps, from an image to the input of a network.

    :meth:`from_dict` builds that of a set of weights, :func:`~sarhub_models.create_transform` by its name. With an
    operator, in this order: ``radiometry`` → ``clip`` → ``crop`` → ``operator`` → ``normalize`` → ``resize`` →
    ``final_crop`` → ``augment`` → ``repeat``; without: ``radiometry`` → ``clip`` → ``resize`` → ``crop`` →
    ``normalize`` → ``augment`` → ``repeat``; each where it is needed. A chain that trains may cut
    (:class:`Window`) and multiply speckle (:class:`Speckle`) before the operator. In training mode the operator's
    parameter is drawn anew for every sample (:class:`DRAA`), and ``augment`` flips and rotates. The module holds no
    tensors and works on the device of its input; with ``validate=False`` in its first step it never waits for that
    device.

    Warning: as a submodule of a network it follows ``parent.train()`` and then augments; keep it outside of networks,
    or call its :meth:`eval` after each ``parent.train()``.

    Args:
        steps: modules for (B, C, H, W), named by their attribute ``step`` or else by their class; ``None`` is left
            out. The first is called with the image as it comes. A step with an attribute ``draws`` takes
            ``generator`` and ``numbers``, too.
        training: start in training mode; :meth:`train` and :meth:`eval` switch.
        note: what a user must know about the numbers.

    Raises:
        OptionError: two steps have one name, or there is none.

    >>> chain = Pipeline([ToRadiometry(["VV"], "amplitude", (0, 1)), DRAA("ptls", 0, 3), Resize(128), Repeat(3)])
    >>> chain(np.random.default_rng(0).random((64, 64), dtype=np.float32)).shape
    torch.Size([3, 128, 128])
    >>> list(chain.until("resize").steps)
    ['radiometry', 'operator']
    """

    def __init__(self, steps: Iterable[nn.Module | None], *, training: bool = False, note: str | None = None) -> None:
        super().__init__()
        chosen = [step for step in steps if step is not None]
        names = [str(getattr(step, "step", type(step).__name__.lower())) for step in chosen]
        if not names or len(set(names)) != len(names):
            raise OptionError(f"expected steps with different names, got {', '.join(names) or 'none'}")
        self.steps: Any = nn.ModuleDict(dict(zip(names, chosen, strict=True)))
        self.note = note
        self.train(training)

    def forward(
        self,
        x: np.ndarray | Tensor | Sequence[Tensor],
        generator: torch.Generator | None = None,
        *,
        numbers: Tensor | None = None,
    ) -> Tensor:
        """Prepare one image or a batch.

        Args:
            x: real numbers of any type (complex ones are replaced by their magnitude where that has a meaning):
                (C, H, W) for one image, (B, C, H, W) for a batch, with the bands in their order; of one band also
                (H, W). NumPy array or tensor on any device; or a list of tensors (C, H, W), which may differ in size.
            generator: random numbers for training mode, on the device of ``x``; by default torch's own.
            numbers: (N, B), uniform in [0, 1), in place of drawn ones, on the CPU or the device of ``x``: one row for
                each step that has ``draws``, in the order of the steps: one for the operator, three for ``augment``.

        Returns:
            float32 tensor, (C, S, S) for one image and (B, C, S, S) for a batch, on the device of ``x``.

        Raises:
            ImageError: ``x`` has another shape, is empty, or is complex where its radiometry is not; where the first
                step validates, also if it holds NaN, infinity or values that its radiometry cannot have.

        Warns:
            RadiometryWarning: the values are plainly of another radiometry (where the first step validates).
        """
        steps = list(self.steps.values())
        if isinstance(x, list) and x and all(isinstance(image, Tensor) for image in x):
            return self._by_size(steps, x, generator, numbers)
        batch = _apply(steps, x, generator, numbers)
        return batch[0] if "radiometry" in self.steps and x.ndim < 4 else batch  # type: ignore[union-attr]

    def _by_size(
        self, steps: list[Any], images: list[Tensor], generator: torch.Generator | None, numbers: Tensor | None
    ) -> Tensor:
        """Prepare images of one size at once, in the order of the images.

        In training a window makes all images one size: what comes behind it takes them together.
        """
        count = len(steps)
        if self.training and "window" in self.steps:
            count = list(self.steps).index("window") + 1
        results: list[Tensor] = [images[0]] * len(images)
        for shape in dict.fromkeys(image.shape for image in images):
            chosen = [index for index, image in enumerate(images) if image.shape == shape]
            given = None if numbers is None else numbers[:, chosen]
            batch = _apply(steps[:count], torch.stack([images[index] for index in chosen]), generator, given)
            for index, result in zip(chosen, batch, strict=True):
                results[index] = result
        used = sum(getattr(step, "draws", 0) for step in steps[:count])
        return _apply(steps[count:], torch.stack(results), generator, None if numbers is None else numbers[used:])

    def without(self, *names: str) -> Pipeline:
        """Return the chain, in the same mode, without some steps; one that it does not have anyway is left out, too.

        Raises:
            UnknownNameError: no chain has a step of that name.
        """
        known = {*_WITH_OPERATOR, *self.steps}
        for name in names:
            if name not in known:
                raise UnknownNameError(
                    f"no step is called {name!r}{closest(name, known)}; known: {', '.join(sorted(known))}"
                )
        return self._of(step for name, step in self.steps.items() if name not in names)

    def until(self, name: str) -> Pipeline:
        """Return the steps before one, in the same mode.

        Raises:
            UnknownNameError: this chain has no step of that name.
        """
        names = list(self.steps)
        if name not in names:
            raise UnknownNameError(
                f"this chain has no step {name!r}{closest(name, names)}; its steps: {', '.join(names)}"
            )
        return self._of(self.steps[one] for one in names[: names.index(name)])

    def _of(self, steps: Iterable[nn.Module]) -> Pipeline:
        """Return a chain of copies, so that neither follows the other's mode."""
        return Pipeline(copy.deepcopy(list(steps)), training=self.training, note=self.note)

    @property
    def mean(self) -> Any:
        """The number that is subtracted; a tuple of one a band without an operator."""
        return self.steps["normalize"].mean if "normalize" in self.steps else 0.0

    @property
    def std(self) -> Any:
        """The number that is divided by; a tuple of one a band without an operator."""
        return self.steps["normalize"].std if "normalize" in self.steps else 1.0

    @property
    def size(self) -> int | None:
        """Side of the output in pixels; ``None``: that of the image."""
        sizes = [step.size for step in self.steps.values() if isinstance(step, Crop | Resize)]
        return sizes[-1] if sizes else None

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands that it takes."""
        return tuple(self.steps["radiometry"].bands)

    @property
    def takes_amplitude(self) -> bool:
        """It wants amplitude in [0, 1], not the values of the file."""
        return bool(self.steps["radiometry"].takes_amplitude)

    @property
    def trained_full_scale(self) -> float | None:
        """The digital number that stood for amplitude 1 in the data of the weights, where it is known."""
        full_scale: float | None = self.steps["radiometry"].trained_full_scale
        return full_scale

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return the fields ``input`` and ``preprocessing`` of the manifest, JSON-ready, for :meth:`from_dict`.

        What the images hold, the mode and the kind of geometry are not a part of them.

        Raises:
            OptionError: the steps are not in an order that the fields describe.
        """
        count = len(self.steps["radiometry"].bands)
        mean, std = (
            self.steps["normalize"].per_band() if "normalize" in self.steps else ((0.0,) * count, (1.0,) * count)
        )
        order = _order("operator" in self.steps, len(mean) > count)
        if list(self.steps) != [name for name in order if name in self.steps]:
            raise OptionError(
                f"only steps in the order {', '.join(order)} can be written down, not {', '.join(self.steps)}"
            )
        steps: dict[str, Any] = dict(self.steps.items())
        first, clip, draa = steps["radiometry"], steps.get("clip"), steps.get("operator")
        parameter = ("operator", "low", "high", "eval_value") if draa is not None else ()
        return {
            "input": {
                "bands": list(first.bands),
                "radiometry": first.expected,
                "range": None if first.range is None else list(first.range),
                "channels": steps["repeat"].channels if "repeat" in steps else count,
            },
            "preprocessing": {
                "mean": list(mean),
                "std": list(std),
                "size": getattr(steps.get("resize"), "size", None),
                "crop": getattr(steps.get("crop"), "size", None),
                "clip": None if clip is None else [_plain(clip.low), _plain(clip.high)],
                "final_crop": getattr(steps.get("final_crop"), "size", None),
                "interpolation": getattr(steps.get("resize"), "interpolation", "antialias"),
                **{name: getattr(draa, name) for name in parameter},
                "full_scale": first.trained_full_scale,
                "note": self.note,
            },
        }

    @classmethod
    def from_dict(
        cls,
        fields: Mapping[str, Any],
        *,
        radiometry: str | None = None,
        full_scale: float | None = None,
        geometry: str = "flip_rotate",
        window: Window | None = None,
        speckle: Speckle | None = None,
        operators: Mapping[str, tuple[float, float]] | None = None,
        training: bool = False,
        validate: bool = True,
        nodata: str = "refuse",
    ) -> Pipeline:
        """Build the chain of a set of weights.

        Args:
            fields: ``input`` and ``preprocessing`` as the manifest, :meth:`to_dict` and
                :meth:`ModelInfo.to_dict <sarhub_models.ModelInfo.to_dict>` have them; others are left alone.
            radiometry: what the images hold, a name of :data:`~sarhub_models.transforms.RADIOMETRIES`; by default what
                the weights expect.
            full_scale: the digital number that stands for amplitude 1; by default that of the weights' own data.
            geometry: kind of :class:`Geometry` in training mode.
            window: what is cut at random in training mode, in place of resizing.
            speckle: what is multiplied in training mode.
            operators: ranges of dynamic-range operators, of which each sample's is drawn in training mode.
            training: start in training mode.
            validate: look at the values.
            nodata: what masked, NaN and infinite values do (:func:`~sarhub_models.io.raster.fill_nodata`).

        Raises:
            UnknownNameError: there is no such operator.
            OptionError: a number is out of its range, there is no such radiometry, or it cannot be converted.
        """
        given, p = fields["input"], fields["preprocessing"]
        operator, bands, channels = p.get("operator"), given["bands"], given["channels"]
        same = operator is not None and len(p["mean"]) == 1  # one number needs no tensor
        parts: dict[str, nn.Module | None] = {
            "radiometry": ToRadiometry(
                bands,
                given["radiometry"],
                given["range"],
                given=radiometry,
                full_scale=full_scale,
                trained_full_scale=p.get("full_scale"),
                validate=validate,
                nodata=nodata,
            ),
            "clip": Clip(*p["clip"]) if p.get("clip") is not None else None,
            "crop": Crop(p["crop"]) if p.get("crop") is not None else None,
            "window": window,
            "speckle": speckle,
            "operator": operator and DRAA(operator, p["low"], p["high"], eval_value=p["eval_value"], drawn=operators),
            "normalize": Normalize(p["mean"][0], p["std"][0]) if same else Normalize(p["mean"], p["std"]),
            "resize": None
            if p.get("size") is None or window is not None
            else Resize(p["size"], interpolation=p.get("interpolation", "antialias")),
            "final_crop": FinalCrop(p["final_crop"]) if p.get("final_crop") is not None and window is None else None,
            "augment": Geometry(geometry),
            "repeat": Repeat(channels) if len(bands) == 1 and (same or channels != 1) else None,
        }
        order = _order(operator is not None, len(p["mean"]) > len(bands))
        return cls((parts[name] for name in order), training=training, note=p.get("note"))


def _apply(steps: Sequence[Any], x: Any, generator: torch.Generator | None, numbers: Tensor | None) -> Tensor:
    """Apply steps, of which each takes its rows of the numbers."""
    used = 0
    for step in steps:
        draws = getattr(step, "draws", 0)
        if not draws:
            x = step(x)
            continue
        x = step(x, generator, None if numbers is None else numbers[used : used + draws])
        used += draws
    batch: Tensor = x
    return batch


def _plain(numbers: Any) -> Any:
    return list(numbers) if isinstance(numbers, tuple) else numbers


def _order(operator: bool, per_channel: bool) -> tuple[str, ...]:
    """Return the order of the steps of a chain that can be written down."""
    if operator:
        return _WITH_OPERATOR
    return _PER_CHANNEL if per_channel else _WITHOUT
