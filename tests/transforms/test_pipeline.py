from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sarhub_models as sarhub
from sarhub_models.errors import ImageError, OptionError, UnknownNameError
from sarhub_models.transforms import (
    INTERPOLATIONS,
    OPERATORS,
    Clip,
    Normalize,
    Pipeline,
    Resize,
    Speckle,
    ToRadiometry,
    Window,
    normalize_amplitude,
)
from sarhub_models.zoo.entries import Input, Preprocessing, with_tuples

from .chains import VIEWS, chain, speckle

RECIPES = {
    "tsx": ("reinhard_devlin", 3.5, 4.5, 4.0, 0.17721633016340846, 0.023696591996910408),
    "ben": ("ptls", 0.0, 2.0, 1.0, 0.5995, 0.0005743462),
    "osu": ("ptls", 0.0, 3.0, 1.5, 0.3159206957121415, 0.034312685984107194),
}


def transform(name: str = "osu", size: int | None = 32, **options: object) -> Pipeline:
    return chain(*RECIPES[name], size=size, **options)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_chain_is_operator_then_mean_and_std_then_channels_then_size(name: str) -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2.functional")
    operator, _, _, evaluation, mean, std = RECIPES[name]
    chip = speckle(41, 37)
    standardized = torch.from_numpy((OPERATORS[operator](chip, evaluation) - mean) / std)
    for size in (32, 64):
        expected = v2.resize(standardized.expand(3, 41, 37), [size, size], antialias=True)
        torch.testing.assert_close(transform(name, size)(chip), expected)
    torch.testing.assert_close(transform(name, None)(chip), standardized.expand(3, 41, 37))


@pytest.mark.parametrize("crop", [10, 64])
def test_the_middle_is_cut_out_first_and_what_is_missing_is_zero(crop: int) -> None:
    chip = speckle(40, 40)
    half = abs(crop - 40) // 2
    middle = chip[half : 40 - half, half : 40 - half] if crop < 40 else np.pad(chip, half)
    assert torch.equal(transform(size=None, crop=crop)(chip), transform(size=None)(middle))


def test_all_forms_of_one_chip_give_the_same() -> None:
    chip = speckle(40, 40)
    expected = transform()(chip)
    assert expected.dtype == torch.float32
    assert expected.shape == (3, 32, 32)
    phase = np.exp(1j * np.random.default_rng(0).uniform(-np.pi, np.pi, chip.shape)).astype(np.complex64)
    for same in (chip[None], torch.from_numpy(chip), torch.from_numpy(chip)[None], np.asfortranarray(chip)):
        assert torch.equal(transform()(same), expected)
    for close in (chip.astype(np.float64), chip.astype(">f4"), chip * phase, torch.from_numpy(chip * phase)):
        torch.testing.assert_close(transform()(close), expected, atol=1e-4, rtol=1e-4)


@given(st.integers(1, 4), st.sampled_from([None, 8, 20]), st.sampled_from(sorted(RECIPES)), st.integers(1, 4))
@settings(max_examples=30)
def test_a_batch_equals_its_chips(count: int, size: int | None, name: str, channels: int) -> None:
    batch = speckle(count, 1, 15, 13)
    prepare = transform(name, size, channels=channels)
    result = prepare(batch)
    assert result.shape == (count, channels, size or 15, size or 13)
    torch.testing.assert_close(result, torch.stack([prepare(chip) for chip in batch]))
    assert all(torch.equal(result[:, 0], result[:, c]) for c in range(channels))


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", ["<f2", ">f2", ">f4", ">f8", ">c8"])
def test_views_of_a_chip_are_prepared_as_their_copies(view: Callable[[np.ndarray], np.ndarray], dtype: str) -> None:
    image = view(speckle(30, 40).astype(dtype))
    assert torch.equal(transform()(image), transform()(image.astype(image.dtype.newbyteorder("="), order="C")))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [None, 32])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2, 9), (9, 2), (1, 300), (3, 1, 1, 1)])
