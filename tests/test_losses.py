from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from sarhub_models.errors import InputError, UnknownNameError
from sarhub_models.losses import (
    LOSSES,
    ClassBalancedLoss,
    MiniBatchClassBalancedLoss,
    class_balanced_weights,
    make_loss,
    nt_xent,
)

BETA = 0.995
FORMS = ("per_sample", "released")
LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.5, 0.0], [1.0, 1.0, 1.0]])
LABELS = torch.tensor([0, 1, 2])


def random_batch(batch: int = 12, classes: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(classes, (batch,), generator=generator)


def build(kind: str, classes: int, **options: object) -> ClassBalancedLoss | MiniBatchClassBalancedLoss:
    if kind == "mini":
        return MiniBatchClassBalancedLoss(classes, **options)  # type: ignore[arg-type]
    return ClassBalancedLoss(torch.arange(1, classes + 1, dtype=torch.float64) * 7, **options)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8), st.floats(0, 0.99999))
def test_weights_fall_with_the_count_and_lie_in_the_unit_interval(counts: list[int], beta: float) -> None:
    weights = class_balanced_weights(torch.tensor(counts, dtype=torch.float64), beta)
    assert ((weights > 0) & (weights <= 1)).all()
    order = torch.tensor(counts).argsort()
    assert (weights[order].diff() <= 0).all()


@pytest.mark.parametrize("count", [0, 1, 33, 3152])
def test_weights_equal_the_formula_and_count_at_least_one(count: int) -> None:
    expected = (1 - BETA) / (1 - BETA ** max(count, 1))
    assert class_balanced_weights([count], BETA).item() == pytest.approx(expected, rel=1e-6)


def test_beta_zero_weighs_all_alike_and_counts_as_ints_or_tensor_agree() -> None:
    assert class_balanced_weights([1, 50, 1000], 0.0).tolist() == [1, 1, 1]
    assert torch.equal(class_balanced_weights([3, 4], BETA), class_balanced_weights(torch.tensor([3, 4]), BETA))


def assert_reference(case: dict[str, Any]) -> None:
    logits, labels = torch.tensor(case["logits"]), torch.tensor(case["labels"])
    beta, gamma, counts = case["beta"], case["gamma"], case["counts"]
    classes = len(counts)
    for name, loss in {
        "mini_cb_ce": MiniBatchClassBalancedLoss(classes, beta=beta),
        "mini_cb_focal_released": MiniBatchClassBalancedLoss(classes, beta=beta, gamma=gamma, form="released"),
        "cb_ce": ClassBalancedLoss(counts, beta=beta),
        "cb_focal_released": ClassBalancedLoss(counts, beta=beta, gamma=gamma, form="released"),
    }.items():
        assert loss(logits, labels).item() == pytest.approx(case[name], abs=1e-5), name


def test_values_of_the_released_code() -> None:
    assert_reference(json.loads(Path(__file__).with_name("losses_reference.json").read_text()))


def test_all_values_of_the_released_code(test_data: Path) -> None:
    for case in json.loads((test_data / "vectors" / "losses.json").read_text()):
        assert_reference(case)


# Worked out with NumPy in float64 from the formulas, for the batch above and counts 23181, 21, 71.
@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("mini", {}, 0.577609),
        ("mini", {"gamma": 2.0}, 0.185498),
        ("mini", {"gamma": 2.0, "form": "released"}, 0.111196),
        ("whole", {}, 0.591458),
        ("whole", {"gamma": 2.0}, 0.158629),
        ("whole", {"gamma": 2.0, "form": "released"}, 0.002820),
    ],
)
def test_worked_example(kind: str, options: dict[str, object], expected: float) -> None:
    loss = (
        MiniBatchClassBalancedLoss(3, **options)  # type: ignore[arg-type]
        if kind == "mini"
        else ClassBalancedLoss([23181, 21, 71], **options)  # type: ignore[arg-type]
    )
    assert loss(LOGITS, LABELS).item() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("kind", ["mini", "whole"])
@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize(
    "gamma,form", [(None, "per_sample"), (2.0, "per_sample"), (0.5, "per_sample"), (2.0, "released")]
)
def test_gradient_agrees_with_finite_differences(kind: str, multilabel: bool, gamma: float | None, form: str) -> None:
    logits, labels = random_batch()
    targets = F.one_hot(labels, 4) if multilabel else labels
    loss = build(kind, 4, gamma=gamma, multilabel=multilabel, form=form)
    assert torch.autograd.gradcheck(lambda x: loss(x, targets), logits.requires_grad_())


@pytest.mark.parametrize("kind", ["mini", "whole"])
@pytest.mark.parametrize("multilabel", [False, True])
def test_gamma_zero_is_cross_entropy(kind: str, multilabel: bool) -> None:
    logits, labels = random_batch()
    targets = F.one_hot(labels, 4) if multilabel else labels
    plain = build(kind, 4, multilabel=multilabel)(logits, targets)
    torch.testing.assert_close(build(kind, 4, gamma=0.0, multilabel=multilabel)(logits, targets), plain)


