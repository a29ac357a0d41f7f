"""The cache: what is believed, what is kept, what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sarhub_models.errors import (
    CheckpointError,
    DownloadError,
    IntegrityError,
    ManifestError,
    OfflineError,
    UnknownNameError,
)
from sarhub_models.weights import Store, sources
from sarhub_models.zoo.manifest import Checksum, load_manifest

from . import tiny
from .loopback import FileServer
from .tiny import INFO, NAME, SPEC, info


def http(server: FileServer, path: str = "/w.pth") -> dict[str, str]:
    return {"type": "http", "url": server.url + path}


def sha256(data: bytes) -> Checksum:
    return Checksum("sha256", hashlib.sha256(data).hexdigest())


def git_blob(data: bytes) -> Checksum:
    return Checksum("git-blob", hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())


def assert_same(path: Path, seed: int = 0) -> None:
    found = load_file(path)
    wanted = tiny.tensors(seed=seed)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def quarantined(store: Store) -> list[Path]:
    return list((store.root / "quarantine").glob("*"))


def test_a_download_is_converted_cached_and_not_repeated(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = data = tiny.pth()
    path = store.path(info(http(server)), SPEC)
    assert path == store.root / f"{NAME}.safetensors"
    assert_same(path)
    with safe_open(path, "pt") as file:
        known = file.metadata()
    assert known["format"] == "pt"
    assert known["model"] == NAME
    assert known["source"] == server.url + "/w.pth"
    assert known["original_sha256"] == sha256(data).value
    assert known["original_git_blob"] == git_blob(data).value
    assert known["package"].startswith("sarhub-models ")
    assert store.path(info(http(server)), SPEC) == path
    assert len(server.log) == 1
    assert not list(store.root.rglob("*.pth"))
    assert not list((store.root / "downloads").iterdir())


@pytest.mark.parametrize("checksum", [sha256, git_blob])
def test_a_published_hash_is_checked(server: FileServer, store: Store, checksum) -> None:
    server.files["/good"], server.files["/bad"] = tiny.pth(), tiny.pth(tiny.released(seed=1))
    right = checksum(server.files["/good"])
    with pytest.raises(IntegrityError, match=f"{NAME}.*expected the {right.algorithm} hash {right.value}.*sarhub"):
        store.path(info(http(server, "/bad"), checksum=right), SPEC)
    assert store.cached(INFO) is None
    assert [path.read_bytes() for path in quarantined(store)] == [server.files["/bad"]]
    assert_same(store.path(info(http(server, "/bad"), http(server, "/good"), checksum=right), SPEC))
    assert not (store.root / "pins").exists(), "a published hash needs no pin"


def test_the_next_source_is_tried_and_all_are_named_when_none_delivers(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = tiny.pth()
    manual = {"type": "manual", "url": "https://pan.example/s/1", "code": "hy18"}
    with pytest.raises(DownloadError) as caught:
        store.path(info(http(server, "/none"), manual), SPEC)
    message = str(caught.value)
    for part in (NAME, f"{server.url}/none", "404", "https://pan.example/s/1", "hy18", "sarhub import FILE"):
        assert part in message
    assert_same(store.path(info(http(server, "/none"), manual, http(server)), SPEC))


def test_an_unknown_hash_is_pinned_and_the_pin_survives_removal(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = first = tiny.pth()
    model = info(http(server))
    store.path(model, SPEC)
    pin = json.loads((store.root / "pins" / f"{NAME}.json").read_text())
    assert pin["sha256"] == sha256(first).value
    store.remove(NAME)
    assert store.entries() == []
    server.files["/w.pth"] = second = tiny.pth(tiny.released(seed=1))
    with pytest.raises(IntegrityError, match=f"{sha256(first).value}.*sarhub cache remove {NAME} --forget-pin"):
        store.path(model, SPEC)
    assert store.cached(INFO) is None
    assert [path.read_bytes() for path in quarantined(store)] == [second]
    with pytest.raises(IntegrityError):
        store.path(model, SPEC)
    server.files["/w.pth"] = first
    assert_same(store.path(model, SPEC))
    store.remove(NAME, forget_pin=True)
    server.files["/w.pth"] = second
    assert_same(store.path(model, SPEC), seed=1)


def test_weights_without_a_pin_can_be_removed_with_it(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = tiny.pth()
    store.path(info(http(server), checksum=sha256(tiny.pth())), SPEC)
    store.remove(NAME, forget_pin=True)
    assert store.entries() == []


def test_a_file_that_fails_its_checks_is_not_pinned(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = tiny.pth({"other": torch.ones(2)})
    with pytest.raises(CheckpointError, match="another network"):
        store.path(info(http(server)), SPEC)
    server.files["/w.pth"] = tiny.pth()
    assert_same(store.path(info(http(server)), SPEC))


def test_an_unreadable_pin_is_an_error(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = tiny.pth()
    pin = store.root / "pins" / f"{NAME}.json"
    pin.parent.mkdir(parents=True)
    pin.write_text("{")
    with pytest.raises(IntegrityError, match="--forget-pin"):
        store.path(info(http(server)), SPEC)
    store.remove(NAME, forget_pin=True)
    assert_same(store.path(info(http(server)), SPEC))


@pytest.mark.parametrize("variable", ["SARHUB_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_never_touches_the_network(
    server: FileServer, store: Store, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    server.files["/w.pth"] = tiny.pth()
    model = info(http(server), {"type": "google_drive", "folder": "x" * 33, "match": ["a"]})
    monkeypatch.setenv(variable, "1")
    with pytest.raises(OfflineError, match=rf"{NAME}.*{variable}.*SARHUB_MIRROR"):
        store.path(model, SPEC)
    assert server.log == []
    monkeypatch.delenv(variable)
    path = store.path(model, SPEC)
    monkeypatch.setenv(variable, "1")
    assert store.path(model, SPEC) == path
    assert len(server.log) == 1


def test_a_copied_cache_is_a_mirror_even_offline(
    server: FileServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/w.pth"] = data = tiny.pth()
    store.path(info(http(server), checksum=git_blob(data)), SPEC)
    monkeypatch.setenv("SARHUB_MIRROR", str(store.root))
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    other = Store(tmp_path / "other")
    model = info(http(server), checksum=git_blob(data))
    assert_same(other.path(model, SPEC))
    assert len(server.log) == 1
    entry = other.entries()[0]
    assert (entry.source, entry.original_sha256) == (f"mirror {store.root}", sha256(data).value)


def test_a_mirror_comes_first_and_may_hold_released_files(
    server: FileServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{NAME}.pth").write_bytes(tiny.pth(tiny.released(seed=5)))
    server.files["/w.pth"] = tiny.pth()
    monkeypatch.setenv("SARHUB_MIRROR", str(tmp_path))
    assert_same(store.path(info(http(server)), SPEC), seed=5)
    assert server.log == []


def test_a_mirror_over_http(server: FileServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files[f"/mirror/{NAME}.pth"] = tiny.pth()
    monkeypatch.setenv("SARHUB_MIRROR", server.url + "/mirror/")
    assert_same(store.path(info(), SPEC))
    assert [request.status for request in server.log] == [404, 200]
    store.remove(NAME)
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    with pytest.raises(OfflineError):
        store.path(info(), SPEC)
    assert len(server.log) == 2


def test_a_mirror_that_lacks_the_file_is_passed_over(
    server: FileServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SARHUB_MIRROR", str(tmp_path / "missing"))
    with pytest.raises(DownloadError, match=rf"mirror .*missing.*{NAME}\.safetensors nor {NAME}\.pth"):
        store.path(info(http(server)), SPEC)
    server.files["/w.pth"] = tiny.pth()
    assert_same(store.path(info(http(server)), SPEC))


def test_a_damaged_mirror_is_refused_and_the_next_source_used(
    server: FileServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/w.pth"] = tiny.pth()
    mirrored = store.path(info(http(server)), SPEC)
    content = bytearray(mirrored.read_bytes())
    content[-5] ^= 1
    mirrored.write_bytes(content)
    monkeypatch.setenv("SARHUB_MIRROR", str(store.root))
    other = Store(tmp_path / "other")
    with pytest.raises(IntegrityError, match="recorded content hash"):
        other.path(info(), SPEC)
    assert_same(other.path(info(http(server)), SPEC))


def test_only_a_mirror_is_believed_about_the_origin_of_a_file(server: FileServer, store: Store, tmp_path: Path) -> None:
    """A converted file on the web that claims the published hash is judged by its own bytes."""
    server.files["/w.pth"] = data = tiny.pth()
    server.files["/forged"] = store.path(info(http(server)), SPEC).read_bytes()
    with pytest.raises(IntegrityError, match=sha256(data).value):
        Store(tmp_path / "other").path(info(http(server, "/forged"), checksum=sha256(data)), SPEC)


def test_a_truncated_cached_file_is_put_aside_and_fetched_again(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = tiny.pth()
    path = store.path(info(http(server)), SPEC)
    path.write_bytes(path.read_bytes()[:-100])
    assert store.cached(INFO) is None
    assert store.entries() == []
    assert_same(store.path(info(http(server)), SPEC))
    assert len(quarantined(store)) == 1
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"cut off.*put in"):
        store.path(info(), SPEC)
    assert not path.exists()


def test_what_is_put_aside_has_the_name_of_its_model_and_is_cleared(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = tiny.pth()
    path = store.path(info(http(server)), SPEC)
    path.write_bytes(path.read_bytes()[:-10])
    store.path(info(http(server)), SPEC)
    (aside,) = quarantined(store)
    assert aside.name.startswith(f"{NAME}-") and aside in store.clearable()
    store.clear(forget_pins=True)
    assert not quarantined(store) and not store.clearable(forget_pins=True)


def test_what_is_not_there_is_not_removed(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = tiny.pth()
    store.path(info(http(server)), SPEC)
    store.remove(NAME)
    with pytest.raises(UnknownNameError):  # the pin alone is left
        store.remove(NAME)
    store.remove(NAME, forget_pin=True)
    with pytest.raises(UnknownNameError):
        store.remove(NAME, forget_pin=True)


def test_weights_without_a_source_say_so(store: Store) -> None:
    with pytest.raises(DownloadError, match=r"Tried nothing: no source is known\. To fix it, run 'sarhub download"):
        store.path(dataclasses.replace(INFO, sources=()), SPEC)


def test_bundled_weights_are_used_where_they_lie(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BUNDLED", tmp_path)
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    model = info({"type": "bundled", "file": "toy.safetensors"})
    with pytest.raises(DownloadError, match="reinstall"):
        store.path(model, SPEC)
    bundled = tmp_path / "toy.safetensors"
    save_file(tiny.tensors(), bundled)
    assert store.path(model, SPEC) == bundled
    assert store.entries() == []
    bundled.write_bytes(bundled.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="reinstall"):
        store.path(model, SPEC)


def test_import_checks_converts_and_leaves_the_file(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "My Weights.pth"
    file.write_bytes(tiny.pth())
    model = info(checksum=sha256(file.read_bytes()))
    assert_same(store.import_file(file, model, SPEC))
    assert file.exists()
    assert store.entries()[0].source == "imported from My Weights.pth"
    file.write_bytes(tiny.pth(tiny.released(seed=1)))
    with pytest.raises(IntegrityError):
        store.import_file(file, model, SPEC)
    assert file.exists()
    assert_same(store.path(model, SPEC))
    with pytest.raises(FileNotFoundError, match="no file"):
        store.import_file(tmp_path / "none.pth", model, SPEC)


def test_import_takes_a_file_of_another_cache(server: FileServer, store: Store, tmp_path: Path) -> None:
    server.files["/w.pth"] = data = tiny.pth()
    model = info(http(server), checksum=sha256(data))
    converted = store.path(model, SPEC)
    assert_same(Store(tmp_path / "other").import_file(converted, model, SPEC))


def test_a_first_import_is_pinned(server: FileServer, store: Store, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(tiny.pth())
    store.import_file(tmp_path / "w.pth", INFO, SPEC)
    store.remove(NAME)
    server.files["/w.pth"] = tiny.pth(tiny.released(seed=1))
    with pytest.raises(IntegrityError):
        store.path(info(http(server)), SPEC)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/b", "..", ".hidden", "", "a\\b", "a\0b", "c:d"])
def test_no_name_leads_out_of_the_cache(store: Store, tmp_path: Path, name: str) -> None:
    (tmp_path / "w.pth").write_bytes(tiny.pth())
    before = sorted(tmp_path.rglob("*"))
    bad = dataclasses.replace(INFO, name=name)
    for act in (
        lambda: store.path(bad, SPEC),
        lambda: store.download(bad, SPEC),
        lambda: store.import_file(tmp_path / "w.pth", bad, SPEC),
        lambda: store.remove(name),
        lambda: store.cached(bad),
    ):
        with pytest.raises(ManifestError, match="file name"):
            act()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_manifest_with_a_name_that_climbs_is_refused(tmp_path: Path) -> None:
    manifest = json.loads(load_manifest().path.read_text())
    manifest["models"]["../../evil"] = manifest["models"]["resnet18_tsx"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ManifestError, match="evil"):
        load_manifest(tmp_path / "manifest.json")


def test_the_environment_moves_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SARHUB_CACHE", str(tmp_path / "here"))
    assert Store().root == tmp_path / "here"
    monkeypatch.delenv("SARHUB_CACHE")
    assert Store().root.name == "sarhub-models"
