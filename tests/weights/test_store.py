"""The cache: what is believed, what is kept, what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
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
from sarhub_models.registry import Checksum, ModelInfo, load_manifest
from sarhub_models.weights import Store, sources, write_weights

from . import tiny
from .loopback import FileServer
from .tiny import INFO, LAYOUT, NAME, info


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
    path = store.path(info(http(server)), LAYOUT)
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
    assert store.path(info(http(server)), LAYOUT) == path
    assert len(server.log) == 1
    assert not list(store.root.rglob("*.pth"))
    assert not list((store.root / "downloads").iterdir())


@pytest.mark.parametrize("checksum", [sha256, git_blob])
def test_a_published_hash_is_checked(server: FileServer, store: Store, checksum) -> None:
    server.files["/good"], server.files["/bad"] = tiny.pth(), tiny.pth(tiny.released(seed=1))
    right = checksum(server.files["/good"])
    with pytest.raises(IntegrityError, match=f"{NAME}.*expected the {right.algorithm} hash {right.value}.*sarhub"):
        store.path(info(http(server, "/bad"), checksum=right), LAYOUT)
    assert store.cached(INFO) is None
    assert [path.read_bytes() for path in quarantined(store)] == [server.files["/bad"]]
    assert_same(store.path(info(http(server, "/bad"), http(server, "/good"), checksum=right), LAYOUT))
    assert not (store.root / "pins").exists(), "a published hash needs no pin"


def test_the_next_source_is_tried_and_all_are_named_when_none_delivers(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = tiny.pth()
    manual = {"type": "manual", "url": "https://pan.example/s/1", "code": "hy18"}
    with pytest.raises(DownloadError) as caught:
        store.path(info(http(server, "/none"), manual), LAYOUT)
    message = str(caught.value)
    for part in (NAME, f"{server.url}/none", "404", "https://pan.example/s/1", "hy18", "sarhub import FILE"):
        assert part in message
    assert_same(store.path(info(http(server, "/none"), manual, http(server)), LAYOUT))


def test_an_unknown_hash_is_pinned_and_the_pin_survives_removal(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = first = tiny.pth()
    model = info(http(server))
    store.path(model, LAYOUT)
    pin = json.loads((store.root / "pins" / f"{NAME}.json").read_text())
    assert pin["sha256"] == sha256(first).value
    store.remove(NAME)
    assert store.entries() == []
    server.files["/w.pth"] = second = tiny.pth(tiny.released(seed=1))
    with pytest.raises(IntegrityError, match=f"{sha256(first).value}.*sarhub cache remove {NAME} --forget-pin"):
        store.path(model, LAYOUT)
    assert store.cached(INFO) is None
    assert [path.read_bytes() for path in quarantined(store)] == [second]
    with pytest.raises(IntegrityError):
        store.path(model, LAYOUT)
    server.files["/w.pth"] = first
    assert_same(store.path(model, LAYOUT))
    store.remove(NAME, forget_pin=True)
    server.files["/w.pth"] = second
    assert_same(store.path(model, LAYOUT), seed=1)


def test_a_file_that_fails_its_checks_is_not_pinned(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = tiny.pth({"other": torch.ones(2)})
    with pytest.raises(CheckpointError, match="another network"):
        store.path(info(http(server)), LAYOUT)
    server.files["/w.pth"] = tiny.pth()
    assert_same(store.path(info(http(server)), LAYOUT))


def test_an_unreadable_pin_is_an_error(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = tiny.pth()
    pin = store.root / "pins" / f"{NAME}.json"
    pin.parent.mkdir(parents=True)
    pin.write_text("{")
    with pytest.raises(IntegrityError, match="--forget-pin"):
        store.path(info(http(server)), LAYOUT)
    store.remove(NAME, forget_pin=True)
    assert_same(store.path(info(http(server)), LAYOUT))


@pytest.mark.parametrize("variable", ["SARHUB_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_never_touches_the_network(
    server: FileServer, store: Store, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    server.files["/w.pth"] = tiny.pth()
    model = info(http(server), {"type": "google_drive", "folder": "x" * 33, "match": ["a"]})
    monkeypatch.setenv(variable, "1")
    with pytest.raises(OfflineError, match=rf"{NAME}.*{variable}.*SARHUB_MIRROR"):
        store.path(model, LAYOUT)
    assert server.log == []
    monkeypatch.delenv(variable)
    path = store.path(model, LAYOUT)
    monkeypatch.setenv(variable, "1")
    assert store.path(model, LAYOUT) == path
    assert len(server.log) == 1


def test_a_copied_cache_is_a_mirror_even_offline(
    server: FileServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/w.pth"] = data = tiny.pth()
    store.path(info(http(server), checksum=git_blob(data)), LAYOUT)
    monkeypatch.setenv("SARHUB_MIRROR", str(store.root))
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    other = Store(tmp_path / "other")
    model = info(http(server), checksum=git_blob(data))
    assert_same(other.path(model, LAYOUT))
    assert len(server.log) == 1
    entry = other.entries()[0]
    assert (entry.source, entry.original_sha256) == (f"mirror {store.root}", sha256(data).value)


def test_a_mirror_comes_first_and_may_hold_released_files(
    server: FileServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{NAME}.pth").write_bytes(tiny.pth(tiny.released(seed=5)))
    server.files["/w.pth"] = tiny.pth()
    monkeypatch.setenv("SARHUB_MIRROR", str(tmp_path))
    assert_same(store.path(info(http(server)), LAYOUT), seed=5)
    assert server.log == []


def test_a_mirror_over_http(server: FileServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files[f"/mirror/{NAME}.pth"] = tiny.pth()
    monkeypatch.setenv("SARHUB_MIRROR", server.url + "/mirror/")
    assert_same(store.path(info(), LAYOUT))
    assert [request.status for request in server.log] == [404, 200]
    store.remove(NAME)
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    with pytest.raises(OfflineError):
        store.path(info(), LAYOUT)
    assert len(server.log) == 2


def test_a_mirror_that_lacks_the_file_is_passed_over(
    server: FileServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SARHUB_MIRROR", str(tmp_path / "missing"))
    with pytest.raises(DownloadError, match=rf"mirror .*missing.*{NAME}\.safetensors nor {NAME}\.pth"):
        store.path(info(http(server)), LAYOUT)
    server.files["/w.pth"] = tiny.pth()
    assert_same(store.path(info(http(server)), LAYOUT))


def test_a_damaged_mirror_is_refused_and_the_next_source_used(
    server: FileServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/w.pth"] = tiny.pth()
    mirrored = store.path(info(http(server)), LAYOUT)
    content = bytearray(mirrored.read_bytes())
    content[-5] ^= 1
    mirrored.write_bytes(content)
    monkeypatch.setenv("SARHUB_MIRROR", str(store.root))
    other = Store(tmp_path / "other")
    with pytest.raises(IntegrityError, match="recorded content hash"):
        other.path(info(), LAYOUT)
    assert_same(other.path(info(http(server)), LAYOUT))


def test_only_a_mirror_is_believed_about_the_origin_of_a_file(server: FileServer, store: Store, tmp_path: Path) -> None:
    """A converted file on the web that claims the published hash is judged by its own bytes."""
    server.files["/w.pth"] = data = tiny.pth()
    server.files["/forged"] = store.path(info(http(server)), LAYOUT).read_bytes()
    with pytest.raises(IntegrityError, match=sha256(data).value):
        Store(tmp_path / "other").path(info(http(server, "/forged"), checksum=sha256(data)), LAYOUT)


def test_a_truncated_cached_file_is_put_aside_and_fetched_again(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = tiny.pth()
    path = store.path(info(http(server)), LAYOUT)
    path.write_bytes(path.read_bytes()[:-100])
    assert store.cached(INFO) is None
    assert store.entries() == []
    assert_same(store.path(info(http(server)), LAYOUT))
    assert len(quarantined(store)) == 1
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"cut off.*put in"):
        store.path(info(), LAYOUT)
    assert not path.exists()


def test_bundled_weights_are_used_where_they_lie(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BUNDLED", tmp_path)
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    model = info({"type": "bundled", "file": "toy.safetensors"})
    with pytest.raises(DownloadError, match="reinstall"):
        store.path(model, LAYOUT)
    bundled = tmp_path / "toy.safetensors"
    save_file(tiny.tensors(), bundled)
    assert store.path(model, LAYOUT) == bundled
    assert store.entries() == []
    bundled.write_bytes(bundled.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="reinstall"):
        store.path(model, LAYOUT)


def test_import_checks_converts_and_leaves_the_file(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "My Weights.pth"
    file.write_bytes(tiny.pth())
    model = info(checksum=sha256(file.read_bytes()))
    assert_same(store.import_file(file, model, LAYOUT))
    assert file.exists()
    assert store.entries()[0].source == "imported from My Weights.pth"
    file.write_bytes(tiny.pth(tiny.released(seed=1)))
    with pytest.raises(IntegrityError):
        store.import_file(file, model, LAYOUT)
    assert file.exists()
    assert_same(store.path(model, LAYOUT))
    with pytest.raises(FileNotFoundError, match="no file"):
        store.import_file(tmp_path / "none.pth", model, LAYOUT)


def test_import_takes_a_file_of_another_cache(server: FileServer, store: Store, tmp_path: Path) -> None:
    server.files["/w.pth"] = data = tiny.pth()
    model = info(http(server), checksum=sha256(data))
    converted = store.path(model, LAYOUT)
    assert_same(Store(tmp_path / "other").import_file(converted, model, LAYOUT))


def test_a_first_import_is_pinned(server: FileServer, store: Store, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(tiny.pth())
    store.import_file(tmp_path / "w.pth", INFO, LAYOUT)
    store.remove(NAME)
    server.files["/w.pth"] = tiny.pth(tiny.released(seed=1))
    with pytest.raises(IntegrityError):
        store.path(info(http(server)), LAYOUT)


def test_verify_finds_one_changed_byte_and_puts_the_file_aside(server: FileServer, store: Store) -> None:
    server.files["/w.pth"] = tiny.pth()
    path = store.path(info(http(server)), LAYOUT)
    assert [(result.name, result.ok) for result in store.verify(NAME)] == [(NAME, True)]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert store.cached(INFO) is not None, "of the right length, so only hashing tells"
    (result,) = store.verify(NAME)
    assert not result.ok
    assert result.problem is not None and f"sarhub download {NAME}" in result.problem
    assert not path.exists()
    assert_same(store.path(info(http(server)), LAYOUT))
    assert store.verify(NAME)[0].ok


@given(st.data())
def test_verify_finds_any_changed_tensor_byte(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    store = Store(tmp_path_factory.mktemp("cache"))
    released = store.root / "w.pth"
    released.write_bytes(tiny.pth())
    path = store.import_file(released, INFO, LAYOUT)
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
    store.import_file(tmp_path / "v1.pth", model, LAYOUT)
    assert store.verify()[0].ok

    model = use_manifest(monkeypatch, tmp_path, sources=[http(server)], checksum=new)
    assert store.cached(model) is None
    (result,) = store.verify()
    assert result.problem is not None
    for part in ("another release", old["value"], new["value"], "sarhub cache remove resnet18_tsx"):
        assert part in result.problem
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="made from another release"):
        store.path(model, LAYOUT)
    assert quarantined(store) == [], "the file is intact and may be wanted again"
    monkeypatch.delenv("SARHUB_OFFLINE")
    assert_same(store.path(model, LAYOUT), seed=1)
    assert store.verify()[0].ok
    assert len(server.log) == 1


def test_an_older_cached_release_gives_way_to_the_bundled_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v1.pth").write_bytes(tiny.pth())
    cached = store.import_file(tmp_path / "v1.pth", INFO, LAYOUT)
    monkeypatch.setattr(sources, "BUNDLED", tmp_path)
    bundled = tmp_path / "toy.safetensors"
    save_file(tiny.tensors(seed=1), bundled)
    entry = {"type": "bundled", "file": "toy.safetensors"}
    assert store.path(info(entry), LAYOUT) == cached
    assert store.path(info(entry, checksum=sha256(bundled.read_bytes())), LAYOUT) == bundled


def foreign_files(folder: Path) -> list[Path]:
    """Write files of a user beside the weights; ``b`` claims to be weights of this package, but not these."""
    folder.mkdir(exist_ok=True)
    for name in ("features", "my run"):
        save_file({"features": torch.ones(2)}, folder / f"{name}.safetensors")
    write_weights(tiny.tensors(), folder / "my weights.safetensors", {"model": "my weights"})
    write_weights(tiny.tensors(), folder / "b.safetensors", {"model": "a"})
    (folder / "broken.safetensors").write_bytes(b"half")
    return sorted(folder.glob("*.safetensors"))


def test_files_of_others_in_the_folder_are_left_alone(store: Store, tmp_path: Path) -> None:
    others = foreign_files(store.root)
    (tmp_path / "w.pth").write_bytes(tiny.pth())
    store.import_file(tmp_path / "w.pth", INFO, LAYOUT)
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
            write_weights(tiny.tensors(seed=1), file, {"model": "other"})

    occupy()
    assert store.entries() == []
    assert_same(store.path(model, LAYOUT))
    assert len(quarantined(store)) == 1
    occupy()
    (result,) = store.verify()
    assert result.problem is not None and "quarantine" in result.problem
    assert not file.exists()


def test_clear_leaves_only_what_is_not_of_the_cache(server: FileServer, store: Store, tmp_path: Path) -> None:
    server.files["/w.pth"] = tiny.pth({"other": torch.ones(1)})
    model = info(http(server))
    with pytest.raises(CheckpointError):
        store.path(model, LAYOUT)
    server.files["/w.pth"] = tiny.pth()
    store.path(model, LAYOUT)
    part = store.root / "downloads" / "half_toy" / "half_toy.part"
    part.parent.mkdir()
    part.write_bytes(b"half")
    temporary = store.root / ".killed_toy.safetensors.tmp"
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
    store.import_file(tmp_path / "w.pth", INFO, LAYOUT)
    for ask in (store.remove, store.verify):
        with pytest.raises(UnknownNameError, match=f"'tiny_tov'.*did you mean '{NAME}'"):
            ask("tiny_tov")


def test_remove_also_drops_an_interrupted_download(store: Store) -> None:
    folder = store.root / "downloads" / NAME
    folder.mkdir(parents=True)
    (folder / f"{NAME}.part").write_bytes(b"half")
    store.remove(NAME)
    assert not folder.exists()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/b", "..", ".hidden", "", "a\\b", "a\0b", "c:d"])
def test_no_name_leads_out_of_the_cache(store: Store, tmp_path: Path, name: str) -> None:
    (tmp_path / "w.pth").write_bytes(tiny.pth())
    before = sorted(tmp_path.rglob("*"))
    bad = dataclasses.replace(INFO, name=name)
    for act in (
        lambda: store.path(bad, LAYOUT),
        lambda: store.download(bad, LAYOUT),
        lambda: store.import_file(tmp_path / "w.pth", bad, LAYOUT),
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