def test_beta_zero_is_torchs_own_loss() -> None:
    logits, labels = random_batch()
    torch.testing.assert_close(MiniBatchClassBalancedLoss(4, beta=0.0)(logits, labels), F.cross_entropy(logits, labels))
    targets = F.one_hot(labels, 4).double()
    expected = F.binary_cross_entropy_with_logits(logits, targets)
    for dtype in (torch.float64, torch.int64, torch.bool):
        loss = MiniBatchClassBalancedLoss(4, beta=0.0, multilabel=True)
        torch.testing.assert_close(loss(logits, targets.to(dtype)), expected)


def test_a_confident_batch_has_a_finite_gradient_for_every_gamma() -> None:
    for gamma in (0.0, 0.5, 1.0, 2.0):
        logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
        for form in ("per_sample", "released"):
            build("mini", 2, gamma=gamma, form=form)(logits, torch.tensor([0, 1])).backward()
            assert logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32_under_autocast(dtype: torch.dtype) -> None:
    logits, labels = random_batch()
    logits = logits.to(dtype)
    for loss in (build("mini", 4, gamma=2.0), ClassBalancedLoss([5, 6, 7, 8], gamma=2.0)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(logits, labels)
        assert value.dtype == torch.float32
        assert torch.equal(value, loss(logits.float(), labels))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_without_a_graph_break(backend: str) -> None:
    logits, labels = (tensor.float() if tensor.is_floating_point() else tensor for tensor in random_batch())
    for form in ("per_sample", "released"):
        loss = build("mini", 4, gamma=2.0, form=form)
        compiled = torch.compile(loss, fullgraph=True, backend=backend)
        torch.testing.assert_close(compiled(logits, labels), loss(logits, labels))
        with pytest.raises(RuntimeError, match=r"out of (range|bounds)"):
            compiled(logits, labels + 100)


def test_never_reads_a_value_back_to_the_host_on_an_accelerator() -> None:
    """Fake tensors have no values: anything that would wait for one raises."""
    losses = [ClassBalancedLoss([1, 2, 3, 4], gamma=2.0), *(build("mini", 4, gamma=2.0, form=f) for f in FORMS)]
    with FakeTensorMode():
        logits, labels = torch.randn(8, 4, device="cuda"), torch.zeros(8, dtype=torch.int64, device="cuda")
        with pytest.raises(DataDependentOutputException):
            bool((labels < 4).all())
        for loss in losses:
            if isinstance(loss, ClassBalancedLoss):
                loss.weight = torch.ones(4, device="cuda")
            assert loss(logits, labels).device.type == "cuda"


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), "empty"),
        (torch.zeros(2, 4), torch.tensor([0, 1]), r"\(B, 3\)"),
        (torch.zeros(2, 3, 1), torch.tensor([0, 1]), r"\(B, 3\)"),
        (torch.zeros(2, 3, dtype=torch.int64), torch.tensor([0, 1]), "floating"),
        (torch.zeros(2, 3), torch.tensor([0, 1, 2]), r"shape \(2,\)"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), "int64"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "target 3 is out of range: expected 0 to 2"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), "target -1"),
        (torch.tensor([[0.0, torch.nan, 0.0]]), torch.tensor([0]), "NaN"),
        (torch.tensor([[0.0, torch.inf, 0.0]]), torch.tensor([0]), "NaN or infinite"),
    ],
)
def test_bad_input_is_named(logits: torch.Tensor, targets: torch.Tensor, message: str) -> None:
    for loss in (MiniBatchClassBalancedLoss(3), ClassBalancedLoss([1, 2, 3])):
        with pytest.raises(InputError, match=message):
            loss(logits, targets)


