import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

import sarhub_models as sarhub
from sarhub_models.errors import CheckpointError, DownloadError, OfflineError, OptionError, UnknownNameError
from sarhub_models.weights import write_weights
from tests.networks.released import checkpoint, image
from tests.networks.test_networks import LOGITS, NETWORKS, loaded
from tests.outputs import assert_same_output

MANIFEST = Path(sarhub.__file__).parent.parent / "weights_manifest.json"
FILE = {"mobilenetv3": "MobileNetV3", "swin_t": "Swin-T", "swin_b": "Swin-B"}


def release(folder, network, num_classes=32, data="TSX", wrap=lambda state: state):
    """Write a stand-in for a released file."""
    path = folder / f"{FILE.get(network, network)}_{data}.pth"
    torch.save(wrap(checkpoint(network, num_classes)), path)
    return path


def with_prefix(state):
    return {f"module.{name}": tensor for name, tensor in state.items()}


@pytest.fixture(scope="module")
def swin_file(tmp_path_factory):
    return release(tmp_path_factory.mktemp("released"), "swin_t")


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_an_imported_file_gives_the_original_network(tmp_path, network):
    decision = sarhub.import_checkpoint(release(tmp_path, network))
    assert decision.info.name == f"{network}_tsx"
    model = sarhub.create_model(f"{network}_tsx", pretrained=True).eval()
    with torch.inference_mode():
        logits, expected = model(image()), loaded(network)(image())
        aligned = copy.deepcopy(model)(image())
    assert torch.equal(aligned, expected)
    # Convolutions may round differently where tensors begin at odd addresses, as in a memory-mapped file.
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-6)
    assert (logits[:, :3] - torch.tensor(LOGITS[network][0])).abs().max() <= 1e-5 * LOGITS[network][1] + 5e-8


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrap",
    [lambda s: s, lambda s: {"model": s}, with_prefix, lambda s: {"model": with_prefix(s), "epoch": 150}],
    ids=["plain", "model", "module", "model+module"],
)
@pytest.mark.parametrize("network", ["resnet18", "mobilenetv3", "swin_t"])
def test_every_wrapping_of_a_released_file(tmp_path, network, wrap):
    def with_tables(state):  # what the released Swin files also hold
        if network == "swin_t":
            state["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 16, 16)
            state["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(16, 16, dtype=torch.int64)
        return wrap(state)

    path = release(tmp_path, network, wrap=with_tables)
    model = sarhub.create_model(f"{network}_tsx", checkpoint_path=path).eval()
    with torch.inference_mode():
        assert_same_output(model(image()), loaded(network)(image()))


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_folded_channels_equal_the_repeated_chip(tmp_path, network):
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file(checkpoint(network), path)
    chip = image("chip", (1, 1, 128, 128))
    with torch.inference_mode():
        expected = loaded(network)(chip.repeat(1, 3, 1, 1))
    for channels in (1, 2, 4):
        model = sarhub.create_model(f"{network}_tsx", in_chans=channels, checkpoint_path=path).eval()
        with torch.inference_mode():
            folded = model(chip.repeat(1, channels, 1, 1))
        assert (folded - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.slow
def test_heads(swin_file):
    x = image()
    whole = sarhub.create_model("swin_t_tsx", checkpoint_path=swin_file).eval()
    bare = sarhub.create_model("swin_t_tsx", checkpoint_path=swin_file, num_classes=0).eval()
    new = sarhub.create_model("swin_t_tsx", checkpoint_path=swin_file, num_classes=7).eval()
    same_size = sarhub.create_model("swin_t_tsx", checkpoint_path=swin_file, num_classes=32).eval()
    with torch.inference_mode():
        assert whole(x).shape == (2, 32)
        assert new(x).shape == (2, 7)
        assert torch.equal(whole.head.fc(bare(x)), whole(x))
        assert torch.equal(same_size(x), whole(x)), "the trained head is kept, as timm does"
    assert not any(p.is_meta for p in new.parameters())
    assert all(p.requires_grad for p in new.parameters())


def test_a_new_head_takes_timms_pooling(tmp_path):
    path = release(tmp_path, "resnet18")
    model = sarhub.create_model("resnet18_tsx", checkpoint_path=path, num_classes=3, global_pool="catavgmax").eval()
    assert model(image()).shape == (2, 3)
    assert model.fc.in_features == 1024


def test_class_names_go_with_the_trained_head():
    assert len(sarhub.create_model("resnet18_osu").pretrained_cfg["label_names"]) == 10
    assert "label_names" not in sarhub.create_model("resnet18_osu", num_classes=4).pretrained_cfg


def test_a_file_that_timms_network_may_have_made_draws_a_warning(tmp_path):
    theirs = timm.create_model("mobilenetv3_small_100", num_classes=2).state_dict()
    torch.save(theirs, tmp_path / "theirs.pth")
    with pytest.warns(UserWarning, match=r"timm's mobilenetv3_small_100 has the same names and shapes"):
        sarhub.create_model("mobilenetv3_dsn", checkpoint_path=tmp_path / "theirs.pth")


@pytest.mark.parametrize("options", [{"in_chans": 0}, {"num_classes": -1}])
def test_impossible_numbers(options):
    with pytest.raises(OptionError, match="expected num_classes"):
        sarhub.create_model("resnet18_osu", **options)


@pytest.mark.slow
def test_feature_maps_are_those_of_the_whole_network(swin_file):
    x = image()
    features = sarhub.create_model("swin_t_tsx", checkpoint_path=swin_file, features_only=True).eval()
    whole = sarhub.create_model("swin_t_tsx", checkpoint_path=swin_file).eval()
    with torch.inference_mode():
        assert torch.equal(features(x)[-1], whole.layers(whole.patch_embed(x)))


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet50", "senet50", "mobilenetv3", "densenet121"])
def test_feature_maps_of_the_convolutional_networks(tmp_path, network):
    path = release(tmp_path, network)
    features = sarhub.create_model(
        f"{network}_tsx", checkpoint_path=path, features_only=True, out_indices=(2, 4)
    ).eval()
    whole = loaded(network)
    with torch.inference_mode():
        maps, last = features(image()), whole.forward_features(image())
    assert [m.shape[-1] for m in maps] == [16, 4]
    if network == "mobilenetv3" or network.startswith(("resnet", "senet")):
        assert torch.equal(maps[-1], last)


@pytest.mark.slow
def test_loaded_weights_can_be_trained_without_touching_the_file(tmp_path):
    sarhub.import_checkpoint(release(tmp_path, "mobilenetv3"))
    model = sarhub.create_model("mobilenetv3_tsx", pretrained=True).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(image()).square().sum().backward()
    optimizer.step()
    again = sarhub.create_model("mobilenetv3_tsx", pretrained=True).eval()
    with torch.inference_mode():
        assert_same_output(again(image()), loaded("mobilenetv3")(image()))


def test_half_precision_copies_load_as_float32(tmp_path):
    path = tmp_path / "half.safetensors"
    write_weights(
        {k: t.half() if t.is_floating_point() else t for k, t in checkpoint("resnet18").items()}, path, info={}
    )
    model = sarhub.create_model("resnet18_tsx", checkpoint_path=path).eval()
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    with torch.inference_mode():
        assert torch.allclose(model(image()), loaded("resnet18")(image()), atol=1e-3)


@pytest.mark.parametrize("name", ["last.ckpt", "weights.npz", "a.bin", "runs/x", "w.pth"])
def test_a_missing_file_is_not_taken_for_a_tag(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"there is no file {name}"):
        sarhub.create_model("resnet18_tsx", pretrained=name)


def test_a_folder_called_like_a_tag_is_no_file(tmp_path, monkeypatch) -> None:
    (tmp_path / "grsl2020").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match=r"resnet18_tsx\.grsl2020"):
        sarhub.create_model("resnet18_tsx", pretrained="grsl2020")


@pytest.mark.slow
def test_tags_and_paths_as_pretrained(tmp_path):
    path = release(tmp_path, "resnet18", num_classes=7)
    model = sarhub.create_model("resnet18_tsx", pretrained=str(path))
    assert model.num_classes == 7
    plain = tmp_path / "checkpoint"
    plain.write_bytes(path.read_bytes())
    assert sarhub.create_model("resnet18_tsx", pretrained=plain).num_classes == 7
    with pytest.raises(UnknownNameError, match="grsl2020"):
        sarhub.create_model("resnet18_tsx", pretrained="grsl2021")
    with pytest.raises(OptionError, match="once"):
        sarhub.create_model("resnet18_tsx", pretrained=path, checkpoint_path=path)
    with pytest.raises(OptionError, match="num_classes"):
        sarhub.create_model("resnet18_tsx.grsl2020")
    assert sarhub.create_model("resnet18_tsx.grsl2020", num_classes=7).num_classes == 7


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"num_classes": -1}, "expected num_classes"),
        ({"num_classes": "10"}, "expected num_classes"),
        ({"in_chans": 2.0}, "expected num_classes"),
        ({"img_size": 64}, r"does not take the options .*\}: \S"),
        ({"features_only": True, "out_indices": (9,)}, r"does not take the options .*\}: \S"),
        ({"features_only": True, "out_indices": ()}, r"does not take the options .*\}: \S"),
    ],
)
def test_options_that_no_network_has_are_one_error(options, reason):
    with pytest.raises(OptionError, match=reason):
        sarhub.create_model("mobilenetv3_dsn", pretrained=True, **options)


