"""What the cache holds: listed, hashed anew, replaced, removed; and files of others left alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from sarhub_models.errors import (
    CheckpointError,
    OfflineError,
    UnknownNameError,
)
from sarhub_models.weights import Store, sources, write_weights
from sarhub_models.zoo.manifest import ModelInfo, load_manifest

from . import tiny
from .loopback import FileServer
from .test_store import assert_same, git_blob, http, quarantined, sha256
from .tiny import INFO, NAME, SPEC, info


def test_verify_finds_one_changed_byte_and_puts_the_file_aside(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = tiny.pth()
    path = store.path(info(http(server)), SPEC)
    assert [(result.name, result.ok) for result in store.verify(NAME)] == [(NAME, True)]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert store.cached(INFO) is not None, "of the right length, so only hashing tells"
    (result,) = store.verify(NAME)
    assert not result.ok
    assert result.problem is not None and f"sarhub download {NAME}" in result.problem
    assert not path.exists()
    assert_same(store.path(info(http(server)), SPEC))
    assert store.verify(NAME)[0].ok


@pytest.mark.slow
@given(st.data())
def test_verify_finds_any_changed_tensor_byte(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    store = Store(tmp_path_factory.mktemp("cache"))
    released = store.root / "w.pth"
    released.write_bytes(tiny.pth())
    path = store.import_file(released, INFO, SPEC)
    content = bytearray(path.read_bytes())
    size = 4 * (256 * 256 + 3 * 256) + 8
    content[len(content) - 1 - data.draw(st.integers(0, size - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    assert not store.verify(NAME)[0].ok


def test_verify_hashes_bundled_files(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BUNDLED", tmp_path)
    bundled = tmp_path / "toy.safetensors"
    save_file(tiny.tensors(), bundled)
    entry = {"type": "bundled", "file": "toy.safetensors"}
    checksum = dataclasses.asdict(sha256(bundled.read_bytes()))
    use_manifest(monkeypatch, tmp_path, sources=[entry], checksum=checksum)
    assert [(result.path, result.ok) for result in store.verify()] == [(bundled, True)]
    save_file(tiny.tensors(seed=1), bundled)
    (result,) = store.verify()
    assert result.problem is not None and "reinstall" in result.problem
    assert bundled.exists()


def use_manifest(monkeypatch: pytest.MonkeyPatch, folder: Path, **fields: object) -> ModelInfo:
    """Put a list of weights into use whose only model, ``resnet18_tsx``, has these fields."""
    manifest = json.loads(load_manifest().path.read_text())
    manifest["models"] = {"resnet18_tsx": manifest["models"]["resnet18_tsx"] | fields}
    file = folder / f"manifest{len(list(folder.glob('manifest*')))}.json"
    file.write_text(json.dumps(manifest))
    monkeypatch.setenv("SARHUB_MANIFEST", str(file))
    return load_manifest().models["resnet18_tsx"]


@pytest.mark.parametrize("checksum", [sha256, git_blob])
def test_weights_of_another_release_are_not_the_cached_ones(
    server: FileServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checksum
) -> None:
    first, server.files["/w.pth"] = tiny.pth(), tiny.pth(tiny.released(seed=1))
    (tmp_path / "v1.pth").write_bytes(first)
    old, new = (dataclasses.asdict(checksum(data)) for data in (first, server.files["/w.pth"]))
    model = use_manifest(monkeypatch, tmp_path, sources=[http(server)], checksum=old)
    store.import_file(tmp_path / "v1.pth", model, SPEC)
    assert store.verify()[0].ok

    model = use_manifest(monkeypatch, tmp_path, sources=[http(server)], checksum=new)
    assert store.cached(model) is None
    (result,) = store.verify()
    assert result.problem is not None
    for part in ("another release", old["value"], new["value"], "sarhub cache remove resnet18_tsx"):
        assert part in result.problem
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="made from another release"):
        store.path(model, SPEC)
    assert quarantined(store) == [], "the file is intact and may be wanted again"
    monkeypatch.delenv("SARHUB_OFFLINE")
    assert_same(store.path(model, SPEC), seed=1)
    assert store.verify()[0].ok
    assert len(server.log) == 1


def test_an_older_cached_release_gives_way_to_the_bundled_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v1.pth").write_bytes(tiny.pth())
    cached = store.import_file(tmp_path / "v1.pth", INFO, SPEC)
    monkeypatch.setattr(sources, "BUNDLED", tmp_path)
    bundled = tmp_path / "toy.safetensors"
    save_file(tiny.tensors(seed=1), bundled)
    entry = {"type": "bundled", "file": "toy.safetensors"}
    assert store.path(info(entry), SPEC) == cached
    assert store.path(info(entry, checksum=sha256(bundled.read_bytes())), SPEC) == bundled


def foreign_files(folder: Path) -> list[Path]:
    """Write files of a user beside the weights; ``b`` claims to be weights of this package, but not these."""
    folder.mkdir(exist_ok=True)
    for name in ("features", "my run"):
        save_file({"features": torch.ones(2)}, folder / f"{name}.safetensors")
    write_weights(tiny.tensors(), folder / "my weights.safetensors", info={"model": "my weights"})
    write_weights(tiny.tensors(), folder / "b.safetensors", info={"model": "a"})
    (folder / "broken.safetensors").write_bytes(b"half")
    return sorted(folder.glob("*.safetensors"))


def test_files_of_others_in_the_folder_are_left_alone(store: Store, tmp_path: Path) -> None:
    others = foreign_files(store.root)
    (tmp_path / "w.pth").write_bytes(tiny.pth())
    store.import_file(tmp_path / "w.pth", INFO, SPEC)
    assert [entry.name for entry in store.entries()] == [NAME]
    cached = [result for result in store.verify() if result.path.parent == store.root]  # the package has some, too
    assert [(result.name, result.ok) for result in cached] == [(NAME, True)]
    for ask in (store.remove, store.verify):
        with pytest.raises(UnknownNameError, match="features"):
            ask("features")
    store.clear()
    assert store.entries() == []
    assert sorted(store.root.glob("*.safetensors")) == others


@pytest.mark.parametrize("foreign", [False, True])
def test_only_weights_of_the_model_have_its_name(
    server: FileServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, foreign: bool
) -> None:
    """Whatever has a model's name without being its weights is never loaded, and verified as damage."""
    server.files["/w.pth"] = tiny.pth()
    model = use_manifest(monkeypatch, tmp_path, sources=[http(server)], checksum=None)
    file = store.root / f"{model.name}.safetensors"
    store.root.mkdir()

    def occupy() -> None:
        if foreign:
            save_file(tiny.tensors(seed=1), file)
        else:
            write_weights(tiny.tensors(seed=1), file, info={"model": "other"})

    occupy()
    assert store.entries() == []
    assert_same(store.path(model, SPEC))
    assert len(quarantined(store)) == 1
    occupy()
    (result,) = store.verify()
    assert result.problem is not None and "quarantine" in result.problem
    assert not file.exists()


