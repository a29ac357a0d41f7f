"""Checkpoints that training programs write: which are read, what of them, and what is said of the others."""

from __future__ import annotations

import argparse
import datetime
import io
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

import sarhub_models as sarhub
from sarhub_models import networks
from sarhub_models.errors import CheckpointError
from sarhub_models.weights import read_tensors

NAME = "resnet18_tsx"
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(0)
    return sarhub.create_model(NAME).state_dict()


def prefixed(state: State, prefix: str, head: str | None = None) -> State:
    return {
        (f"{head}.{name.removeprefix('fc.')}" if head and name.startswith("fc.") else prefix + name): tensor
        for name, tensor in state.items()
    }


FORMS: dict[str, Any] = {
    "mmpretrain": lambda s: {"meta": {}, "state_dict": prefixed(s, "backbone.", "head.fc")},
    "mmpretrain, normalizing": lambda s: {
        "data_preprocessor.mean": torch.ones(3),
        **prefixed(s, "backbone.", "head.fc"),
    },
    "compiled": lambda s: prefixed(s, "_orig_mod."),
    "lightning": lambda s: {"state_dict": prefixed(s, "net.")},
    "nested": lambda s: {"state_dict": prefixed(s, "model.module.encoder.")},
    "with a loss": lambda s: {"state_dict": {**prefixed(s, "model."), "criterion.weight": torch.ones(3)}},
    "another head": lambda s: prefixed(s, "model.backbone.", "model.cls_head"),
    "tutorial": lambda s: {"model_state_dict": s, "epoch": 1},
    "twice wrapped": lambda s: {"model": {"state_dict": s}},
    "no counters": lambda s: {name: tensor for name, tensor in s.items() if "num_batches" not in name},
    "averaged": lambda s: {"n_averaged": torch.tensor(3), **prefixed(s, "module.")},
    "float64": lambda s: {name: t.double() if t.is_floating_point() else t for name, t in s.items()},
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_checkpoints_of_training_programs_are_read(state: State, tmp_path: Path, form: str) -> None:
    torch.save(FORMS[form](state), tmp_path / "w.pth")
    found = sarhub.create_model(NAME, pretrained=tmp_path / "w.pth").state_dict()
    assert found.keys() == state.keys()
    for name, tensor in found.items():
        assert tensor.dtype == state[name].dtype
        assert torch.equal(tensor, state[name]) or name.endswith("num_batches_tracked"), name


@pytest.mark.slow
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_numpy_are_read(state: State, tmp_path: Path, save: Any) -> None:
    save(tmp_path / "w.npz", **{name: tensor.numpy() for name, tensor in state.items()})
    found = sarhub.create_model(NAME, pretrained=tmp_path / "w.npz").state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_a_backbone_alone_gives_features(state: State, tmp_path: Path) -> None:
    body = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    torch.save({"state_dict": prefixed(body, "backbone.")}, tmp_path / "w.pth")
    assert sarhub.create_model(NAME, pretrained=tmp_path / "w.pth").num_classes == 0


def test_the_moving_average_comes_first_and_is_named(state: State, tmp_path: Path) -> None:
    average = {name: tensor + 1 for name, tensor in state.items()}
    torch.save({"state_dict": state, "state_dict_ema": average}, tmp_path / "w.pth")
    with pytest.warns(UserWarning, match="moving average 'state_dict_ema'"):
        found = read_tensors(tmp_path / "w.pth")
    assert all(torch.equal(found[name], average[name]) for name in average)


def test_the_steps_are_told(state: State) -> None:
    found, steps = networks.explain_renaming("resnet18", FORMS["mmpretrain"](state)["state_dict"])
    assert found.keys() == state.keys()
    assert steps == ("the prefix backbone. was removed", "its head is head.fc")
    assert networks.explain_renaming("resnet18", state)[1] == ()


HEADS: dict[str, dict[str, tuple[int, ...]]] = {
    "without bias": {"head.weight": (5, 512)},
    "beside another": {"head.weight": (5, 512), "head.bias": (5,), "aux_head.weight": (2, 512), "aux_head.bias": (2,)},
    "beside a projection": {
        **{"head.fc.weight": (5, 512), "head.fc.bias": (5,)},
        **{"projection_head.weight": (128, 512), "projection_head.bias": (128,)},
    },
}


@pytest.mark.filterwarnings("ignore:linear layers of the file are left out")
@pytest.mark.parametrize("form", HEADS)
def test_the_classifier_is_kept(state: State, tmp_path: Path, form: str) -> None:
    head = {name: torch.randn(shape) for name, shape in HEADS[form].items()}
    body = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    torch.save({"state_dict": {**prefixed(body, "backbone."), **head}}, tmp_path / "w.pth")
    model = sarhub.create_model(NAME, pretrained=tmp_path / "w.pth")
    weight = next(tensor for name, tensor in head.items() if name in ("head.weight", "head.fc.weight"))
    assert torch.equal(model.get_classifier().weight, weight)
    bias = head.get("head.bias", head.get("head.fc.bias", torch.zeros(5)))
    assert torch.equal(model.get_classifier().bias, bias)


def test_of_a_detector_the_backbone_is_taken(state: State, tmp_path: Path) -> None:
    """MMDetection's Faster R-CNN, whose classifier of boxes is none of images."""
    parts = {"neck.lateral_convs.0.conv.weight": (4, 64, 1, 1), "rpn_head.rpn_conv.weight": (4, 4, 3, 3),
             "roi_head.bbox_head.fc_cls.weight": (6, 512), "roi_head.bbox_head.fc_cls.bias": (6,)}  # fmt: skip
    body = {
        name: tensor for name, tensor in prefixed(state, "backbone.").items() if not name.startswith("backbone.fc.")
    }
    detector = {**body, **{name: torch.ones(shape) for name, shape in parts.items()}}
    torch.save({"state_dict": detector, "meta": {}}, tmp_path / "w.pth")
    model = sarhub.create_model(NAME, pretrained=tmp_path / "w.pth")
    assert all(torch.equal(tensor, body[f"backbone.{name}"]) for name, tensor in model.state_dict().items())
    steps = networks.explain_renaming("resnet18", detector)[1]
    assert steps[:2] == ("the prefix backbone. was removed",
                         "1 tensors of other parts were left out (neck.lateral_convs.0.conv.weight)")  # fmt: skip
    twice = {**detector, **prefixed(body, "momentum_")}
    torch.save({"state_dict": twice}, tmp_path / "twice.pth")
    with pytest.raises(CheckpointError, match="another network"):
        sarhub.create_model(NAME, pretrained=tmp_path / "twice.pth")


@pytest.mark.slow
def test_a_network_of_one_channel_sees_the_band_that_is_repeated(state: State, tmp_path: Path) -> None:
    own = {**state, "conv1.weight": torch.randn(64, 1, 7, 7)}
    torch.save(own, tmp_path / "w.pth")
    alone = timm.create_model("resnet18", in_chans=1, num_classes=len(state["fc.weight"])).eval()
    alone.load_state_dict(own)
    image = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        found = sarhub.create_model(NAME, pretrained=tmp_path / "w.pth").eval()(image.repeat(1, 3, 1, 1))
        assert torch.allclose(found, alone(image), atol=1e-4 * alone(image).abs().max())
    two = {**state, "conv1.weight": torch.randn(64, 2, 7, 7)}  # of which nobody knows what they are
    torch.save(two, tmp_path / "two.pth")
    with pytest.raises(CheckpointError, match=r"must have the shape \(64, 3, 7, 7\)"):
        sarhub.create_model(NAME, pretrained=tmp_path / "two.pth")


def test_layers_before_another_one_are_no_classifier(state: State, tmp_path: Path) -> None:
    head = {"head.0.weight": torch.ones(256, 512), "head.0.bias": torch.ones(256)}
    head |= {"head.2.weight": torch.ones(5, 256), "head.2.bias": torch.ones(5)}
    body = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    torch.save({"state_dict": {**prefixed(body, "backbone."), **head}}, tmp_path / "w.pth")
    with pytest.warns(UserWarning, match=r"linear layers of the file are left out, head\.0\.weight among them"):
        model = sarhub.create_model(NAME, pretrained=tmp_path / "w.pth")
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 512)


