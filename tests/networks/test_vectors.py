"""Encoders of other groups against numbers that their own code gave, for files in the layout of the release."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from sarhub_models import networks
from sarhub_models.errors import OptionError

SEED = "dev"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def vectors(test_data: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("vectors2", test_data / "vectors2" / "vectors2.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.folder = test_data / "vectors2"
    return module


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class Released:
    """A network of the vectors: its file as it was released, and ours with that file's tensors."""

    def __init__(self, vectors: ModuleType, folder: str, part: str, **roles: Any) -> None:
        self.vectors = vectors
        keys, outputs = vectors.load(vectors.folder / folder)
        everything = ("encoder", "decoder", "head", "pretrain_norm", "training_only")
        rows = [*keys[part], *roles.get("more", [])]
        self.tensors = {key: torch.from_numpy(value) for key, value in vectors.state(SEED, rows, everything).items()}
        for key, shape, dtype, role in keys[part]:
            if role == "computed":
                kind = torch.int64 if "int" in dtype else torch.float32
                self.tensors[key] = torch.zeros(shape, dtype=kind)
        self.cases = outputs["cases"]

    def build(self, network: str, **options: Any) -> torch.nn.Module:
        renamed = networks.rename_checkpoint(network, self.tensors)
        with networks.on_meta_device():
            model = networks.build(
                network,
                num_classes=networks.head_classes(network, renamed),
                in_chans=networks.stem_channels(network, renamed),
                **options,
            )
        networks.assign(model, networks.fit_options(network, renamed, options))
        return model.eval()

    def check(self, case: str, name: str, of: Callable[[torch.Tensor], torch.Tensor]) -> None:
        case_ = self.cases[case]
        with torch.inference_mode():
            found = of(torch.from_numpy(self.vectors.case_input(SEED, case_)))
        self.vectors.compare(found.numpy(), case_[name], rtol=2e-5, atol=1e-5)


def test_saratrx(vectors: ModuleType) -> None:
    released = Released(vectors, "saratrx_hivit_b", "checkpoint")
    model = released.build("hivit_base")
    for case in ("classification_224", "classification_224_one_channel_repeated", "classification_224_low_contrast"):
        released.check(case, "pooled_mean", lambda x: model.forward_features(x).mean(1))
    released.check("classification_224", "patch_embed", model.patch_embed)
    assert networks.identify(released.tensors) == "hivit_base"


def test_saratrx_with_the_norm_that_was_trained_downstream(vectors: ModuleType) -> None:
    more = [["fc_norm.weight", [512], "float32", "head"], ["fc_norm.bias", [512], "float32", "head"]]
    released = Released(vectors, "saratrx_hivit_b", "checkpoint", more=more)
    released.check("classification_224", "pooled_fc_norm", released.build("hivit_base"))


@pytest.mark.parametrize(
    ("case", "size", "window"),
    [
        ("detection_128_window14", 128, 14),
        ("detection_128_global", 128, None),
        ("detection_160x288_window14", (160, 288), 14),
        ("detection_224_window14", 224, 14),
    ],
)
def test_saratrx_as_its_detectors_are_built(
    vectors: ModuleType, case: str, size: int | tuple[int, int], window: int | None
) -> None:
    released = Released(vectors, "saratrx_hivit_b", "checkpoint")
    model = released.build("hivit_base", img_size=size, window_size=window)
    table = released.cases[case]["position_table"]
    vectors.compare(model.absolute_pos_embed.numpy(force=True), table, rtol=2e-5, atol=1e-5)
    for index, name in enumerate(("H", "M", "main_block_9", "main_block_19")):
        released.check(case, name, lambda x, index=index: model.maps(x)[index])


def test_sar_w_mixmae(vectors: ModuleType) -> None:
    released = Released(vectors, "sar_w_mixmae_base", "finetune_checkpoint")
    model = released.build("mixmim_base")
    released.check("native_128", "head_logits", model)
    released.check("native_128", "tokens_norm", model.forward_features)
    released.check("native_128", "patch_embed", lambda x: model.patch_embed(x).flatten(1, 2))
    assert networks.identify(released.tensors) == "mixmim_base"
    pretrained = Released(vectors, "sar_w_mixmae_base", "pretrain_checkpoint")
    for case in ("native_128", "native_128_low_contrast"):
        pretrained.check(case, "pooled", pretrained.build("mixmim_base"))


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("resized_256", {"img_size": 256}),
        ("resized_64", {"img_size": 64}),
        ("resized_192_windows", {"img_size": 192, "window_size": (16, 12, 12, 6)}),
    ],
)
def test_sar_w_mixmae_at_other_sizes(vectors: ModuleType, case: str, options: dict[str, Any]) -> None:
    released = Released(vectors, "sar_w_mixmae_base", "pretrain_checkpoint")
    model = released.build("mixmim_base", **options)
    released.check(case, "pooled", model)
    table = released.cases[case]["position_table"]
    vectors.compare(model.absolute_pos_embed.numpy(force=True), table, rtol=2e-5, atol=1e-5)


def test_sar_w_mixmae_refuses_windows_that_do_not_fit() -> None:
    for options in ({"img_size": 192}, {"img_size": 100}, {"img_size": (64, 96)}):
        with pytest.raises(OptionError, match="img_size"):
            networks.build("mixmim_base", num_classes=0, in_chans=2, **options)


@pytest.mark.parametrize("size", ["s", "b"])
def test_dinosar(vectors: ModuleType, size: str) -> None:
    released = Released(vectors, f"dinosar_vit{size}16", "checkpoint")
    network = {"s": "vit_small_patch16_dinov3", "b": "vit_base_patch16_dinov3"}[size]
    model = released.build(network)
    released.check("size_224", "cls_norm", model)
    released.check("size_224_low_contrast", "cls_norm", model)
    released.check("size_224_low_contrast", "patches_norm", lambda x: model.forward_features(x)[:, 5:])
    if size == "s":  # of the larger one no other size was computed
        released.check("size_128", "patches_norm", lambda x: model.forward_features(x)[:, 5:])
        released.check("size_96x160", "cls_norm", model)
    assert networks.identify(released.tensors) == network


@pytest.mark.parametrize("prefix", ["", "sar_encoder."])
def test_sarmae(vectors: ModuleType, prefix: str) -> None:
    released = Released(vectors, "sarmae_vitb16", "mae")
    if prefix:
        optical = {f"optical_encoder.{key}": tensor for key, tensor in released.tensors.items()}
        released.tensors = {f"{prefix}{key}": tensor for key, tensor in released.tensors.items()} | optical
        released.tensors["sar_alignment_ffn.0.weight"] = torch.zeros(3, 3)
    model = released.build("vit_base_patch16")
    released.check("size_224", "cls_norm", model)
    released.check("size_224_low_contrast", "tokens_norm", model.forward_features)
    other = released.build("vit_base_patch16", img_size=128)
    released.check("size_128", "cls_norm", other)
    assert networks.identify(released.tensors) == "vit_base_patch16"


def test_smarties(vectors: ModuleType) -> None:
    released = Released(vectors, "smarties_vitb16", "pretrain_checkpoint")
    model = released.build("vit_base_patch16")
    released.check("sentinel1_224", "embedding_before_position", model.patch_embed)
    released.check("sentinel1_224", "tokens_norm", model.forward_features)
    released.check("sentinel1_224", "cls_norm", model)
    assert networks.identify(released.tensors) == "vit_base_patch16"
