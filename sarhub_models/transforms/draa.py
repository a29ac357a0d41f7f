"""DRAA: the augmentation that draws a dynamic-range operator's parameter anew for every chip."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError
from .operators import operator_named
from .steps import Step

__all__ = ["DRAA"]

Array = TypeVar("Array", np.ndarray, Tensor)


class DRAA(Step):
    """Dynamic range adapted augmentation: a dynamic-range operator with a parameter drawn anew for every chip.

    In training mode each (H, W) chip of the input gets its own parameter, uniform in [low, high]; in evaluation
    mode all get ``eval_value``. The module holds no tensors, works in any ``torchvision.transforms.v2.Compose``,
    and draws from torch's random numbers, which ``DataLoader`` seeds differently in each worker.

    Args:
        operator: a name of :data:`~sarhub_models.transforms.OPERATORS`.
        low: lower end of the parameter's range.
        high: upper end of the parameter's range.
        eval_value: parameter in evaluation mode; by default the middle of the range.
        drawn: operators with their ranges, of which each chip's is drawn in training mode in place of ``operator``.

    Raises:
        UnknownNameError: there is no such operator.
        OptionError: ``low`` is above ``high``, or one of the numbers is not finite.

    >>> draa = DRAA("ptls", 0.0, 3.0).eval()
    >>> draa(torch.linspace(0, 1, 16).reshape(4, 4)).max()
    tensor(1.)
    """

    step = "operator"
    draws = 1

    def __init__(
        self,
        operator: str,
        low: float,
        high: float,
        *,
        eval_value: float | None = None,
        drawn: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        super().__init__()
        self._drawn = dict(drawn or {})
        middle = (low + high) / 2 if eval_value is None else eval_value
        for name, limits in {operator: (low, high), **self._drawn}.items():
            operator_named(name)
            if not (limits[0] <= limits[1] and all(map(math.isfinite, (*limits, middle)))):
                raise OptionError(
                    f"expected finite low <= high, got low={limits[0]}, high={limits[1]}, eval_value={eval_value}"
                )
        self.operator = operator
        self.low, self.high, self.eval_value = float(low), float(high), float(middle)

    def forward(self, x: Array, generator: torch.Generator | None = None, numbers: Tensor | None = None) -> Array:
        """Apply the operator to every chip of ``x``.

        Args:
            x: amplitude in [0, 1], NumPy array or tensor of shape (..., H, W), floating point.
            generator: source of the drawn parameters; by default torch's generator of the device of ``x``.
            numbers: (1, B), uniform in [0, 1), in place of drawn ones; all chips of a sample share one.

        Returns:
            Array like ``x`` with values in [0, 1].

        Raises:
            ImageError: ``x`` is not floating point, is empty, or has fewer than two dimensions.
        """
        if not self.training:
            return operator_named(self.operator)(x, self.eval_value)
        if numbers is not None:
            drawn = numbers[0].reshape(-1, *[1] * (x.ndim - 3)).expand(x.shape[:-2])
        else:
            device = generator.device if generator is not None else getattr(x, "device", "cpu")
            device = "cpu" if isinstance(x, np.ndarray) else device
            drawn = torch.rand(x.shape[:-2], generator=generator, device=device)
        if self._drawn:
            return self._several(x, drawn)
        return operator_named(self.operator)(x, _between((self.low, self.high), drawn))

    def _several(self, x: Array, drawn: Tensor) -> Array:
        """Apply to each chip the operator that its number says; what is left of the number says the parameter."""
        scaled = drawn * len(self._drawn)
        which = scaled.floor()
        result = x.clone() if isinstance(x, Tensor) else x.copy()
        for index, (name, limits) in enumerate(self._drawn.items()):
            chosen = which == index
            places: Any = chosen.numpy() if isinstance(x, np.ndarray) else chosen.to(x.device)
            if places.any():
                result[places] = operator_named(name)(x[places], _between(limits, (scaled - which)[chosen]))
        return result


def _between(limits: tuple[float, float], drawn: Tensor) -> float | Tensor:
    # A range of one number is that number, not its rounding; it was drawn for all the same, so that what is drawn
    # next does not depend on the range.
    low, high = map(float, limits)
    return low if low == high else low + (high - low) * drawn
