"""Released checkpoints in every form they come in, and everything that must be refused."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from sarhub_models.errors import CheckpointError
from sarhub_models.io.files import CONTENT, content_digest, metadata
from sarhub_models.weights import CheckpointSpec, load_checkpoint, read_tensors, write_weights

from . import tiny
from .tiny import SPEC, Tensors


def save(folder: Path, content: Any, **options: Any) -> Path:
    path = folder / "w.pth"
    torch.save(content, path, **options)
    return path


def assert_equal(found: Tensors, wanted: Tensors) -> None:
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) and found[key].dtype == wanted[key].dtype for key in wanted)


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: {"model": d, "epoch": 3}, lambda d: {"state_dict": d}])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "model.module."])
@pytest.mark.parametrize("legacy", [False, True])
def test_every_released_form_gives_the_same_tensors(tmp_path: Path, wrap: Any, prefix: str, legacy: bool) -> None:
    content = wrap({prefix + key: value for key, value in tiny.released().items()})
    path = save(tmp_path, content, _use_new_zipfile_serialization=not legacy)
    assert_equal(load_checkpoint(path, SPEC), tiny.tensors())


def test_the_layout_reads_the_number_of_classes_from_the_file(tmp_path: Path) -> None:
    path = save(tmp_path, tiny.released(classes=11))
    assert load_checkpoint(path, SPEC)["head.weight"].shape == (11, 256)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("write", [torch.save, save_file])
def test_released_files_may_be_of_half_precision(tmp_path: Path, dtype: torch.dtype, write: Any) -> None:
    short = {key: value.to(dtype) if value.is_floating_point() else value for key, value in tiny.tensors().items()}
    path = tmp_path / "w"
    write({f"net.{key}": value for key, value in short.items()}, path)
    assert_equal(load_checkpoint(path, SPEC), short)


def test_a_checkpoint_of_lightning(tmp_path: Path) -> None:
    tensors = {f"model.{key}": value for key, value in tiny.released().items()}
    content = {"state_dict": tensors, "epoch": 3, "pytorch-lightning_version": "2.5.0", "lr_schedulers": []}
    assert_equal(load_checkpoint(save(tmp_path, content), SPEC), tiny.tensors())


def test_a_state_dict_for_each_part_of_a_network(tmp_path: Path) -> None:
    path = save(tmp_path, {"radar": {"a": torch.ones(2)}, "optical": {"a": torch.zeros(1), "b.c": torch.ones(1)}})
    assert set(read_tensors(path)) == {"radar.a", "optical.a", "optical.b.c"}
    path = save(tmp_path, {"radar": {"a": torch.ones(2)}, "epoch": 3})
    with pytest.raises(CheckpointError, match="not so are epoch, radar"):
        read_tensors(path)


def test_a_file_without_tensors(tmp_path: Path) -> None:
    save_file({}, tmp_path / "w")
    assert read_tensors(tmp_path / "w") == {}


def test_a_prefix_that_only_some_names_have_stays(tmp_path: Path) -> None:
    path = save(tmp_path, {"module.a": torch.ones(1), "b": torch.ones(1)})
    assert set(read_tensors(path)) == {"module.a", "b"}


def test_released_safetensors_are_renamed_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "w"
    save_file(tiny.released(), path)
    assert_equal(load_checkpoint(path, SPEC), tiny.tensors())
    save_file(tiny.released() | {"net.head.weight": torch.full((3, 256), torch.nan)}, path)
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(path, SPEC)


def test_converted_files_keep_their_names_and_may_be_of_half_precision(tmp_path: Path) -> None:
    half = {k: v.half() if v.is_floating_point() else v for k, v in tiny.tensors().items()}
    write_weights(half, tmp_path / "w.safetensors", info={})
    spec = CheckpointSpec(lambda tensors: pytest.fail("renamed twice"), tiny.expected)
    assert_equal(load_checkpoint(tmp_path / "w.safetensors", spec), half)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net.head.weight": torch.ones(3, 255)}, r"head\.weight must have the shape \(3, 256\), found \(3, 255\)"),
        ({"net.stem.weight": torch.ones(256, 256).int()}, r"stem\.weight must be torch\.float32, found .*int32"),
        (
            {"net.stem.weight": torch.full((256, 256), 1e300, dtype=torch.float64)},
            r"stem\.weight holds values that are not finite",
        ),
        ({"net.stem.weight": torch.ones(256, 256).int()}, r"stem\.weight must be torch\.float32, found .*int32"),
        ({"net.stem.count": torch.tensor(7.0).half()}, r"stem\.count must be torch\.int64, found .*float16"),
        ({"net.stem.count": torch.tensor(7.0)}, r"stem\.count must be torch\.int64"),
        ({"net.stem.weight": torch.full((256, 256), torch.nan)}, r"stem\.weight holds values that are not finite"),
        ({"net.other": torch.ones(1)}, r"0 are missing \(none\) and 1 are unexpected \(other\)"),
        ({f"net.x{i}": torch.ones(1) for i in range(9)}, r"9 are unexpected \(x0, x1, x2, x3, x4 and 4 more\)"),
        ({"net.stem.weight": "text"}, r"no plain state dict.*net\.stem\.weight"),
        ({"net.stem.weight": torch.ones(2, 2).to_sparse()}, r"no plain state dict.*net\.stem\.weight"),
        ({"net.stem.weight": torch.ones(2, device="meta")}, r"no plain state dict.*net\.stem\.weight"),
        ({3: torch.ones(1)}, r"no plain state dict.*3"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[Any, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(save(tmp_path, tiny.released() | change), SPEC)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    content = {name: tensor for name, tensor in tiny.released().items() if name != "net.stem.count"}
    with pytest.raises(CheckpointError, match=r"1 are missing \(stem\.count\) and 0 are unexpected \(none\)"):
        load_checkpoint(save(tmp_path, content), SPEC)


@pytest.mark.parametrize("times", [2, 8, 1000])
def test_a_tensor_that_is_more_than_its_bytes_is_refused(tmp_path: Path, times: int) -> None:
    with pytest.raises(CheckpointError, match=r"no plain state dict.*not so are a"):
        read_tensors(save(tmp_path, {"a": torch.zeros(1).expand(times)}))


@pytest.mark.parametrize("kind", [KeyError, ValueError, IndexError, TypeError, RuntimeError])
def test_whatever_the_layout_raises_is_another_network(tmp_path: Path, kind: type[Exception]) -> None:
    def confused(found: Tensors) -> Any:
        raise kind("lost")

    with pytest.raises(CheckpointError, match=rf"another network: {kind.__name__}: .*lost.*first tensors"):
        load_checkpoint(save(tmp_path, tiny.released()), CheckpointSpec(tiny.rename, confused))


def test_an_error_of_the_disk_passes_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError(5, "Input/output error")

    path = save(tmp_path, tiny.released())
    monkeypatch.setattr(torch, "load", fails)
    with pytest.raises(OSError, match="Input/output error"):
        read_tensors(path)


def test_a_checkpoint_that_confuses_the_layout_is_foreign(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"another network.*conv\.weight"):
        load_checkpoint(save(tmp_path, {"conv.weight": torch.ones(1)}), SPEC)


@pytest.mark.parametrize("content", [[1, 2], {}, torch.ones(3), 5, {"model": {}}])
def test_a_checkpoint_without_a_state_dict(tmp_path: Path, content: Any) -> None:
    with pytest.raises(CheckpointError, match="state dict"):
        load_checkpoint(save(tmp_path, content), SPEC)


class Code:
    """A class that only its own program knows."""


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_with_objects_is_refused_by_name(tmp_path: Path, legacy: bool) -> None:
    path = save(tmp_path, {"model": Code()}, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"refused.*\(tests\.weights\.test_checkpoint\.Code\)"):
        load_checkpoint(path, SPEC)


def test_a_numpy_number_beside_the_weights_is_named_for_what_it_is(tmp_path: Path) -> None:
    path = save(tmp_path, {"model": tiny.released(), "accuracy": np.float64(0.9)})
    with pytest.raises(CheckpointError, match=r"\(numpy\.\S*multiarray\.scalar\).*not need.*state_dict\(\)") as caught:
        load_checkpoint(path, SPEC)
    assert "could run anything" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut off after 0 bytes"),
        (b"<!DOCTYPE html><html>quota exceeded</html>", "web page"),
        (b"\n <html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "cannot be opened"),
        (b"\x00" * 1000, "cannot be opened"),
        (pickle.dumps({"a": 1}, protocol=4), "cannot be opened|state dict"),
    ],
)
def test_what_is_no_checkpoint_at_all(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path, SPEC)


def test_a_zip_that_is_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match="cannot be opened"):
        load_checkpoint(tmp_path / "w.pth", SPEC)


@pytest.mark.skipif(not hasattr(torch.serialization, "set_crc32_options"), reason="torch 2.5 is the first to save so")
def test_checkpoints_saved_without_checksums_can_be_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        path = save(tmp_path, tiny.released())
    finally:
        torch.serialization.set_crc32_options(True)
    assert_equal(load_checkpoint(path, SPEC), tiny.tensors())


@pytest.mark.slow
@given(st.data())
def test_any_truncation_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(_forms()))
    path = tmp_path_factory.mktemp("cut") / "w"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(CheckpointError):
        load_checkpoint(path, SPEC)


@pytest.mark.slow
@given(st.data())
def test_damage_gives_a_checkpoint_error_or_nothing_worse(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A byte changed anywhere: refused in words, or, in old formats without a checksum, read with other numbers."""
    damaged = bytearray(data.draw(st.sampled_from(_forms())))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / "w"
    path.write_bytes(damaged)
    try:
        found = load_checkpoint(path, SPEC)
    except CheckpointError as err:
        assert str(err)
    else:
        assert found.keys() == tiny.tensors().keys()