def test_clear_leaves_only_what_is_not_of_the_cache(server: FileServer, store: Store, tmp_path: Path) -> None:
    server.files["/w.pth"] = tiny.pth({"other": torch.ones(1)})
    model = info(http(server))
    with pytest.raises(CheckpointError):
        store.path(model, SPEC)
    server.files["/w.pth"] = tiny.pth()
    store.path(model, SPEC)
    part = store.root / "downloads" / "half_toy" / "half_toy.part"
    part.parent.mkdir()
    part.write_bytes(b"half")
    temporary = store.root / ".killed_toy.safetensors.abc.tmp" / ".tmpXYZ"
    temporary.parent.mkdir()
    temporary.write_bytes(b"half")
    pin = store.root / "pins" / f"{NAME}.json"
    kept = store.root / "data" / "chips.npz"
    kept.parent.mkdir()
    kept.write_bytes(b"chips")
    gone = {store.root / f"{NAME}.safetensors", part, temporary, *quarantined(store)}
    assert len(gone) == 4
    assert set(store.clearable()) == gone
    store.clear()
    assert not [path for path in gone if path.exists()]
    assert store.clearable() == []
    assert pin.exists() and kept.exists()
    assert store.clearable(forget_pins=True) == [pin]
    store.clear(forget_pins=True)
    assert not pin.exists() and kept.exists()


def test_unknown_names(store: Store, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(tiny.pth())
    store.import_file(tmp_path / "w.pth", INFO, SPEC)
    for ask in (store.remove, store.verify):
        with pytest.raises(UnknownNameError, match=f"'tiny_tov'.*did you mean '{NAME}'"):
            ask("tiny_tov")


def test_remove_also_drops_an_interrupted_download(store: Store) -> None:
    folder = store.root / "downloads" / NAME
    folder.mkdir(parents=True)
    (folder / f"{NAME}.part").write_bytes(b"half")
    store.remove(NAME)
    assert not folder.exists()
