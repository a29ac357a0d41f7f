from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from sarhub_models.errors import ImageError, MissingDependencyError, OptionError
from sarhub_models.features.extract import extract_features, save_features
from sarhub_models.features.journal import journal_path
from sarhub_models.transforms import Pipeline
from tests.transforms.chains import chain

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:Dataset has no geotransform"),
]


class Moments(nn.Module):
    """A network with timm's two methods whose features can be computed by hand: mean and standard deviation."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.batches: list[int] = []

    def _get_name(self) -> str:
        return "Moments"  # also of the subclasses that only end a run, for the journal tells networks by their names

    def forward_features(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        assert pre_logits
        assert not self.training
        return torch.stack([x.mean((1, 2, 3)), x.std((1, 2, 3))], dim=1) * self.scale


def transform(size: int | None = 16) -> Pipeline:
    return chain("ptls", 0, 3, 1.5, mean=0.3, std=0.1, size=size)


def expected(path: Path, prepare: Pipeline) -> list[float]:
    x = prepare(np.load(path))
    return [float(x.mean()), float(x.std())]


@pytest.fixture
def chips(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"chip{i}.npy" for i in range(7)]
    for i, path in enumerate(paths):
        np.save(path, rng.rayleigh(0.1, (20 + i, 24)).clip(0, 1).astype(np.float32))
    return paths


def read(out: Path) -> tuple[list[str], np.ndarray]:
    with safe_open(out, framework="np") as file:
        return json.loads(file.metadata()["names"]), file.get_tensor("features")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_each_image_has_the_features_of_the_network(tmp_path: Path, chips: list[Path], workers: int) -> None:
    out = tmp_path / "features.safetensors"
    model = Moments()
    result = extract_features(model, transform(), chips, out=out, batch_size=3, workers=workers, progress=False)
    assert model.batches == [3, 3, 1]
    assert result.names == tuple(map(str, chips))
    assert result.values.dtype == np.float32
    np.testing.assert_allclose(result.values, [expected(path, transform()) for path in chips], rtol=1e-4, atol=1e-5)
    names, values = read(out)
    assert names == list(result.names)
    np.testing.assert_array_equal(values, result.values)
    assert not journal_path(out).exists()


def test_features_are_those_before_the_logits_of_a_timm_network(chips: list[Path]) -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model("resnet10t", num_classes=3)
    prepare = transform(32)
    result = extract_features(model, prepare, chips[:3], names=["a", "b", "c"], progress=False)
    assert result.names == ("a", "b", "c")
    with torch.inference_mode():
        inputs = torch.stack([prepare(np.load(path)) for path in chips[:3]])
        logits = model.get_classifier()(torch.from_numpy(result.values))
        torch.testing.assert_close(logits, model(inputs), atol=1e-4, rtol=1e-4)


def bad_files(folder: Path) -> dict[str, str]:
    """Write bad images; return the reason that must be given for each."""
    np.save(folder / "nan.npy", np.full((8, 8), np.nan))
    np.save(folder / "constant.npy", np.full((8, 8), 0.4))
    np.save(folder / "range.npy", np.arange(64.0).reshape(8, 8))
    np.save(folder / "decibels.npy", np.linspace(-25, 3, 64).reshape(8, 8))
    np.save(folder / "wide.npy", np.arange(64, dtype=np.int32).reshape(8, 8))
    (folder / "truncated.npy").write_bytes((folder / "chip0.npy").read_bytes()[:200])
    return {
        "nan.npy": "NaN",
        "constant.npy": "equal",
        "range.npy": "full_scale",
        "decibels.npy": "decibels",
        "wide.npy": "wider than 16 bits",
        "truncated.npy": "truncated",
    }


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_images_are_skipped_by_name(tmp_path: Path, chips: list[Path], workers: int) -> None:
    reasons = bad_files(tmp_path)
    paths = [tmp_path / "nan.npy", *chips[:2], *(tmp_path / name for name in list(reasons)[1:]), *chips[2:]]
    result = extract_features(
        Moments(), transform(), paths, batch_size=2, workers=workers, on_error="skip", progress=False
    )
    assert result.names == tuple(map(str, chips))
    assert set(result.skipped) == {str(tmp_path / name) for name in reasons}
    for name, reason in reasons.items():
        assert reason in result.skipped[str(tmp_path / name)]
        assert str(tmp_path / name) in result.skipped[str(tmp_path / name)]


def test_a_bad_image_stops_the_run_and_what_was_done_is_kept(tmp_path: Path, chips: list[Path]) -> None:
    reasons = bad_files(tmp_path)
    for name, reason in reasons.items():
        bad, out = tmp_path / name, tmp_path / f"{name}.safetensors"
        paths = [*chips[:3], bad, *chips[3:]]
        with pytest.raises(ImageError, match=reason) as caught:
            extract_features(Moments(), transform(), paths, out=out, batch_size=2, progress=False)
        assert str(bad) in str(caught.value)
        assert "3 images are kept" in str(caught.value)
        assert str(journal_path(out)) in str(caught.value)
        assert not out.exists()
    np.save(bad, np.load(chips[0]) ** 2)  # mended
    model = Moments()
    result = extract_features(model, transform(), paths, out=out, batch_size=2, progress=False)
    assert model.batches == [2, 2, 1]  # the five images that were missing
    np.testing.assert_allclose(result.values, [expected(path, transform()) for path in paths], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(read(out)[1], result.values)
    assert not journal_path(out).exists()


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, chips: list[Path]) -> None:
    out = tmp_path / "features.safetensors"
    script = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from {Path(__file__).stem} import Moments, transform
from sarhub_models.features.extract import extract_features
class Slow(Moments):
    def forward_features(self, x):
        if len(self.batches) == 2:
            print("two batches", flush=True)
            time.sleep(600)
        return super().forward_features(x)
extract_features(Slow(), transform(), {[str(path) for path in chips]!r}, out={str(out)!r}, batch_size=2)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "two batches\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    journal = journal_path(out)
    assert len(journal.read_text().splitlines()) == 4
    with journal.open("a") as file:  # as if the kill had come in the middle of a write
        file.write('{"name": "chip')
    model = Moments()
    result = extract_features(model, transform(), chips, out=out, batch_size=2, progress=False)
    assert model.batches == [2, 1]
    np.testing.assert_allclose(result.values, [expected(path, transform()) for path in chips], rtol=1e-4, atol=1e-5)


def interrupt(out: Path, chips: list[Path]) -> None:
    """Leave a journal with the first four chips."""

    class Interrupted(Moments):
        def forward_features(self, x: Tensor) -> Tensor:
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return super().forward_features(x)

    with pytest.raises(KeyboardInterrupt):
        extract_features(Interrupted(), transform(), chips, out=out, batch_size=2, progress=False)
    assert journal_path(out).exists()


def test_images_that_changed_are_computed_anew(tmp_path: Path, chips: list[Path]) -> None:
    out = tmp_path / "features.safetensors"
    interrupt(out, chips)
    np.save(chips[1], np.load(chips[1]) ** 2)
    os.utime(chips[1], ns=(time.time_ns(), time.time_ns() + 10**9))
    model = Moments()
    result = extract_features(model, transform(), chips, out=out, batch_size=4, progress=False)
    assert model.batches == [4]
    np.testing.assert_allclose(result.values[1], expected(chips[1], transform()), rtol=1e-4)


def test_a_journal_of_something_else_is_refused(tmp_path: Path, chips: list[Path]) -> None:
    out = tmp_path / "features.safetensors"
    interrupt(out, chips)

    class Wider(Moments):
        def _get_name(self) -> str:
            return "Wider"

    other = chain("reinhard_devlin", 3.5, 4.5, 4.0, mean=0.3, std=0.1, size=16)
    nearby = chain("ptls", 0, 3, 1.5, mean=0.3 + 1e-9, std=0.1, size=16)
    changes: list[tuple[nn.Module, Any, dict[str, Any]]] = [
        (Moments(), other, {}),
        (Moments(), nearby, {}),
        (Moments(), lambda image: nearby(image), {}),
        (Wider(), transform(), {}),
        (Moments(1 + 1e-6), transform(), {}),
        (Moments(), transform(), {"nodata": "fill"}),
        (Moments(), transform(), {"bands": ["VV"]}),
        (Moments(), transform(), {"full_scale": 2.0}),
    ]
    for model, prepare, options in changes:
        with pytest.raises(OptionError, match="another network or preprocessing"):
            extract_features(model, prepare, chips, out=out, progress=False, **options)
    assert len(journal_path(out).read_text().splitlines()) == 4
    journal_path(out).unlink()
    extract_features(Moments(), other, chips, out=out, progress=False)


def test_a_function_that_prepares_alike_goes_on(tmp_path: Path, chips: list[Path]) -> None:
    out, prepare = tmp_path / "features.safetensors", transform()
    with pytest.raises(ImageError):
        paths = [*chips[:3], *(tmp_path / name for name in bad_files(tmp_path))]
        extract_features(Moments(), lambda image: prepare(image), paths, out=out, batch_size=1, progress=False)
    model = Moments()
    extract_features(model, lambda image: prepare(image), chips, out=out, batch_size=4, progress=False)
    assert model.batches == [4], "three were done"


def coded(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("features", coded(values)) for values in (np.full(2, np.nan), np.zeros(2), np.ones(7))),
        ("name", [1]),
        ("stamp", None),
        ("maker", "0" * 64),
    ],
)
def test_changed_rows_are_computed_anew(field: str, value: Any, tmp_path: Path, chips: list[Path]) -> None:
    out = tmp_path / "features.safetensors"
    interrupt(out, chips)
    lines = journal_path(out).read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), field: value})
    lines[2:2] = ["[]", "null", "{", '{"digest": 1}']
    journal_path(out).write_text("".join(f"{line}\n" for line in lines))
    model = Moments()
    result = extract_features(model, transform(), chips, out=out, batch_size=9, progress=False)
    assert model.batches == [4], "the changed one and the three that were missing"
    np.testing.assert_allclose(result.values, [expected(path, transform()) for path in chips], rtol=1e-4, atol=1e-5)


def test_memory_formats_and_full_scale_reach_the_reader(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 500, (2, 12, 12)).astype(np.uint16)
    np.save(tmp_path / "a.npy", image)
    prepare = chain("log_amplitude", 8, 8, 8, mean=0.0, std=1.0, size=None)
    result = extract_features(Moments(), prepare, [tmp_path / "a.npy"], full_scale=500, band=2, progress=False)
    x = prepare((image[1] / 500).astype(np.float32))
    np.testing.assert_allclose(result.values, [[float(x.mean()), float(x.std())]], rtol=1e-4)


def test_images_of_different_sizes_need_a_transform_with_a_size(chips: list[Path]) -> None:
    with pytest.raises(ImageError, match="batch_size=1") as caught:
        extract_features(Moments(), transform(None), chips, progress=False)
    assert str(chips[0]) in str(caught.value)
    assert str(chips[1]) in str(caught.value)
    assert "(3, 20, 24)" in str(caught.value)
    result = extract_features(Moments(), transform(None), chips, batch_size=1, progress=False)
    assert result.values.shape == (7, 2)


def test_no_usable_image_is_an_error(tmp_path: Path, chips: list[Path]) -> None:
    paths = [tmp_path / name for name in bad_files(tmp_path)]
    with pytest.raises(ImageError, match="none of the 6 images"):
        extract_features(Moments(), transform(), paths, on_error="skip", progress=False)


def test_impossible_arguments_are_refused_before_the_work(tmp_path: Path, chips: list[Path]) -> None:
    def refused(match: str, model: nn.Module | None = None, paths: list[Path] = chips, **options: object) -> None:
        model = model or Moments()
        with pytest.raises(OptionError, match=match):
            extract_features(model, transform(), paths, progress=False, **options)
        assert not getattr(model, "batches", [])

    refused("forward_features", nn.Identity())
    refused("at least one", paths=[])
    refused("different names", paths=[chips[0], chips[0]])
    refused("different names", names=["a"])
    refused("'stop' or 'skip'", on_error="ignore")
    refused(r"\.parquet", out=tmp_path / "features.csv")
    refused("no folder", out=tmp_path / "absent" / "features.safetensors")


def test_features_that_are_not_pooled_are_refused(chips: list[Path]) -> None:
    class Maps(Moments):
        def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
            return x

    with pytest.raises(OptionError, match="pooled"):
        extract_features(Maps(), transform(), chips, progress=False)


@pytest.mark.parametrize("suffix", [".safetensors", ".parquet"])
def test_a_saved_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    out = tmp_path / f"features{suffix}"
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    values = np.random.default_rng(0).normal(size=(3, 5))
    assert save_features(out, ["a", "b", "ü"], values) == out
    (tmp_path / "plain").touch()
    assert out.stat().st_mode == (tmp_path / "plain").stat().st_mode, "others may read it, as far as the umask allows"
    (tmp_path / "plain").unlink()
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(out)
        assert table["name"].to_pylist() == ["a", "b", "ü"]
        np.testing.assert_allclose(np.array(table["features"].to_pylist()), values, rtol=1e-6)
    else:
        names, stored = read(out)
        assert names == ["a", "b", "ü"]
        np.testing.assert_array_equal(stored, values.astype(np.float32))

    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    before = out.read_bytes()
    monkeypatch.setattr("sarhub_models.io.files.replace_atomically", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_features(out, ["x"], values[:1])
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


def test_names_must_fit_the_rows(tmp_path: Path) -> None:
    for shape in ((3, 5), (2,)):
        with pytest.raises(OptionError, match=r"\(2, D\)"):
            save_features(tmp_path / "a.safetensors", ["a", "b"], np.zeros(shape))


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"sarhub-models\[parquet\]"):
        save_features(tmp_path / "a.parquet", ["a"], np.zeros((1, 2)))