@pytest.mark.slow
def test_a_transformer_of_mean_features_is_not_taken_for_one_with_a_class_token(tmp_path: Path) -> None:
    other = timm.create_model("vit_small_patch16_224", global_pool="avg", num_classes=7, in_chans=2)
    torch.save(other.state_dict(), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"fc_norm\.bias"):
        sarhub.create_model("vit_small_patch16_ssl4eo.mae", checkpoint_path=tmp_path / "w.pth")


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_a_large_transformer_of_mean_features_is_not_taken_for_a_padded_one(prefix: str) -> None:
    """DOFA has the same tensors, and a border around the image."""
    with networks.on_meta_device():
        other = timm.create_model("vit_base_patch16_224", global_pool="avg", num_classes=7, in_chans=2)
    with pytest.raises(CheckpointError, match="no known network"):
        networks.identify(prefixed(other.state_dict(), prefix))


def test_a_usual_file_name_does_not_make_a_released_file(tmp_path: Path) -> None:
    """resnet18_reben is released as model.safetensors, and so is whatever a training program wrote."""
    own = timm.create_model("resnet18", in_chans=2, num_classes=19)
    save_file(own.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"cannot tell which model model\.safetensors is"):
        sarhub.import_checkpoint(tmp_path / "model.safetensors")