def _forms() -> list[bytes]:
    import io

    legacy = io.BytesIO()
    torch.save(tiny.released(), legacy, _use_new_zipfile_serialization=False)
    from safetensors.torch import save as safetensors_bytes

    return [tiny.pth(), legacy.getvalue(), safetensors_bytes(tiny.released())]


def test_written_files_carry_their_own_digest(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(tiny.tensors(), path, info={"model": "tiny"})
    known = metadata(path)
    assert known.pop(CONTENT) == content_digest(path)
    assert known == {"model": "tiny", "format": "pt"}
    assert_equal(load_file(path), tiny.tensors())
    write_weights(tiny.tensors(), tmp_path / "again.safetensors", info={"model": "other", "source": "Küste é"})
    assert metadata(tmp_path / "again.safetensors")["source"] == "Küste é"
    assert_equal(load_file(tmp_path / "again.safetensors"), tiny.tensors())
    assert content_digest(path) == content_digest(tmp_path / "again.safetensors"), "metadata does not count"


def test_views_and_shared_tensors_can_be_written(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"a": base, "b": base, "c": base.t(), "d": base[1], "e": base[0].expand(2, 4), "f": base[2:]}
    write_weights(tensors, tmp_path / "w.safetensors", info={})
    assert_equal(load_file(tmp_path / "w.safetensors"), tensors)


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(tiny.tensors(), path, info={})
    before = path.read_bytes()
    monkeypatch.setattr(
        "sarhub_models.io.files.replace_atomically", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(OSError, match="full"):
        write_weights(tiny.tensors(seed=1), path, info={})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