def test_tiny_chips_of_any_precision_are_prepared(shape: tuple[int, ...], size: int | None, training: bool) -> None:
    lead = (3, 3) if len(shape) == 4 else (3,)
    for name in RECIPES:
        for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.complex128):
            chip = torch.from_numpy(speckle(*shape)).to(dtype)
            result = transform(name, size, training=training)(chip)
            assert result.dtype == torch.float32
            assert result.isfinite().all()
            assert result.shape == (*lead, size or shape[-2], size or shape[-1])


def test_the_input_is_left_alone() -> None:
    chip = speckle(20, 20)
    copy = chip.copy()
    output = transform("osu", None, channels=1)(torch.from_numpy(chip))
    output.zero_()
    np.testing.assert_array_equal(chip, copy)


@pytest.mark.parametrize(
    ("x", "hint"),
    [
        (np.zeros((8, 8), np.int32), "full_scale for integers wider than 16 bits"),
        (np.zeros((3, 8, 8), np.float32), r"x\[:, None\]"),
        (np.zeros((2, 3, 8, 8), np.float32), r"\(2, 3, 8, 8\)"),
        (np.zeros(8, np.float32), r"\(8,\)"),
        (torch.zeros(0, 1, 8, 8), r"\(0, 1, 8, 8\)"),
        (torch.zeros(8, 0), r"\(8, 0\)"),
        (torch.full((8, 8), math.nan), "NaN"),
        (torch.full((8, 8), -math.inf), "infinite"),
        (torch.full((8, 8), 1.5), "full_scale"),
        (torch.full((8, 8), -0.5), "never negative.*decibels"),
        ([[0.1]], "list.*numpy.asarray"),
        (np.float32(0.1), "float32"),
        (np.array(0.1), r"\(\)"),
        (np.array([[None]], dtype=object), "object"),
    ],
)
def test_bad_input_is_named(x: object, hint: str) -> None:
    with pytest.raises(ImageError, match=hint):
        transform()(x)


def test_values_are_not_looked_at_without_validation() -> None:
    chip = torch.full((8, 8), 0.5)
    chip[0, 0] = math.nan
    assert transform(validate=False)(chip).isnan().any()


@pytest.mark.parametrize(
    "options", [{"std": 0.0}, {"std": math.nan}, {"mean": math.inf}, {"size": 0}, {"crop": 0}, {"channels": 0}]
)
def test_impossible_numbers_are_refused(options: dict[str, float]) -> None:
    arguments = {"mean": 0.0, "std": 1.0, "size": 8, "channels": 3} | options
    with pytest.raises(ValueError, match="expected"):
        chain("ptls", 0, 1, 0.5, **arguments)
    with pytest.raises(UnknownNameError):
        chain("gamma", 0, 1, 0.5, 0.0, 1.0, 8)


