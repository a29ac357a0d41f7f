"""Knowledge points of networks whose answer is known in closed form."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sarhub_models.errors import CheckpointError, ImageError, OptionError, UnknownNameError
from sarhub_models.explain import Amortized, Direct, KnowledgePoints, knowledge_points
from sarhub_models.explain.layers import layer_names
from sarhub_models.explain.objective import distortion as distortion_of
from sarhub_models.explain.objective import disturb, entropy, grid_shape, loss, standard_noise
from sarhub_models.networks import build

PATCH = 8


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class Weighted(nn.Module):
    """f(x) = w ∘ x with a weight for each pixel: a patch's pixels move that many numbers of the feature."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.out = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x * self.weight)


def pixels(patches: Tensor) -> Tensor:
    return patches.repeat_interleave(PATCH, 0).repeat_interleave(PATCH, 1)


def chips(count: int, size: int = 32, channels: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def test_autocast_changes_the_network_not_the_measure() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2)).eval()
    points = KnowledgePoints(network, layer="2", estimator=Direct(steps=20), progress=False)
    plain = points.explain(chips(2))
    with torch.autocast("cpu", torch.bfloat16):
        seen = points.problem.feature(chips(2))
        fast = points.explain(chips(2))
    assert seen.dtype == torch.float32
    assert torch.equal(seen, seen.bfloat16().float())  # the network did compute in bfloat16
    assert np.sqrt(np.mean((fast.entropy - plain.entropy) ** 2)) < 0.03


def test_loss_equals_an_independent_computation() -> None:
    rng = np.random.default_rng(0)
    x, sigma, noise = rng.random((3, 2, 20, 12)), rng.uniform(0.1, 2, (3, 3, 2)), rng.normal(size=(3, 2, 20, 12))
    matrix = rng.normal(size=(480, 7))

    def f(values: np.ndarray) -> np.ndarray:
        return np.tanh(values.reshape(3, -1) @ matrix / 10)

    moved = x.copy()
    for n, c, row, column in np.ndindex(x.shape):  # 20 rows: the last patch of 8 is cut
        moved[n, c, row, column] += sigma[n, row // 8, column // 8] * noise[n, c, row, column]
    squared = ((f(moved) - f(x)) ** 2).sum()
    nats = np.log(sigma) + 0.5 * np.log(2 * np.pi * np.e)
    expected = squared / 3 / f(x).var(ddof=1) - 0.25 * nats.sum()

    tensors = [torch.from_numpy(a) for a in (x, sigma, noise)]
    disturbed = disturb(tensors[0], tensors[1], 8, tensors[2])
    still = torch.from_numpy(f(x))
    measured = distortion_of(torch.from_numpy(f(disturbed.numpy())), still, still.var())
    assert grid_shape((20, 12), 8) == (3, 2)
    assert loss(measured, tensors[1]).item() == pytest.approx(expected, rel=1e-9)


def test_mean_of_draws_and_its_closed_form_have_one_distribution() -> None:
    shape, draws = (4, 1, 200, 200), 15
    exact = standard_noise(shape, draws, [torch.Generator().manual_seed(1)], exact=True)
    closed = standard_noise(shape, draws, [torch.Generator().manual_seed(2)])
    ordered = [noise.flatten().sort().values for noise in (exact, closed)]
    gap = torch.searchsorted(ordered[1], ordered[0]) / len(ordered[0]) - torch.linspace(0, 1, len(ordered[0]))
    # Kolmogorov and Smirnov: 1.95·√(2/n) is exceeded once in a thousand draws
    assert gap.abs().max() < 1.95 * math.sqrt(2 / len(ordered[0]))
    assert exact.std().item() == pytest.approx(1 / math.sqrt(draws), rel=0.01)


def test_each_chip_has_its_own_noise() -> None:
    seeds = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    pair = standard_noise((2, 3, 8, 8), 15, seeds)
    alone = standard_noise((1, 3, 8, 8), 15, [torch.Generator().manual_seed(2)])
    assert torch.equal(pair[1:], alone)
    assert not torch.equal(pair[0], pair[1])


@pytest.mark.slow
def test_linear_network_meets_the_derived_optimum() -> None:
    # E‖f(x') − f(x)‖² = Σ_i σ_i²/S · c_i with c_i = Σ of w² over patch i. Setting the derivative of the loss by log σ_i
    # to zero, 2·σ_i²·c_i / (S·B·Var f(x)) = α, so σ_i² = α·S·B·Var f(x) / (2·c_i).
    patches = torch.tensor([[0.5, 1.0, 2.0, 4.0]] * 2 + [[4.0, 2.0, 1.0, 0.5]] * 2)
    x = chips(2)
    model = Weighted(pixels(patches))
    variance = (x * model.weight).var().item()
    expected = torch.sqrt(0.25 * 15 * 32 * variance / (2 * PATCH**2 * patches.square()))
    found = KnowledgePoints(model, layer="out", estimator=Direct(steps=400, learning_rate=0.05)).explain(x)
    relative = np.log(found.sigma / expected.numpy())
    assert np.abs(relative).max() < 0.15
    assert abs(relative.mean()) < 0.03
    # At the optimum each patch adds α/2·B to the distortion, which makes Σ_i α/2·B
    assert found.distortion == pytest.approx(16 * 0.125 * 32, rel=0.15)


@pytest.mark.slow
def test_noise_grows_where_nothing_is_read_and_stays_small_inside() -> None:
    read = torch.zeros(4, 4)
    read[1:3, 1:3] = 1
    found = KnowledgePoints(Weighted(pixels(read)), layer="out", estimator=Direct(max_sigma=5)).explain(chips(2))
    inside = read.bool().numpy()
    assert found.sigma[:, ~inside].min() == pytest.approx(5, rel=0.05)
    assert found.sigma[:, inside].max() < 2.5
    points = knowledge_points(found.entropy, np.broadcast_to(~inside, found.sigma.shape), 0.5)
    assert (points == inside).all()


def test_network_that_ignores_its_input_has_no_knowledge_points() -> None:
    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.ones(len(x), 3, 2, 2) + 0 * x.sum())

    found = KnowledgePoints(Blind(), layer="out", estimator=Direct(steps=30)).explain(chips(2))
    assert np.isfinite(found.entropy).all()
    assert not knowledge_points(found.entropy, np.ones(found.sigma.shape, bool), 1e-3).any()
    assert (found.distortion == 0).all()


