"""Backbones beside their untrained twins on the same chips."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sarhub_models
from sarhub_models.cli import main
from sarhub_models.datasets.labeled import open_images
from sarhub_models.errors import DataError, ImageError, OptionError
from sarhub_models.features import compare as module
from sarhub_models.features.compare import TWIN, compare, weights_here
from sarhub_models.models.choice import Choice

MODEL = "mobilenetv3_dsn"  # its weights come with the package


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    """Twelve chips of two textures, in a folder for each."""
    rng = np.random.default_rng(0)
    for number in range(12):
        image = rng.rayleigh(0.02, (32, 32)).astype(np.float32)
        if number % 2:
            image[8:24:4] = 0.9
        folder = tmp_path / "chips" / ("fields" if number % 2 else "water")
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{number:02d}.npy", np.minimum(image, 1))
    return tmp_path / "chips"


def labels(chips: Path, split: bool = False, header: bool = True) -> Path:
    file = chips.parent / "labels.csv"
    names = sorted(path.relative_to(chips).as_posix() for path in chips.rglob("*.npy"))
    rows = [f"{name},{name.split('/')[0]}" for name in names]
    if split:
        rows = [f"{row},{'test' if number % 3 == 0 else 'train'}" for number, row in enumerate(rows)]
    file.write_text("\n".join((["image,label,split" if split else "image,label"] if header else []) + rows) + "\n")
    return file


@pytest.mark.slow
@pytest.mark.parametrize("split", [False, True])
def test_networks_and_their_twins_are_scored(chips: Path, split: bool, tmp_path: Path) -> None:
    with open_images(chips, labels=labels(chips, split, header=split)) as opened:
        found = compare(opened, [MODEL], tmp_path / "out", progress=False)
    assert found.networks == (MODEL, MODEL + TWIN)
    assert found.images == 12
    assert found.classes == ("fields", "water")
    assert found.dimensions == {MODEL: 1024, MODEL + TWIN: 1024}
    assert ("tested on 4" if split else "cross-validated") in found.protocol
    assert found.scores[MODEL].linear == found.scores[MODEL].knn == 1.0
    np.testing.assert_allclose(np.diag(found.similarity), 1)
    np.testing.assert_allclose(found.similarity, found.similarity.T)
    assert found.similarity[0, 1] < 0.999, "the twin has other weights"
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert written["scores"][MODEL]["linear"] == 1.0
    assert sorted(found.files) == sorted(file for file in (tmp_path / "out").iterdir() if file.is_file())
    for name in ("comparison.png", "chips.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert picture.width > 1000
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20


@pytest.mark.slow
def test_a_leaderboard_is_resumed_with_few_labels_a_class(
    chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_images(chips, labels=labels(chips)) as opened:
        first = compare(opened, [MODEL], tmp_path / "out", progress=False)
        monkeypatch.setattr("sarhub_models.features.compare.extract_features", None)  # nothing is computed again
        again = compare(opened, [MODEL], tmp_path / "out", shots=(1, 3), draws=4, progress=False)
    assert again.scores == first.scores and [one.shots for one in again.few[MODEL]] == [1, 3]
    with (tmp_path / "out" / "leaderboard.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["network"] for row in rows} == {MODEL, MODEL + TWIN}
    assert float(rows[0]["shots_1_low"]) <= float(rows[0]["shots_1"]) <= float(rows[0]["shots_1_high"])


@pytest.mark.slow
def test_without_labels_there_is_similarity_and_a_map(chips: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert main(["compare", "--images", str(chips), "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    here = [f"{name}{twin}" for name in weights_here() for twin in ("", TWIN)]
    assert printed["networks"] == here, "without names, all weights of this disk"
    assert printed["scores"] == {} and printed["protocol"] == "no labels"
    assert all(Path(file).is_file() for file in printed["files"])


@pytest.mark.slow
def test_the_table(chips: Path, tmp_path: Path, capsys) -> None:
    (chips / "water" / "99.npy").write_bytes(b"broken")
    with_broken = labels(chips)
    arguments = ["compare", MODEL, "--images", str(chips), "--labels", str(with_broken), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert "12 chips, 2 classes" in out
    assert [line.split()[0] for line in out.splitlines() if line.startswith(MODEL)] == [MODEL, MODEL]
    assert "skipped water/99.npy" in err


@pytest.mark.slow
def test_packed_patches_bring_labels_splits_and_radiometry(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = np.tile([0, 1], 12)
    scale = np.where(label == 0, 20.0, 4000.0)[:, None, None, None]
    np.savez(
        tmp_path / "opensarship.npz",
        iq=rng.normal(scale=scale, size=(24, 64, 64, 2)).astype(np.int16),
        label=label,
        split=np.repeat(["train", "val", "test"], 8),
        name=np.array([f"patch_{number}" for number in range(24)]),
        classes=np.array(["dark", "bright"]),
    )
    for source in (tmp_path, tmp_path / "opensarship.npz"):
        with open_images(source) as opened:
            files = opened.files
            assert len(files) == 16 and all(file.is_file() for file in files)
            assert opened.radiometry == "dn" and opened.split.count("test") == 8
            assert set(opened.labels) == {"opensarship/dark", "opensarship/bright"}
    assert not files[0].exists()
    with open_images(tmp_path) as opened:
        assert compare(opened, [MODEL], tmp_path / "out", progress=False).scores[MODEL].linear == 1.0


@pytest.mark.slow
def test_bands_and_units_are_matched_to_each_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "tiles").mkdir()
    vh, vv = rng.uniform(-30, -15, (2, 6, 40, 40)).astype(np.float32)
    vv = vv + 8
    for number in range(6):
        np.save(tmp_path / "tiles" / f"{number}.npy", np.stack([vh[number], vv[number]]))
    seen: dict[str, np.ndarray] = {}

    def small(choice: Choice, tensors: None, *, num_classes: int, bands=None) -> torch.nn.Module:
        class Pool(torch.nn.Module):
            def forward_features(self, x: torch.Tensor) -> torch.Tensor:
                return x

            def forward_head(self, x: torch.Tensor, pre_logits: bool) -> torch.Tensor:
                seen[choice.name] = x.numpy()
                return x.flatten(2).std(-1)

        return Pool()

    monkeypatch.setattr(module, "build_model", small)
    monkeypatch.setattr(module, "load_tensors", lambda choice: None)
    models = ["vit_small_patch16_ssl4eo.mae", "resnet18_osu", "resnet18_tsx"]
    with open_images(tmp_path / "tiles") as opened:
        compare(opened, models, tmp_path / "out", bands=("VH", "VV"), radiometry="db", progress=False)
        with pytest.raises(OptionError, match="different radiometry"):
            compare(opened, models, tmp_path / "out", bands=("VH", "VV"))
        with pytest.raises(ImageError, match="name all of them in the order of the file with bands=VV,VH"):
            compare(opened, models[:1], tmp_path / "out")
        with pytest.raises(OptionError, match="hold only HH"):
            compare(opened, models[:1], tmp_path / "out", bands=("HH", "HV"))
        with pytest.raises(OptionError, match="no models"):
            compare(opened, [], tmp_path / "out")
    dual = sarhub_models.create_transform(models[0])(np.stack([vv, vh], axis=1))
    np.testing.assert_allclose(seen[models[0]], dual, atol=1e-5)
    for name, band in (("resnet18_osu", vv), ("resnet18_tsx", vh)):
        single = sarhub_models.create_transform(name, radiometry="db")(band[:, None])
        np.testing.assert_allclose(seen[name], single, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "row",
    [
        *("nothing.npy,water", "water/00.npy", "water/00.npy,water\nwater/00.npy,water", "water/00.npy,a,train,b", ""),
        "water/00.npy,water;ice",
    ],
)
def test_lists_of_labels_that_do_not_fit(chips: Path, row: str) -> None:
    file = chips.parent / "labels.csv"
    file.write_text(f"image,label\n{row}\n")
    with pytest.raises(DataError, match=r"labels\.csv"), open_images(chips, labels=file):
        pass


def test_the_table_of_a_fine_tuning_lists_labels_too(chips: Path) -> None:
    file = labels(chips, split=True)
    rows = [line.split(",") for line in file.read_text().splitlines()[1:]]
    file.write_text("\n".join(["name,group,label,split", *(f"{n},g,{c},{s}" for n, c, s in rows)]) + "\n")
    with open_images(chips, labels=file) as opened:
        assert list(opened.names) == [n for n, _, _ in rows]
        assert opened.labels == tuple(c for _, c, _ in rows) and opened.split == tuple(s for _, _, s in rows)


@pytest.mark.parametrize("header", [False, True])
def test_lists_of_labels_may_begin_with_a_byte_order_mark(chips: Path, header: bool) -> None:
    file = labels(chips, header=header)
    file.write_bytes(file.read_text().encode("utf-8-sig"))
    with open_images(chips, labels=file) as opened:
        assert len(opened.files) == 12


def test_weights_of_this_disk() -> None:
    assert weights_here() == ["efficientnet_lite0_sar", MODEL, "mobilenetv3_sar"]


@pytest.mark.slow
def test_features_of_images_whose_other_band_changed_are_computed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "tiles").mkdir()
    for number in range(4):
        for band in ("VH", "VV"):
            np.save(tmp_path / "tiles" / f"{number}_{band}.npy", rng.uniform(-30, -15, (40, 40)).astype(np.float32))

    class Pool(torch.nn.Module):
        def forward_features(self, x: torch.Tensor) -> torch.Tensor:
            return x

        def forward_head(self, x: torch.Tensor, pre_logits: bool) -> torch.Tensor:
            return x.mean((2, 3))

    monkeypatch.setattr(module, "build_model", lambda *_, **__: Pool())
    monkeypatch.setattr(module, "load_tensors", lambda choice: None)
    kept = []
    for factor in (None, None, 0.5):
        for file in (tmp_path / "tiles").glob("*_VH.npy") if factor else ():
            np.save(file, factor * np.load(file))
        with open_images(tmp_path / "tiles") as opened:
            compare(opened, ["vit_small_patch16_ssl4eo.mae"], tmp_path / "out", radiometry="db", progress=False)
        kept.append({file.name for file in (tmp_path / "out" / "features").iterdir()})
    assert kept[0] == kept[1] < kept[2]


@pytest.mark.slow
def test_sizes_that_tell_the_classes_are_told(chips: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings(), open_images(chips, labels=labels(chips)) as opened:
        warnings.filterwarnings("error", message=".*sizes of the images.*")
        compare(opened, [MODEL], tmp_path / "alike", progress=False)
    for file in (chips / "water").glob("*.npy"):
        np.save(file, np.pad(np.load(file), 4, mode="reflect"))
    with (
        pytest.warns(UserWarning, match="sizes of the images alone tell the classes with an accuracy of 100%"),
        open_images(chips, labels=labels(chips)) as opened,
    ):
        compare(opened, [MODEL], tmp_path / "apart", progress=False)
