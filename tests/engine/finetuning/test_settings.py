"""Learning rates, head and norms of a fine-tuning, by the size of the data and what is trained."""

from __future__ import annotations

from typing import Any

import pytest

from sarhub_models.engine.finetuning.options import ChipOptions
from sarhub_models.engine.finetuning.settings import Length, Start, choose_length


def chosen(samples: int, *, network: str = "mobilenetv3", init: str = "mobilenetv3_sar", **options: Any) -> Length:
    given = ChipOptions("chips", model=init, out="run", **options)
    return choose_length(samples, given, Start(network, init, None, {}, ()))


def test_many_chips_are_learned_by_large_steps_from_weights_as_from_none() -> None:
    many, none = chosen(700), chosen(700, init="none")
    assert (many.head, none.head) == ("anew", "random")
    assert many.max_lr == none.max_lr == 2e-3 and not many.keep_norms and not none.keep_norms
    assert (many.steps, many.epochs, many.batch_size) == (none.steps, none.epochs, none.batch_size)


@pytest.mark.parametrize(
    ("samples", "options"),
    [(499, {}), (700, {"network": "vit_small_patch16", "init": "vit_small_patch16_mine.safetensors"})],
    ids=["few", "no batch norms"],
)
def test_few_chips_and_transformers_stay_near_their_start(samples: int, options: dict[str, str]) -> None:
    found = chosen(samples, **options)
    assert (found.head, found.max_lr, found.keep_norms) == ("probe", 3e-4, True)


def test_a_head_alone_is_trained_from_its_fit() -> None:
    found = chosen(700, freeze=True)
    assert (found.head, found.max_lr, found.backbone_factor, found.keep_norms) == ("probe", 1e-3, 0.0, False)


def test_adapters_are_trained_by_small_steps() -> None:
    found = chosen(5000, network="vit_small_patch16", init="vit.safetensors", lora=8)
    assert (found.head, found.max_lr) == ("probe", 3e-4)


def test_a_given_rate_is_kept() -> None:
    assert chosen(700, lr=1e-4).max_lr == chosen(100, lr=1e-4).max_lr == 1e-4
