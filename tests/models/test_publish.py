"""Publishing to a Hub on loopback with the real client, and reading back with it, with this package and with timm."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import sarhub_models
from sarhub_models.cli import main
from sarhub_models.errors import ManifestError, OfflineError, OptionError
from sarhub_models.models import publish
from sarhub_models.models.loading import spec_of
from sarhub_models.weights import Store
from sarhub_models.zoo.manifest import ModelInfo
from tests.hub_server import use_hub
from tests.hub_upload_server import TOKEN, UploadServer

REPO = "organization/model"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[UploadServer]:
    from huggingface_hub import constants

    torch.set_num_threads(1)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with UploadServer() as running:
        use_hub(monkeypatch, running.url, tmp_path / "hf")
        yield running


def trained(name: str, folder: Path, classes: int | None = None) -> tuple[nn.Module, Path]:
    """Return a network with random weights in place of trained ones, and the file that holds them."""
    model = sarhub_models.create_model(name, num_classes=classes).eval()
    torch.save(model.state_dict(), folder / f"{name}.pth")
    return model, folder / f"{name}.pth"


def arguments(name: str, checkpoint: Path, *more: str) -> list[str]:
    own = ["--checkpoint", str(checkpoint), "--preprocessing", name]
    return ["publish", name, "--repo", REPO, *own, "--i-have-permission", *more]


def logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(images)


@pytest.mark.slow
def test_published_network_reads_back(hub: UploadServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "mobilenetv3_ben"
    model, checkpoint = trained(name, tmp_path)
    assert main(arguments(name, checkpoint, "--private")) == 0
    assert capsys.readouterr().out.strip().startswith(f"{hub.url}/{REPO}/commit/")
    assert hub.private == {REPO: True}
    assert hub.summaries == [f"Add {name}"]
    (files,) = hub.commits[REPO].values()
    assert files.keys() == {"README.md", "config.json", "model.safetensors"}

    again = sarhub_models.create_model(f"hf-hub:{REPO}", pretrained=True)
    images = torch.randn(2, 3, 128, 128)
    torch.testing.assert_close(logits(again, images), logits(model, images))
    chip = torch.rand(64, 64)
    expected = sarhub_models.create_transform(name)(chip)
    torch.testing.assert_close(sarhub_models.create_transform(f"hf-hub:{REPO}")(chip), expected)


def test_the_published_entry_tells_where_its_weights_are(hub: UploadServer, tmp_path: Path) -> None:
    name = "mobilenetv3_osu"
    model, checkpoint = trained(name, tmp_path)
    publish.publish(name, REPO, checkpoint_path=checkpoint, preprocessing=name, permitted=True)
    (files,) = hub.commits[REPO].values()
    info = ModelInfo.from_dict(json.loads(files["config.json"])["sarhub"])
    path = Store(tmp_path / "other").path(info, spec_of(info), progress=False)
    assert torch.equal(load_file(path)["conv_stem.weight"], model.state_dict()["conv_stem.weight"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18_osu", "swin_t_osu"])
def test_plain_timm_reads_its_own_networks(name: str, hub: UploadServer, tmp_path: Path) -> None:
    model, checkpoint = trained(name, tmp_path)
    assert main(arguments(name, checkpoint)) == 0
    images = torch.randn(2, 3, 128, 128)
    torch.save((images, logits(model, images)), tmp_path / "expected.pt")
    code = (
        "import sys, timm, torch; torch.set_num_threads(1); images, expected = torch.load(sys.argv[1]);"
        f"model = timm.create_model('hf-hub:{REPO}', pretrained=True).eval();"
        "torch.testing.assert_close(model(images), expected);"
        f"assert timm.create_model('hf-hub:{REPO}', pretrained=True, num_classes=3)(images).shape == (2, 3);"
        "assert 'sarhub_models' not in sys.modules; print(model.pretrained_cfg['mean'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "expected.pt")], capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stderr
    assert "0.3159206957121415" in result.stdout
    again = sarhub_models.create_model(f"hf-hub:{REPO}", pretrained=True)
    torch.testing.assert_close(logits(again, images), logits(model, images))


@pytest.mark.slow
@pytest.mark.parametrize("network", ["senet50", "mobilenetv3"])
def test_timm_reads_our_networks_where_this_package_is(network: str, hub: UploadServer, tmp_path: Path) -> None:
    import timm

    model, checkpoint = trained(f"{network}_osu", tmp_path)
    assert main(arguments(f"{network}_osu", checkpoint)) == 0
    images = torch.randn(1, 3, 64, 64)
    again = timm.create_model(f"hf-hub:{REPO}", pretrained=True)
    torch.testing.assert_close(logits(again, images), logits(model, images))


@pytest.mark.slow
def test_a_head_of_unknown_size_is_described_as_it_is(hub: UploadServer, tmp_path: Path) -> None:
    _, checkpoint = trained("resnet18_tsx.grsl2020", tmp_path, classes=7)
    name = "resnet18_tsx.grsl2020"
    publish.publish(name, REPO, checkpoint_path=checkpoint, preprocessing=name, permitted=True)
    (files,) = hub.commits[REPO].values()
    entry = json.loads(files["config.json"])["sarhub"]
    assert entry["num_classes"] == 7
    assert entry["class_names"] is None
    assert entry["params"] == 11_176_512 + 512 * 7 + 7
    assert sarhub_models.create_model(f"hf-hub:{REPO}", pretrained=True).num_classes == 7


@pytest.mark.slow
def test_an_existing_repository_gets_another_commit(hub: UploadServer, tmp_path: Path) -> None:
    _, checkpoint = trained("mobilenetv3_osu", tmp_path)
    for _ in range(2):
        assert main(arguments("mobilenetv3_osu", checkpoint)) == 0
        trained("mobilenetv3_osu", tmp_path)
    assert len(hub.commits[REPO]) == 2


def test_dry_run_writes_and_uploads_nothing(hub: UploadServer, tmp_path: Path) -> None:
    _, checkpoint = trained("mobilenetv3_tsx", tmp_path)
    out = tmp_path / "out"
    assert main(arguments("mobilenetv3_tsx", checkpoint, "--dry-run", "--out", str(out))) == 0
    assert {file.name for file in out.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert hub.log == []
    card = (out / "README.md").read_text()
    header, text = card.split("---\n")[1:]
    assert "license: unknown" in header
    for fact in ("b = 4", "0.023696591996910408", f"hf-hub:{REPO}", "10.3390/rs15235534", "No license was published"):
        assert fact in text


def test_licensed_weights_need_no_permission(
    hub: UploadServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sarhub_models.zoo.manifest import manifest_path

    manifest = json.loads(manifest_path().read_text())
    manifest["models"] = {"mobilenetv3_osu": {**manifest["models"]["mobilenetv3_osu"], "license": "apache"}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("SARHUB_MANIFEST", str(tmp_path / "manifest.json"))
    _, checkpoint = trained("mobilenetv3_osu", tmp_path)
    publish.publish("mobilenetv3_osu", REPO, checkpoint_path=checkpoint, preprocessing="mobilenetv3_osu")
    (files,) = hub.commits[REPO].values()
    card = files["README.md"].decode()
    assert "license: apache-2.0" in card
    assert "No license was published" not in card


def test_unlicensed_weights_are_refused(hub: UploadServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--dry-run", "--out", str(tmp_path / "out")]):
        assert main(["publish", "resnet50_ben", "--repo", REPO, *more]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "--i-have-permission" in err
        assert "XAI4SAR/SAR-HUB" in err
    assert hub.log == []
    assert not (tmp_path / "out").exists()


def test_refusals_of_the_hub_are_one_line(
    hub: UploadServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, checkpoint = trained("mobilenetv3_osu", tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert main(arguments("mobilenetv3_osu", checkpoint)) == 1
    err = capsys.readouterr().err
    assert [line for line in err.splitlines() if "sarhub: warning" not in line] == [err.splitlines()[-1]]
    assert "401" in err
    assert "hf auth login" in err
    assert hub.commits == {}


@pytest.mark.parametrize("repo", ["name", "a/b/c", "a/-b", "https://huggingface.co/a/b"])
def test_names_of_repositories_are_checked_first(repo: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="repositor"):
        publish.write_repository("mobilenetv3_osu", tmp_path / "out", repo, permitted=True)
    assert not (tmp_path / "out").exists()


def test_offline_nothing_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    with pytest.raises(OfflineError):
        publish.publish("mobilenetv3_osu", REPO, permitted=True)


def test_files_get_the_permissions_of_the_umask(tmp_path: Path) -> None:
    files = publish.write_repository("mobilenetv3_dsn", tmp_path, REPO)
    assert len({file.stat().st_mode for file in files}) == 1


@pytest.mark.parametrize("change", [{"input": []}, {"dataset": "abc"}, {"preprocessing": []}, {"checksum": 5}])
def test_a_configuration_with_fields_of_other_types_is_refused(change: dict[str, object]) -> None:
    entry = sarhub_models.model_info("mobilenetv3_dsn").to_dict()
    with pytest.raises(ManifestError, match="not the description of a model"):
        ModelInfo.from_dict({**entry, **change})