def geometry(x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Run the chain in training mode with an operator that does not vary, so that only the geometry is random."""
    prepare = chain("log_amplitude", 8.0, 8.0, 8.0, mean=0.0, std=1.0, channels=1, training=True)
    return prepare(x, torch.Generator().manual_seed(seed))[:, 0]


def centroid(x: torch.Tensor) -> torch.Tensor:
    """Center of mass of each (H, W) chip relative to the image center, as (row, column)."""
    rows = torch.arange(x.shape[-2]) - (x.shape[-2] - 1) / 2
    columns = torch.arange(x.shape[-1]) - (x.shape[-1] - 1) / 2
    mass = x.sum((-2, -1))
    return torch.stack([(x.sum(-1) * rows).sum(-1) / mass, (x.sum(-2) * columns).sum(-1) / mass], dim=-1)


@pytest.mark.parametrize("shape", [(65, 65), (65, 97)])
def test_training_flips_half_and_rotates_by_up_to_ten_degrees(shape: tuple[int, int]) -> None:
    chips = torch.zeros(400, 1, *shape)
    row, column = shape[0] // 2, shape[1] // 2 + 24
    chips[:, :, row - 2 : row + 3, column - 2 : column + 3] = 1.0
    y, x = centroid(geometry(chips)).unbind(-1)
    flipped = x < 0
    assert 0.4 < flipped.float().mean() < 0.6
    angles = torch.rad2deg(torch.atan2(y, x.abs()))
    assert angles.abs().max() <= 10.2
    assert angles.max() > 8.5
    assert angles.min() < -8.5
    torch.testing.assert_close(torch.hypot(x, y), torch.full((400,), 24.0), atol=0.2, rtol=0)  # rigid
    assert abs(float(angles[flipped].mean() - angles[~flipped].mean())) < 2


def test_pixels_from_outside_become_the_mean() -> None:
    prepare = chain("log_amplitude", 8.0, 8.0, 8.0, mean=0.3, std=0.1, channels=1, training=True)
    corners = prepare(torch.ones(50, 1, 33, 33), torch.Generator().manual_seed(0))[:, 0, 0, 0]
    assert (corners == 0).any()
    assert (corners >= 0).all()


def test_training_draws_anew_for_each_chip_and_repeats_with_the_seed() -> None:
    batch = torch.from_numpy(speckle(1, 1, 24, 24)).expand(6, 1, 24, 24).clone()
    prepare = transform(training=True)
    first = prepare(batch, torch.Generator().manual_seed(1))
    assert torch.equal(first, prepare(batch, torch.Generator().manual_seed(1)))
    assert len({chip.sum().item() for chip in first}) == 6
    torch.manual_seed(3)
    single = prepare(batch[0])
    assert single.shape == (3, 32, 32)
    assert not torch.equal(single, prepare(batch[0]))
    assert torch.equal(prepare.eval()(batch[0]), transform()(batch[0]))


@pytest.mark.parametrize("name", sorted(RECIPES))
@pytest.mark.parametrize("training", [False, True])
def test_a_batch_is_prepared_without_a_look_at_its_values(name: str, training: bool) -> None:
    """A meta tensor has no values: any step that would make the host wait for an accelerator fails on it."""
    prepare = transform(name, training=training, validate=False)
    assert prepare(torch.empty(4, 1, 20, 20, device="meta")).shape == (4, 3, 32, 32)
    with pytest.raises((NotImplementedError, RuntimeError)):
        transform(name, training=training)(torch.empty(4, 1, 20, 20, device="meta"))


# ------------------------------------------------------------------------------------------- steps and description


WITH_OPERATOR = ["radiometry", "crop", "operator", "normalize", "resize", "augment", "repeat"]


@pytest.mark.parametrize("name", sarhub.list_models())
def test_every_entry_becomes_a_chain_and_is_read_back_from_it(name: str) -> None:
    info = sarhub.model_info(name)
    made = Pipeline.from_dict(json.loads(json.dumps(info.to_dict())))
    fields = json.loads(json.dumps(made.to_dict()))
    vouched = {"source": info.preprocessing.source, "vouched_by": info.preprocessing.vouched_by}  # of no step
    assert Preprocessing(**with_tuples(fields["preprocessing"]), **vouched) == info.preprocessing
    assert Input(**with_tuples(fields["input"])) == info.input
    again = Pipeline.from_dict(fields)
    assert repr(again) == repr(made) and again.to_dict() == fields


def test_each_band_has_its_own_limits_and_keeps_them_alone() -> None:
    image = np.random.default_rng(0).uniform(-50, 10, (2, 224, 224)).astype(np.float32)
    prepare = sarhub.create_transform("vit_base_patch16_ssl4eo.fgmae").without("resize", "crop")
    mean, std = np.array([-12.54847273, -20.19237134]), np.array([5.25697717, 5.91150917])
    low = (mean - 2 * std)[:, None, None]
    eight_bits = np.clip((image - low) / (4 * std)[:, None, None] * 255, 0, 255)
    found = prepare(image).numpy()
    np.testing.assert_allclose(found, eight_bits / 255, atol=1e-6)
    assert np.abs(found - eight_bits.astype(np.uint8) / 255).max() <= 1 / 255, "what the pre-training rounded"
    alone = sarhub.create_transform("vit_base_patch16_ssl4eo.fgmae", bands=("VH",)).without("resize", "crop")
    assert torch.equal(alone(image[1:]), prepare(image)[1:])
    with pytest.raises(OptionError, match="the smaller one first"):
        Clip([0, 1], [1, 0])


def test_the_variant_is_the_other_preparation_by_name() -> None:
    image = np.random.default_rng(0).uniform(-50, 10, (2, 224, 224)).astype(np.float32)
    peer = sarhub.create_transform("vit_base_patch16_ssl4eo.mae", variant="torchgeo").without("resize", "crop")
    mean, std = np.array([-12.59, -20.26])[:, None, None], np.array([5.26, 5.91])[:, None, None]
    np.testing.assert_allclose(peer(image).numpy(), (image - mean) / std, rtol=1e-5, atol=1e-5)
    with pytest.raises(UnknownNameError, match="known: none"):
        sarhub.create_transform("resnet18_ben", variant="torchgeo")


def test_digital_numbers_of_terrasar_become_what_the_authors_feed() -> None:
    chip = np.random.default_rng(0).integers(0, 4000, (160, 160)).astype(np.float32)
    found = sarhub.create_transform("resnet18_tsx.grsl2020", radiometry="dn")(chip).numpy()
    expected = (np.log2(chip.astype(np.float64) + 1) / 16 - 0.41900104848287917) / 0.06154960038356716
    assert found.shape == (3, 128, 128)
    np.testing.assert_allclose(found[1], expected[16:144, 16:144], rtol=1e-4, atol=1e-4)


def test_three_copies_can_be_normalized_like_the_channels_of_a_photograph() -> None:
    images = {"bands": ["single"], "radiometry": "amplitude", "range": [0, 1], "channels": 3}
    numbers = {"mean": [0.1, 0.2, 0.3], "std": [1, 2, 4], "size": None}
    made = Pipeline.from_dict({"input": images, "preprocessing": numbers})
    chip = np.full((4, 4), 0.5, np.float32)
    np.testing.assert_allclose(made(chip)[:, 0, 0], [0.4, 0.15, 0.05], atol=1e-6)
    assert Pipeline.from_dict(made.to_dict()).to_dict() == made.to_dict()


@pytest.mark.parametrize("name", INTERPOLATIONS)
def test_interpolations_are_torchs_own(name: str) -> None:
    batch = torch.rand(1, 1, 30, 30, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(batch, (14, 14), **INTERPOLATIONS[name])
    assert torch.equal(Resize(14, interpolation=name)(batch), expected)
    with pytest.raises(OptionError, match="did you mean 'bilinear'"):
        Resize(14, interpolation="bilinea")


def test_the_order_of_bands_without_an_operator_is_size_first() -> None:
    image = np.random.default_rng(0).uniform(-30, 0, (2, 100, 80)).astype(np.float32)
    made = sarhub.create_transform("vit_base_patch16_ssl4eo.mae", variant="torchgeo")
    assert list(made.steps) == ["radiometry", "resize", "crop", "normalize", "augment"]
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None], (256, 256), mode="bilinear", antialias=True
    )
    mean, std = torch.tensor([-12.59, -20.26])[:, None, None], torch.tensor([5.26, 5.91])[:, None, None]
    torch.testing.assert_close(made(image), (resized[0, :, 16:240, 16:240] - mean) / std)
    assert (made.mean, made.std, made.size) == ((-12.59, -20.26), (5.26, 5.91), 224)


def test_steps_are_left_out_by_name() -> None:
    made, chip = transform(size=32, crop=30), speckle(40, 40)
    assert list(made.steps) == WITH_OPERATOR
    shown = made.without("normalize", "repeat")
    assert shown(chip).shape == (1, 32, 32) and shown(chip).min() >= 0 and shown(chip).max() <= 1
    mean, std = RECIPES["osu"][-2:]
    torch.testing.assert_close(shown(chip), made(chip)[:1] * std + mean, atol=1e-6, rtol=0)
    assert torch.equal(made.without("clip")(chip), made(chip)), "a step that it does not have"
    operated = made.until("normalize")
    assert list(operated.steps) == WITH_OPERATOR[:3]
    np.testing.assert_array_equal(operated(chip)[0], OPERATORS["ptls"](chip[5:35, 5:35], 1.5))
    assert list(made.steps) == WITH_OPERATOR, "the chain itself stays as it is"


def test_a_part_of_a_chain_has_a_mode_of_its_own() -> None:
    made = transform(training=True)
    part = made.without("augment")
    assert part.training and part.steps["operator"].training
    part.eval()
    assert made.training and made.steps["operator"].training and not part.steps["operator"].training


def test_steps_that_are_not_there_are_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'normalize'"):
        transform().without("normalized")
    with pytest.raises(UnknownNameError, match="no step 'clip'"):
        transform().until("clip")
    with pytest.raises(ValueError, match="different names, got resize, resize"):
        Pipeline([Resize(3), None, Resize(4)])
    with pytest.raises(ValueError, match="got none"):
        Pipeline([None])


def test_a_chain_without_statistics_is_written_down_as_one_that_changes_nothing() -> None:
    part = transform().without("normalize")
    fields = part.to_dict()
    assert (fields["preprocessing"]["mean"], fields["preprocessing"]["std"]) == ([0.0], [1.0])
    chip = speckle(20, 20)
    assert torch.equal(Pipeline.from_dict(fields)(chip), part(chip))


def test_only_orders_that_the_fields_describe_are_written_down() -> None:
    first = ToRadiometry(["VV"], "amplitude", (0, 1))
    Pipeline([first, Resize(8), Normalize((0.0,), (1.0,))]).to_dict()
    with pytest.raises(ValueError, match=r"steps in the order radiometry, clip, resize.*not radiometry, normalize"):
        Pipeline([first, Normalize((0.0,), (1.0,)), Resize(8)]).to_dict()


def test_modules_of_others_are_steps() -> None:
    made = Pipeline([ToRadiometry(["VV"], "amplitude", (0, 1)), torch.nn.AvgPool2d(2), torch.nn.Identity()])
    assert list(made.steps) == ["radiometry", "avgpool2d", "identity"]
    assert made(speckle(8, 8)).shape == (1, 4, 4)


def test_integers_become_amplitude_by_their_type() -> None:
    chip = (speckle(20, 20) * 255).astype(np.uint8)
    assert torch.equal(transform()(chip), transform()(normalize_amplitude(chip)))


def test_images_of_several_sizes_keep_their_order_and_their_numbers() -> None:
    prepare = transform(size=16, training=True, validate=False)
    images = [torch.from_numpy(speckle(1, *shape)) for shape in ((20, 20), (30, 20), (20, 20), (24, 24))]
    numbers = torch.rand(4, 4, generator=torch.Generator().manual_seed(0))
    together = prepare(images, numbers=numbers)
    for index, image in enumerate(images):
        assert torch.equal(together[index], prepare(image, numbers=numbers[:, index : index + 1]))
    assert not torch.equal(together[0], together[2]), "the same chip, with other numbers"


def test_windows_of_images_of_several_sizes_are_those_of_each_alone() -> None:
    prepare = chain(
        *("ptls", 0, 2, 1, 0.2, 0.3),
        size=16,
        window=Window(16, scale=0.6),
        speckle=Speckle(2),
        operators={"ptls": (0, 2), "log_amplitude": (15, 17)},
        geometry="dihedral",
        training=True,
        validate=False,
    )
    images = [torch.from_numpy(speckle(1, *shape)) for shape in ((20, 20), (30, 20), (20, 20), (24, 24), (12, 14))]
    numbers = torch.rand(9, 5, generator=torch.Generator().manual_seed(0))
    together = prepare(images, numbers=numbers)
    assert together.shape == (5, 3, 16, 16)
    for index, image in enumerate(images):
        alone = prepare([image], numbers=numbers[:, index : index + 1])
        torch.testing.assert_close(together[index], alone[0], atol=1e-6, rtol=0)
