"""DRAA: the augmentation that draws a dynamic-range operator's parameter anew for every chip."""

from __future__ import annotations

import math
from typing import TypeVar

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

    Raises:
        UnknownNameError: there is no such operator.
        OptionError: ``low`` is above ``high``, or one of the numbers is not finite.

    >>> draa = DRAA("ptls", 0.0, 3.0).eval()
    >>> draa(torch.linspace(0, 1, 16).reshape(4, 4)).max()
    tensor(1.)
    """

    step = "operator"
    draws = 1

    def __init__(self, operator: str, low: float, high: float, *, eval_value: float | None = None) -> None:
        super().__init__()
        operator_named(operator)
        middle = (low + high) / 2 if eval_value is None else eval_value
        if not (low <= high and all(map(math.isfinite, (low, high, middle)))):
            raise OptionError(f"expected finite low <= high, got low={low}, high={high}, eval_value={eval_value}")
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
        function = operator_named(self.operator)
        if not self.training:
            return function(x, self.eval_value)
        if numbers is not None:
            drawn = numbers[0].reshape(-1, *[1] * (x.ndim - 3)).expand(x.shape[:-2])
        else:
            device = generator.device if generator is not None else getattr(x, "device", "cpu")
            device = "cpu" if isinstance(x, np.ndarray) else device
            drawn = torch.rand(x.shape[:-2], generator=generator, device=device)
        # A range of one number is that number, not its rounding; it was drawn for all the same, so that what is drawn
        # next does not depend on the range.
        parameter = self.low if self.low == self.high else self.low + (self.high - self.low) * drawn
        return function(x, parameter)
