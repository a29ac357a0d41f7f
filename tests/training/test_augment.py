from __future__ import annotations

import pytest
import torch

from sarhub_models.errors import UnknownNameError
from training.augment import cutmix, geometric


def symmetries(image: torch.Tensor, quarter_turns: bool) -> list[torch.Tensor]:
    found = [image, image.flip(-1), image.flip(-2), image.flip(-1, -2)]
    return found + [other.transpose(-1, -2) for other in found] if quarter_turns else found


@pytest.mark.parametrize(("kind", "count"), [("flip", 4), ("dihedral", 8)])
def test_every_sample_gets_its_own_symmetry_and_all_occur(kind: str, count: int) -> None:
    torch.manual_seed(0)
    image = torch.arange(16.0).reshape(1, 4, 4)
    known = symmetries(image, kind == "dihedral")
    seen = [[torch.equal(x, other) for other in known].index(True) for x in geometric(image.repeat(200, 1, 1, 1), kind)]
    assert set(seen) == set(range(count))


def test_rotation_keeps_shape_range_and_centre() -> None:
    torch.manual_seed(0)
    x = torch.rand(64, 1, 33, 33)
    x[:, :, 14:19, 14:19] = 0.5
    y = geometric(x, "rotate")
    assert y.shape == x.shape
    assert y.min() >= 0 and y.max() <= 1
    torch.testing.assert_close(y[:, :, 16, 16], torch.full((64, 1), 0.5))
    assert not torch.equal(y, x)


def test_unknown_geometry_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'flip'"):
        geometric(torch.zeros(1, 1, 2, 2), "flop")


def test_cutmix_keeps_the_stated_share_of_each_image() -> None:
    torch.manual_seed(0)
    x = torch.arange(8.0)[:, None, None, None].expand(8, 1, 20, 20)
    labels = torch.arange(8)
    for _ in range(20):
        mixed, pasted, kept = cutmix(x, labels, probability=1.0)
        for image, own, other in zip(mixed, labels, pasted, strict=True):
            assert set(image.unique().tolist()) <= {float(own), float(other)}
            if own != other:
                assert (image == own).float().mean().item() == pytest.approx(kept)
    assert cutmix(x, labels, probability=0.0)[2] == 1.0