@pytest.mark.slow
def test_translating_the_chip_translates_the_map() -> None:
    class Bright(nn.Module):
        """Reads bright pixels only."""

        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.out(x * (x > 2) * 10)

    x = chips(1)
    x[..., 8:16, 8:16] += 5
    moved = x.roll((8, 16), dims=(-2, -1))
    background = np.ones((1, 4, 4), bool)
    explain = KnowledgePoints(Bright(), layer="out", estimator=Direct(steps=80)).explain
    points = [knowledge_points(explain(image).entropy, background, 0.3)[0] for image in (x, moved)]
    assert points[0].sum() == 1
    assert points[0][1, 1]
    assert (np.roll(points[0], (1, 2), axis=(0, 1)) == points[1]).all()


def test_only_channels_of_the_input_matter_not_how_many() -> None:
    for channels in (1, 3):
        found = KnowledgePoints(Weighted(torch.ones(20, 28)), layer="out", patch=5, estimator=Direct(steps=3)).explain(
            torch.rand(2, channels, 20, 28)
        )
        assert found.sigma.shape == (2, 4, 6)


def test_same_seed_same_map_whatever_the_chunk_and_another_seed_another() -> None:
    model = Weighted(torch.rand(32, 32, generator=torch.Generator().manual_seed(3)))

    def sigma(seed: int, chunk: int) -> np.ndarray:
        points = KnowledgePoints(model, layer="out", seed=seed, estimator=Direct(steps=10, chunk=chunk))
        return points.explain(chips(5)).sigma

    assert np.array_equal(sigma(0, 2), sigma(0, 2))
    assert np.allclose(sigma(0, 2), sigma(0, 5), rtol=1e-3)
    assert not np.allclose(sigma(0, 2), sigma(1, 2), rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet18", "senet50", "mobilenetv3", "densenet121", "swin_t"])
def test_networks_are_explained_and_left_as_they_were(network: str) -> None:
    model = build(network, num_classes=3).train()
    model.get_parameter(next(iter(dict(model.named_parameters())))).requires_grad_(False)
    first = next(p for p in model.parameters() if p.requires_grad)
    first.grad = torch.ones_like(first)
    modes = {name: module.training for name, module in model.named_modules()}
    flags = [p.requires_grad for p in model.parameters()]
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    points = KnowledgePoints(model, estimator=Direct(steps=2), mean=0.3, std=0.1)
    assert points.problem.feature.layer == layer_names(model)[-1]
    found = points.explain(chips(2, 128, 3))
    assert found.sigma.shape == (2, 16, 16)
    assert np.isfinite(found.sigma).all()
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert [p.requires_grad for p in model.parameters()] == flags
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_mean_and_std_are_applied_before_the_network() -> None:
    model = Weighted(torch.ones(16, 16))
    points = KnowledgePoints(model, layer="out", mean=0.5, std=0.25)
    assert torch.allclose(points.problem.feature(torch.full((1, 1, 16, 16), 0.75)), torch.ones(1, 1, 16, 16))


@pytest.mark.slow
def test_unet_learns_where_the_network_looks_and_survives_saving(tmp_path: Path) -> None:
    read = torch.zeros(4, 4)
    read[1:3, 1:3] = 1
    model = Weighted(pixels(read))
    x = chips(4)
    points = KnowledgePoints(
        model, layer="out", estimator=Amortized(epochs=60, width=4, learning_rate=3e-3), batch=2, seed=4
    )
    with pytest.raises(OptionError, match="fit"):
        points.explain(x)
    losses = points.fit(x)
    assert len(losses) == 120
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    found = points.explain(x)
    inside = read.bool().numpy()
    assert found.entropy[:, inside].mean() < found.entropy[:, ~inside].mean() - 0.5
    file = points.save(tmp_path / "unet.safetensors")
    loaded = KnowledgePoints.load(file, model)
    assert loaded.settings() == points.settings()
    assert np.array_equal(loaded.explain(x).sigma, found.sigma)
    again = KnowledgePoints(model, **{**points.settings(), "estimator": points.estimator})
    assert again.fit(x) == losses
    with pytest.raises(OptionError, match="1 channels"):
        loaded.explain(torch.rand(1, 3, 32, 32))


@pytest.mark.parametrize(("size", "patch"), [(24, 8), (40, 8), (32, 4), (30, 7), (8, 8)])
def test_unet_takes_any_size_and_patch(size: int, patch: int) -> None:
    unet = Amortized(width=2).build(1, patch, seed=0).eval()
    sigma = unet(torch.rand(2, 1, size, size))
    assert sigma.shape == (2, -(-size // patch), -(-size // patch))
    assert (sigma > 0).all()


def test_unet_of_the_paper_has_its_channels() -> None:
    unet = Amortized().build(3, 8, seed=0)
    widths = [block[0].out_channels for block in unet.encoder]
    assert widths == [64, 128, 256, 512, 1024]
    assert (unet.up.in_channels, unet.up.out_channels, unet.head.in_channels) == (1024, 512, 512)
    assert (unet.norm.affine, unet.norm.eps) == (False, 1e-3)


def test_without_background_there_are_no_knowledge_points() -> None:
    entropy_map = np.arange(8.0).reshape(2, 2, 2)
    background = np.array([[[1, 1], [0, 0]], [[0, 0], [0, 0]]], bool)
    points = knowledge_points(entropy_map, background, 0.25)
    assert points.tolist() == [[[True, False], [False, False]], [[False, False], [False, False]]]


def test_entropy_is_that_of_a_gaussian() -> None:
    assert entropy(torch.tensor([1.0])).item() == pytest.approx(torch.distributions.Normal(0, 1).entropy().item())


def test_bad_chips_are_named() -> None:
    points = KnowledgePoints(Weighted(torch.ones(16, 16)), layer="out")
    good = torch.rand(3, 1, 16, 16)
    holed, flat = good.clone(), good.clone()
    holed[1, 0, 3, 3] = math.nan
    flat[2] = 0.5
    with pytest.raises(ImageError, match=r"chip b\.npy .*NaN"):
        points.explain(holed, ["a.npy", "b.npy", "c.npy"])
    with pytest.raises(ImageError, match="chip 2 is constant"):
        points.explain(flat)
    with pytest.raises(ImageError, match=r"\(3, 16, 16\)"):
        points.explain(good[:, 0])


def test_wrong_arguments_say_what_is_right(tmp_path: Path) -> None:
    model = Weighted(torch.ones(16, 16))
    resnet = build("resnet18", num_classes=2)
    with pytest.raises(UnknownNameError, match="layer1, layer2"):
        KnowledgePoints(resnet, layer="layer9")
    with pytest.raises(OptionError, match="give layer"):
        KnowledgePoints(model)
    with pytest.raises(OptionError, match="alpha"):
        KnowledgePoints(model, layer="out", alpha=0)
    with pytest.raises(OptionError, match="amortized"):
        KnowledgePoints(model, layer="out").fit(chips(2))
    with pytest.raises(OptionError, match="not reached"):
        KnowledgePoints(_Skipping(), layer="unused").explain(chips(2))
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        KnowledgePoints.load(tmp_path / "x.safetensors", model)


class _Skipping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return x