@pytest.mark.parametrize("value", [2.0, -1.0, 0.5, float("nan")])
def test_multilabel_targets_are_zeros_and_ones(value: float) -> None:
    with pytest.raises(InputError, match="0 or 1"):
        MiniBatchClassBalancedLoss(2, multilabel=True)(torch.zeros(1, 2), torch.tensor([[0.0, value]]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta": 1.0}, "beta"),
        ({"beta": -0.1}, "beta"),
        ({"gamma": -1.0}, "gamma"),
        ({"form": "textbook"}, "form"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MiniBatchClassBalancedLoss(3, **arguments)
    with pytest.raises(InputError, match=message):
        ClassBalancedLoss([1, 2, 3], **arguments)


def test_bad_counts_are_named() -> None:
    with pytest.raises(InputError, match="one number per class"):
        ClassBalancedLoss(torch.ones(2, 2))
    with pytest.raises(InputError, match="negative"):
        ClassBalancedLoss([3, -1])
    for bad in ([-5, 3], [float("nan"), 3.0], [float("inf"), 3.0]):
        with pytest.raises(InputError, match="finite and not negative"):
            class_balanced_weights(bad, 0.995)
    with pytest.raises(InputError, match="finite"):
        ClassBalancedLoss(torch.tensor([float("nan"), 3.0]))
    with pytest.raises(InputError, match="at least one class"):
        MiniBatchClassBalancedLoss(0)


@pytest.mark.parametrize("multilabel", [False, True])
def test_a_loss_is_made_by_its_name(multilabel: bool) -> None:
    logits, labels = random_batch()
    targets, counts = _targets(labels, multilabel), torch.arange(1, 5, dtype=torch.float64) * 7
    plain = F.binary_cross_entropy_with_logits(logits, targets.double()) if multilabel else None
    expected = {
        "ce": F.cross_entropy(logits, labels) if plain is None else plain,
        "cbl": build("whole", 4, gamma=2.0, multilabel=multilabel)(logits, targets),
        "mini_cbl": build("mini", 4, gamma=2.0, multilabel=multilabel)(logits, targets),
    }
    assert expected.keys() == LOSSES.keys()
    for name, value in expected.items():
        loss = make_loss(name, counts, multilabel=multilabel, gamma=2.0)
        found = loss(logits, targets.double() if multilabel and name == "ce" else targets)
        torch.testing.assert_close(found, value)
    with pytest.raises(UnknownNameError, match="no loss is called 'cbll'; did you mean 'cbl'"):
        make_loss("cbll", counts)


def test_one_class_is_enough() -> None:
    assert MiniBatchClassBalancedLoss(1)(torch.ones(2, 1), torch.tensor([0, 0])).item() == 0


CASES = [
    (kind, multilabel, gamma, form)
    for kind in ("mini", "whole")
    for multilabel in (False, True)
    for gamma, form in ((None, "per_sample"), (2.0, "per_sample"), (2.0, "released"))
]
# The two ranks hold different numbers of samples and different classes.
SHARES = [slice(0, 9), slice(9, 12)]


def _train_one_step(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    logits, labels = random_batch()
    results = []
    for kind, multilabel, gamma, form in CASES:
        loss = build(kind, 4, gamma=gamma, multilabel=multilabel, form=form)
        model = nn.parallel.DistributedDataParallel(seeded_linear())
        value = loss(model(logits[SHARES[rank]]), _targets(labels, multilabel)[SHARES[rank]])
        value.backward()
        with torch.no_grad():
            alone = loss.eval()(logits[SHARES[rank]], _targets(labels, multilabel)[SHARES[rank]])
        results.append((value.detach(), model.module.weight.grad, alone))
    views = random_views()[:, [slice(0, 3), slice(3, 6)][rank]]
    results.append((nt_xent(*views), views, views))
    torch.save(results, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


def random_views() -> torch.Tensor:
    return torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))


def seeded_linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 4, dtype=torch.float64)


def _targets(labels: torch.Tensor, multilabel: bool) -> torch.Tensor:
    return F.one_hot(labels, 4) if multilabel else labels


@pytest.mark.slow
def test_two_processes_equal_one_with_the_global_batch(tmp_path: Path) -> None:
    mp.spawn(_train_one_step, args=(str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    logits, labels = random_batch()
    for number, (kind, multilabel, gamma, form) in enumerate(CASES):
        loss = build(kind, 4, gamma=gamma, multilabel=multilabel, form=form)
        model = seeded_linear()
        expected = loss(model(logits), _targets(labels, multilabel))
        expected.backward()
        mean_value = (ranks[0][number][0] + ranks[1][number][0]) / 2
        torch.testing.assert_close(mean_value, expected.detach(), msg=f"value of {CASES[number]}")
        for rank in range(2):
            torch.testing.assert_close(ranks[rank][number][1], model.weight.grad, msg=f"gradient of {CASES[number]}")
            local = loss(logits[SHARES[rank]], _targets(labels, multilabel)[SHARES[rank]])
            torch.testing.assert_close(ranks[rank][number][2], local.detach(), msg=f"evaluation of {CASES[number]}")
    contrastive = (ranks[0][-1][0] + ranks[1][-1][0]) / 2  # the others are those of both processes
    torch.testing.assert_close(contrastive, nt_xent(*random_views()))


def test_nt_xent_is_the_mean_cross_entropy_of_finding_the_other_view() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 5, 8, generator=generator).unbind()
    views = [row / row.norm() for row in [*first, *second]]
    terms = []
    for index, view in enumerate(views):
        others = [math.exp(float(view @ other) / 0.3) for k, other in enumerate(views) if k != index]
        terms.append(-math.log(math.exp(float(view @ views[(index + 5) % 10]) / 0.3) / sum(others)))
    assert nt_xent(first, second, temperature=0.3).item() == pytest.approx(sum(terms) / 10, rel=1e-5)
    assert nt_xent(first, second).item() == nt_xent(first, second, temperature=0.2).item()
    assert nt_xent(3 * first, second.half(), temperature=0.3).item() == pytest.approx(sum(terms) / 10, rel=1e-2)


@pytest.mark.parametrize(
    ("shapes", "temperature"), [(((3, 4), (2, 4)), 0.1), (((3,), (3,)), 0.1), (((3, 4), (3, 4)), 0)]
)
def test_nt_xent_refuses_what_are_no_two_views(shapes: tuple[tuple[int, ...], ...], temperature: float) -> None:
    with pytest.raises(InputError, match="two views"):
        nt_xent(*map(torch.ones, shapes), temperature=temperature)