def test_options_that_contradict_the_weights(tmp_path):
    with pytest.raises(OptionError, match="does not fit"):
        sarhub.create_model("resnet18_tsx", checkpoint_path=release(tmp_path, "resnet18"), stem_type="deep")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "reason"),
    [
        ("resnet18_tsx", "resnet50", "another network"),
        ("mobilenetv3_osu", "resnet18", "another network"),
        ("swin_t_tsx", "swin_b", "must have the shape|another network"),
    ],
)
def test_a_foreign_checkpoint_is_refused(tmp_path, name, file, reason):
    with pytest.raises(CheckpointError, match=reason):
        sarhub.create_model(name, checkpoint_path=release(tmp_path, file))


@pytest.mark.slow
def test_import_decides_by_head_and_name(tmp_path):
    decision = sarhub.import_checkpoint(release(tmp_path, "resnet18", 19, "BEN"))
    assert decision.info.name == "resnet18_ben"
    assert any("19 classes" in reason for reason in decision.reasons)
    with pytest.raises(CheckpointError, match=r"names the data set ben.*32 classes.*resnet18_tsx"):
        sarhub.import_checkpoint(release(tmp_path, "resnet18", 32, "BEN"))
    with pytest.raises(CheckpointError, match=r"cannot tell.*45 classes"):
        sarhub.import_checkpoint(release(tmp_path, "resnet50", 45, "nwpu"))
    with pytest.raises(CheckpointError, match="is not resnet50_tsx"):
        sarhub.import_checkpoint(release(tmp_path, "resnet18", 10, "OSU"), name="resnet50_tsx")
    with pytest.raises(FileNotFoundError):
        sarhub.import_checkpoint(tmp_path / "nothing.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        sarhub.import_checkpoint(tmp_path)


@pytest.mark.slow
def test_a_file_of_the_users_own_is_not_taken_for_a_released_one(tmp_path):
    own = release(tmp_path, "resnet18", 10, "best_epoch")  # MSTAR, say, has as many classes as OpenSARUrban
    with pytest.raises(CheckpointError, match="cannot tell"):
        sarhub.import_checkpoint(own)
    assert sarhub.import_checkpoint(own, name="resnet18_osu").info.name == "resnet18_osu"


def test_import_into_another_cache(tmp_path):
    sarhub.import_checkpoint(release(tmp_path, "mobilenetv3"), cache_dir=tmp_path / "other")
    assert sarhub.create_model("mobilenetv3_tsx", pretrained=True, cache_dir=tmp_path / "other").num_classes == 32
    with pytest.raises(DownloadError):
        sarhub.create_model("mobilenetv3_tsx", pretrained=True)


def test_transform_feeds_the_network():
    for name in ("resnet18_tsx", "swin_t_ben", "mobilenetv3_osu"):
        chips = torch.rand(2, 1, 100, 90)
        x = sarhub.create_transform(name)(chips)
        assert x.shape == (2, 3, 128, 128)
        assert x.dtype == torch.float32
    assert sarhub.create_transform("resnet18_osu", in_chans=1)(chips).shape == (2, 1, 128, 128)
    training = sarhub.create_transform("resnet18_osu", training=True)
    assert not torch.equal(training(chips), training(chips))


@pytest.mark.slow
def test_timm_creates_our_models(tmp_path):
    sarhub.import_checkpoint(release(tmp_path, "resnet50", 19, "BEN"))
    model = timm.create_model("resnet50_ben", pretrained=True).eval()
    features = timm.create_model("resnet50_ben", pretrained=True, features_only=True, out_indices=(1, 4)).eval()
    with torch.inference_mode():
        assert_same_output(model(image()), sarhub.create_model("resnet50_ben", pretrained=True).eval()(image()))
        assert_same_output(features(image())[1], model.forward_features(image()))
    assert features.feature_info.channels() == [256, 2048]
    assert model.pretrained_cfg["mean"] == (0.5995,) * 3
    assert model.pretrained_cfg["label_names"][-1] == "Marine waters"
    assert set(timm.list_models("*_ben")) >= {f"{network}_ben" for network in NETWORKS}
    assert timm.create_model("resnet18_tsx.grsl2020", num_classes=3).pretrained_cfg["tag"] == "grsl2020"
    assert timm.create_model("swin_t_osu", in_chans=1, num_classes=4)(torch.zeros(1, 1, 128, 128)).shape == (1, 4)


def test_bare_architectures_in_timm_have_no_weights():
    assert timm.create_model("sarhub_senet50", num_classes=3).num_classes == 3
    for name in ("sarhub_resnet18", "sarhub_mobilenetv3"):
        with pytest.raises(OptionError, match="no weights of its own"):
            timm.create_model(name, pretrained=True)


@pytest.mark.slow
def test_timm_keeps_the_trained_head_of_the_same_size(tmp_path):
    sarhub.import_checkpoint(release(tmp_path, "mobilenetv3"))
    model = timm.create_model("mobilenetv3_tsx", pretrained=True, num_classes=32).eval()
    with torch.inference_mode():
        assert_same_output(model(image()), loaded("mobilenetv3")(image()))


@pytest.mark.slow
@pytest.mark.parametrize("content", ["{", None])
def test_a_list_of_weights_never_breaks_timm(tmp_path, content):
    manifest = tmp_path / "manifest.json"
    if content is None:  # a model that is called like one of timm's
        data = json.loads(MANIFEST.read_text())
        data["models"]["resnet18"] = data["models"]["resnet18_tsx"]
        content = json.dumps(data)
    manifest.write_text(content)
    code = "import sarhub_models, timm; print(type(timm.create_model('resnet18')).__name__)"
    environment = {**os.environ, "SARHUB_MANIFEST": str(manifest)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.strip() == "ResNet"
    assert "UserWarning" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("order", ["import timm, sarhub_models", "import sarhub_models, timm"])
def test_names_are_in_timm_in_any_order_of_imports(order):
    code = f"{order}; timm.create_model('senet50_tsx'); print(timm.is_model('resnet50_ben'), 'done')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "done"]


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_segmentation_models_pytorch_takes_them_as_encoders(network):
    import segmentation_models_pytorch as smp

    if network.startswith("swin"):
        # Swin has no stride-2 stage; Unet pads the pyramid for such encoders.
        options = {"encoder_depth": 4, "decoder_channels": (64, 32, 16, 8)}
    else:
        options = {}
    model = smp.Unet(f"tu-{network}_ben", encoder_weights=None, in_channels=1, classes=2, **options).eval()
    with torch.inference_mode():
        assert model(torch.zeros(1, 1, 128, 128)).shape[:2] == (1, 2)


@pytest.mark.slow
def test_unet_starts_from_the_trained_weights(tmp_path):
    import segmentation_models_pytorch as smp

    sarhub.import_checkpoint(release(tmp_path, "resnet50", 19, "BEN"))
    model = smp.Unet("tu-resnet50_ben", encoder_weights="imagenet", in_channels=3, classes=2)
    trained = checkpoint("resnet50", 19)
    assert torch.equal(model.encoder.model.layer4[0].conv1.weight, trained["layer4.0.conv1.weight"])


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_is_one_graph_for_the_compiler(network):
    model = loaded(network)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert torch.equal(compiled(image()), model(image()))


@pytest.mark.slow
def test_compiled_code_gives_the_same():
    model = loaded("resnet18")
    with torch.no_grad():
        assert torch.allclose(torch.compile(model)(image()), model(image()), atol=1e-5)


def test_unknown_names_are_explained():
    with pytest.raises(UnknownNameError, match="swin_t_tsx"):
        sarhub.create_model("swin_tiny_tsx")
    with pytest.raises(UnknownNameError, match="resnet18_osu"):
        sarhub.create_transform("resnet18_oss")