@pytest.mark.parametrize("extra", ["decoder.weight", "layer5.0.conv1.weight", "layer3.7.bn1.weight"])
def test_a_larger_network_is_not_cut_down(state: State, extra: str) -> None:
    with pytest.raises(CheckpointError, match="no known network"):
        networks.identify({**prefixed(state, "backbone."), f"backbone.{extra}": torch.ones(3)})


def test_an_unknown_prefix_is_named(state: State, tmp_path: Path) -> None:
    torch.save(prefixed(state, "detector.trunk."), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"would fit after removing the prefix detector\.trunk\."):
        sarhub.create_model(NAME, pretrained=tmp_path / "w.pth")


# --tensors-only -------------------------------------------------------------------------------------------------------


class Config(dict):  # type: ignore[type-arg]
    """Stands for yacs' and MMEngine's configurations: a class that the reader of the file may not have."""


class History:
    def __init__(self) -> None:
        self.values = np.float64(0.5)


class Attack:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.victim}",)


class Guard:
    """Fails the test if anything is imported that was not before."""

    def find_spec(self, name: str, *_: Any) -> None:
        raise AssertionError(f"imported {name}")


OBJECTS: dict[str, Any] = {
    "namespace": argparse.Namespace(lr=1),
    "datetime": datetime.datetime(2024, 1, 1),
    "path": Path("runs"),
    "numpy": {"best": np.float64(0.9), "array": np.ones(3)},
    "history": History(),
    "config": Config(a=Config(b=1)),
}


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}])
def test_objects_beside_the_tensors_are_left_out(
    state: State, tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    torch.save({"args": OBJECTS[kind], "state_dict": state}, tmp_path / "w.pth", **options)
    with pytest.raises(CheckpointError, match=r"refused.*sarhub import FILE --tensors-only"):
        read_tensors(tmp_path / "w.pth")
    found = read_tensors(tmp_path / "w.pth", tensors_only=True)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_nothing_is_executed_or_imported(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    torch.save({"state_dict": state, "args": Attack(victim), "config": Config()}, tmp_path / "w.pth")
    monkeypatch.setattr(sys, "meta_path", [Guard()])
    assert read_tensors(tmp_path / "w.pth", tensors_only=True).keys() == state.keys()
    assert not victim.exists()


def test_a_whole_module_gives_its_state_dict(state: State, tmp_path: Path) -> None:
    torch.save(sarhub.create_model("resnet18_tsx"), tmp_path / "w.pth")
    assert read_tensors(tmp_path / "w.pth", tensors_only=True).keys() == state.keys()


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_archive(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    torch.jit.trace(model, torch.ones(1, 3, 8, 8)).save(str(tmp_path / "w.pt"))
    with pytest.raises(CheckpointError, match=r"TorchScript.*--tensors-only"):
        read_tensors(tmp_path / "w.pt")
    found = read_tensors(tmp_path / "w.pt", tensors_only=True)
    assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items() if tensor.ndim)


@pytest.mark.slow
def test_import_of_tensors_only(state: State, tmp_path: Path) -> None:
    torch.save({"state_dict": prefixed(state, "backbone."), "args": OBJECTS["namespace"]}, tmp_path / "w.pth")
    imported = sarhub.import_checkpoint(tmp_path / "w.pth", name=NAME, tensors_only=True, cache_dir=tmp_path / "cache")
    assert "its tensors are those of resnet18" in imported.reasons
    assert read_tensors(imported.path).keys() == state.keys()


def test_a_pickle_cannot_change_the_reader(state: State, tmp_path: Path) -> None:
    """BUILD sets attributes of whatever is on the stack: of the stand-ins it must not."""
    for target in (b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n"):
        (tmp_path / "w.pth").write_bytes(target + b"}X\x05\x00\x00\x00dtypeK\x01sb.")
        with pytest.raises(CheckpointError):
            read_tensors(tmp_path / "w.pth", tensors_only=True)
    buffer = io.BytesIO()
    torch.save({"state_dict": state, "args": argparse.Namespace()}, buffer)
    (tmp_path / "w.pth").write_bytes(buffer.getvalue())
    assert read_tensors(tmp_path / "w.pth", tensors_only=True).keys() == state.keys()


def test_an_object_that_holds_itself_is_refused(tmp_path: Path) -> None:
    loop: dict[str, Any] = {}
    loop.update({str(key): loop for key in range(10)})
    for content in (loop, pickle.dumps(loop)):
        torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
        with pytest.raises(CheckpointError):
            read_tensors(tmp_path / "w.pth", tensors_only=True)


def test_a_bytearray_is_as_long_as_what_is_there(state: State, tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    torch.save({"model": state, "note": bytearray(b"abc")}, file, pickle_protocol=5)
    content = file.read_bytes()
    place = content.index(pickle.BYTEARRAY8 + (3).to_bytes(8, "little"))
    assert read_tensors(file, tensors_only=True).keys() == state.keys()
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member.replace(content[place : place + 9], pickle.BYTEARRAY8 + b"\0" * 7 + b"\x40"))
    with pytest.raises(CheckpointError, match=r"a\.pth"):
        read_tensors(file, tensors_only=True)


@pytest.mark.parametrize("pickled", [b"", b"\x80", b"\x80\x02"])
@pytest.mark.parametrize("tensors_only", [False, True])
def test_an_archive_whose_pickle_is_cut_is_damaged(pickled: bytes, tensors_only: bool, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
    with pytest.raises(
        CheckpointError, match=r"a\.pth (cannot be opened as a checkpoint of tensors|is damaged \(EOFError\))"
    ):
        read_tensors(tmp_path / "a.pth", tensors_only=tensors_only)


@pytest.mark.parametrize("tensors_only", [False, True])
def test_an_archive_of_nothing_is_no_checkpoint(tensors_only: bool, tmp_path: Path) -> None:
    zipfile.ZipFile(tmp_path / "a.pth", "w").close()
    with pytest.raises(CheckpointError, match=r"a\.pth"):
        read_tensors(tmp_path / "a.pth", tensors_only=tensors_only)
