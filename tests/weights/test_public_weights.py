"""Public weights from the Hub, through the real client and a Hub on loopback: pinned, verified, offline, mirrored."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import sarhub_models as sarhub
from sarhub_models import networks
from sarhub_models.errors import CheckpointError, IntegrityError, OfflineError
from sarhub_models.models.loading import spec_of
from sarhub_models.weights import Store
from sarhub_models.zoo.manifest import Checksum, ModelInfo, model_info
from tests.hub_server import HubServer

NAME = "resnet50_ssl4eo.moco"


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    """A stand-in for the released encoder: half a head that nobody trained, and tensors of two channels."""
    generator = torch.Generator().manual_seed(seed)
    layout = networks.tensor_layout("resnet50", num_classes=7, in_chans=2)
    return {
        key: torch.rand(shape, generator=generator) if dtype.is_floating_point else torch.zeros(shape, dtype=dtype)
        for key, (shape, dtype) in layout.items()
    }


def pth(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensors(seed), buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def released() -> bytes:
    return pth()


def served(hub: HubServer, body: bytes, *, prefix: str | None = None) -> ModelInfo:
    """Return the entry with its commit and hash replaced by those of a file on the local Hub."""
    info = model_info(NAME)
    (source,) = info.sources
    first = hub.commit(source["repo"], {source["filename"]: body})
    hub.commit(source["repo"], {source["filename"]: b"what somebody pushed later"})
    prefix = hashlib.sha256(body).hexdigest()[:8] if prefix is None else prefix
    return dataclasses.replace(
        info, sources=({**source, "revision": first},), checksum=Checksum("sha256-prefix", prefix)
    )


def fetch(store: Store, info: ModelInfo) -> Path:
    return store.path(info, spec_of(info), progress=False)


def pin(store: Store) -> Path:
    return store.root / "pins" / f"{NAME}.json"


@pytest.mark.slow
def test_the_pinned_revision_comes_and_its_whole_hash_is_pinned(hub: HubServer, store: Store, released: bytes) -> None:
    info = served(hub, released)
    path = fetch(store, info)
    revision = info.sources[0]["revision"]
    assert {place for _, place in hub.log if "/resolve/" in place} == {
        f"/{info.sources[0]['repo']}/resolve/{revision}/{info.sources[0]['filename']}"
    }
    found, expected = load_file(path), tensors()
    assert found.keys() == expected.keys() - {"fc.weight", "fc.bias"}, "weights without a head of their own lose it"
    assert all(torch.equal(found[key], expected[key]) for key in found)
    assert json.loads(pin(store).read_text())["sha256"] == hashlib.sha256(released).hexdigest()
    asked = len(hub.log)
    assert fetch(store, info) == path
    assert len(hub.log) == asked


@pytest.mark.slow
def test_a_wrong_prefix_is_refused(hub: HubServer, store: Store, released: bytes) -> None:
    info = served(hub, released, prefix="00c0ffee")
    with pytest.raises(IntegrityError, match=r"a SHA-256 that starts with 00c0ffee, found [0-9a-f]{64}.*put in"):
        fetch(store, info)
    assert store.cached(info) is None
    assert not pin(store).exists()
    assert [path.read_bytes() for path in (store.root / "quarantine").iterdir()] == [released]


@pytest.mark.slow
def test_another_file_with_the_same_prefix_is_refused_after_the_first(
    hub: HubServer, store: Store, released: bytes
) -> None:
    whole = hashlib.sha256(released).hexdigest()
    fetch(store, served(hub, released))
    store.remove(NAME)
    pin(store).write_text(json.dumps({"sha256": whole[:8] + "0" * 56}))  # stands for a first file that hashed so
    with pytest.raises(IntegrityError, match="of the first download"):
        fetch(store, served(hub, released))


@pytest.mark.slow
def test_a_cached_file_of_another_release_is_not_used(hub: HubServer, store: Store, released: bytes) -> None:
    path = fetch(store, served(hub, released))
    stranger = dataclasses.replace(served(hub, released), checksum=Checksum("sha256-prefix", "00c0ffee"))
    assert store.cached(stranger) is None
    (verified,) = store.verify(NAME)  # against the real entry of the list, whose file this is not
    assert not verified.ok and "starts" not in str(path)


@pytest.mark.slow
def test_offline_the_cache_is_enough(
    hub: HubServer, store: Store, released: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = served(hub, released)
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="SARHUB_MIRROR"):
        fetch(store, info)
    assert hub.log == []
    monkeypatch.delenv("SARHUB_OFFLINE")
    path = fetch(store, info)
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    asked = len(hub.log)
    assert fetch(store, info) == path
    assert len(hub.log) == asked


@pytest.mark.slow
@pytest.mark.parametrize("converted", [True, False])
def test_a_mirror_comes_first_and_is_verified(
    hub: HubServer, store: Store, released: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, converted: bool
) -> None:
    info = served(hub, released)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    if converted:
        fetch(Store(mirror), info)
    else:
        (mirror / f"{NAME}.pth").write_bytes(released)
    asked = len(hub.log)
    monkeypatch.setenv("SARHUB_MIRROR", str(mirror))
    assert load_file(fetch(store, info)).keys() == tensors().keys() - {"fc.weight", "fc.bias"}
    assert len(hub.log) == asked
    (mirror / f"{NAME}.safetensors").unlink(missing_ok=True)
    (mirror / f"{NAME}.pth").write_bytes(pth(seed=1))
    with pytest.raises(IntegrityError, match="starts with"):
        fetch(Store(tmp_path / "other"), dataclasses.replace(info, sources=()))


@pytest.mark.slow
def test_a_file_of_three_channels_is_refused(hub: HubServer, store: Store) -> None:
    buffer = io.BytesIO()
    state = tensors()
    state["conv1.weight"] = torch.rand(64, 3, 7, 7)
    torch.save(state, buffer)
    with pytest.raises(CheckpointError, match=r"conv1\.weight must have the shape \(64, 2, 7, 7\)"):
        fetch(store, served(hub, buffer.getvalue()))


@pytest.mark.slow
def test_imported_by_the_name_of_the_released_file(tmp_path: Path) -> None:
    file = tmp_path / "B2_rn50_softcon.pth"
    file.write_bytes(pth())
    decision = sarhub.import_checkpoint(file)
    assert decision.info.name == "resnet50_ssl4eo.softcon"
    assert "its name is that of the released file" in decision.reasons
    assert sarhub.create_model("resnet50_ssl4eo.softcon", pretrained=True).num_classes == 0
    own = tmp_path / "mine.pth"
    own.write_bytes(pth())
    with pytest.raises(CheckpointError, match="cannot tell which model"):
        sarhub.import_checkpoint(own)
    with pytest.raises(IntegrityError, match="starts with 906e4356"):
        sarhub.import_checkpoint(own, name=NAME)
    with pytest.raises(CheckpointError, match=r"is not resnet50_ben, a resnet50 with 3 channels"):
        sarhub.import_checkpoint(own, name="resnet50_ben")


@pytest.mark.slow
def test_the_command_line_downloads_from_the_hub(hub: HubServer, released: bytes, tmp_path: Path) -> None:
    info = served(hub, released)
    manifest = json.loads((Path(sarhub.__file__).parents[1] / "weights_manifest.json").read_text())
    manifest["models"][NAME] |= {"sources": list(info.sources), "checksum": dataclasses.asdict(info.checksum)}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    environment = {**os.environ, "SARHUB_MANIFEST": str(tmp_path / "manifest.json")}
    command = [sys.executable, "-m", "sarhub_models", "download", NAME, "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=600)
    (row,) = json.loads(result.stdout)
    assert row["error"] is None and row["name"] == NAME
    assert Path(row["path"]).is_file()
