from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sarhub_models.errors import OptionError
from sarhub_models.transforms import GEOMETRIES, Geometry


def numbers(count: int) -> Tensor:
    return torch.rand(3, count, generator=torch.Generator().manual_seed(0))


def symmetries(image: Tensor, quarter_turns: bool) -> list[Tensor]:
    found = [image, image.flip(-1), image.flip(-2), image.flip(-1, -2)]
    return found + [other.transpose(-1, -2) for other in found] if quarter_turns else found


@pytest.mark.parametrize(("kind", "count"), [("none", 1), ("flip", 4), ("dihedral", 8)])
def test_every_sample_gets_its_own_symmetry_and_all_occur(kind: str, count: int) -> None:
    image = torch.arange(16.0).reshape(1, 4, 4)
    known = symmetries(image, kind == "dihedral")
    turned = Geometry(kind)(image.repeat(200, 1, 1, 1), numbers=numbers(200))
    seen = [[torch.equal(x, other) for other in known].index(True) for x in turned]
    assert set(seen) == set(range(count))


def test_flip_and_rotation_keep_the_center_and_stay_within_ten_degrees() -> None:
    x = torch.zeros(64, 1, 65, 65)
    x[:, :, 32, 32] = 1  # the center, and a mark to the right of it
    x[:, :, 31:34, 60] = 1
    y = Geometry("flip_rotate")(x, numbers=numbers(64))
    assert y.shape == x.shape and torch.all(y[:, 0, 32, 32] > 0.4)
    right = y[:, 0, :, 33:].flatten(1).sum(1) > y[:, 0, :, :32].flatten(1).sum(1)
    assert 0.25 < right.float().mean() < 0.75  # about half are flipped
    marks = torch.where(right[:, None, None], y[:, 0, :, 45:], y[:, 0, :, :20].flip(-1)).sum(2)
    rows = (marks * torch.arange(65)).sum(1) / marks.sum(1) - 32
    assert rows.abs().max() < 28 * 0.18 and rows.std() > 1  # sin 10° is 0.17


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_evaluation_changes_nothing_and_drawn_numbers_follow_the_seed(kind: str) -> None:
    x = torch.rand(6, 2, 9, 9, generator=torch.Generator().manual_seed(1))
    assert torch.equal(Geometry(kind).eval()(x), x)
    first, again = (Geometry(kind)(x, torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(first, again) and (kind == "none") == torch.equal(first, x)


def test_unknown_kinds_are_named() -> None:
    with pytest.raises(OptionError, match="did you mean 'flip_rotate'"):
        Geometry("flip_rotat")
