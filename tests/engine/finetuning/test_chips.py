"""The table of chips: how it is divided, and what is wrong with chips and labels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sarhub_models
from sarhub_models import Predictor
from sarhub_models.engine.finetuning.table import Chip, class_counts, divide, find_chips
from sarhub_models.errors import DataError, ImageError, OptionError

from .test_finetune import start, write_chips


def test_groups_stay_together_and_classes_have_their_share() -> None:
    made = [Chip(str(i), "ab"[i % 2], group=f"g{i // 5}") for i in range(400)]
    divided = divide(made, val=0.15, test=0.15, seed=0)
    sides = {split: {chip.group for chip in divided if chip.split == split} for split in ("train", "val", "test")}
    assert not sides["train"] & sides["val"] and not sides["train"] & sides["test"] and not sides["val"] & sides["test"]
    for split in ("val", "test"):
        counts = class_counts([chip for chip in divided if chip.split == split])
        assert all(20 <= count <= 40 for count in counts.values())
    assert divided == divide(made, val=0.15, test=0.15, seed=0) != divide(made, val=0.15, test=0.15, seed=1)


def test_chips_without_a_label_and_labels_that_come_with_others_have_their_share() -> None:
    kinds = ("box", "wave", "box;bright", "wave;bright", "edge;bright", "edge", "")
    for seed in range(20):
        divided = divide([Chip(str(i), kinds[i % 7]) for i in range(210)], val=0.15, test=0.15, seed=seed)
        for split in ("val", "test"):
            held = [chip for chip in divided if chip.split == split]
            assert 3 <= sum(not chip.label for chip in held) <= 6  # 4.5
            counts = class_counts(held)
            assert all(6 <= counts[name] <= 13 for name in ("box", "wave", "edge"))  # 9
            assert 11 <= counts["bright"] <= 18  # 13.5


def write_scenes(root: Path, names: list[str]) -> Path:
    rng = np.random.default_rng(0)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(root / name, rng.random((40, 40), np.float32))
    return root


def test_a_scene_with_a_folder_in_each_class_is_one_group(tmp_path: Path) -> None:
    names = [f"{kind}/s{scene}/{index}.npy" for kind in ("ship", "tank") for scene in range(3) for index in range(2)]
    found = find_chips(write_scenes(tmp_path, names), group_by="parent")
    assert {chip.name: chip.group for chip in found} == {name: name.split("/")[1] for name in names}
    names = [f"{split}/{kind}/a/0.npy" for split in ("train", "val") for kind in ("ship", "tank")]
    with pytest.raises(DataError, match="the group a lies in the splits train and val"):
        divide(find_chips(write_scenes(tmp_path / "split", names), group_by="parent"), val=0.2, test=0, seed=0)


def test_files_of_one_image_stay_together_where_one_band_is_taken(tmp_path: Path) -> None:
    names = [f"{kind}/{index}_{band}.npy" for kind in ("ship", "tank") for index in range(9) for band in ("VH", "VV")]
    found = find_chips(write_scenes(tmp_path, names), bands=("band",))
    assert sorted(chip.name for chip in found) == sorted(names)
    for seed in range(5):
        divided = divide(found, val=0.2, test=0.2, seed=seed)
        assert len({(chip.name[:-7], chip.split) for chip in divided}) == 18


@pytest.mark.slow
def test_changed_images_are_no_resume(tmp_path: Path) -> None:
    data = write_chips(tmp_path / "chips", count=6)
    done = start(data, tmp_path / "run", steps=1, batch_size=2)
    assert start(data.rename(tmp_path / "moved"), done.folder, steps=1, batch_size=2).val == done.val
    last = tmp_path / "moved" / "tank" / "5.npy"
    np.save(last, np.load(last)[::-1])
    with pytest.raises(OptionError, match="the images changed since"):
        start(tmp_path / "moved", done.folder, steps=1, batch_size=2)


@pytest.mark.slow
def test_a_start_says_how_images_are_read(tmp_path: Path) -> None:
    """What a run's images held is what those of the next one hold, as in prediction."""
    data = write_chips(tmp_path / "chips", bands=2)
    for file in data.rglob("*.npy"):
        np.save(file, np.load(file)[:1])
    first = start(data, tmp_path / "first", radiometry="db", steps=1, batch_size=2)
    second = start(data, tmp_path / "second", model=first.folder, steps=1, batch_size=2)
    values = [sarhub_models.model_info(done.folder).training["images"] for done in (first, second)]
    assert values[0] == values[1] and values[0]["radiometry"] == "db"


def test_given_splits_that_tear_a_group_apart_are_refused() -> None:
    made = [Chip(str(i), "ab"[i % 2], group=f"g{i // 4}", split="train" if i < 10 else "test") for i in range(20)]
    with pytest.raises(DataError, match="the group g2 lies in the splits train and test"):
        divide(made, val=0.2, test=0.2, seed=0)


@pytest.mark.slow
def test_chips_on_both_sides_that_share_pixels_draw_a_warning(tmp_path: Path) -> None:
    data = write_chips(tmp_path / "chips")
    for index in range(12, 24):
        np.save(data / "ship" / f"{index}.npy", np.load(data / "ship" / f"{index - 12}.npy") * 0.9)
    with pytest.warns(UserWarning, match="held out of training share pixels"):
        start(data, tmp_path / "run", steps=2)


@pytest.mark.slow
def test_sizes_that_tell_the_classes_draw_a_warning_unless_the_middle_is_taken(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, side in (("ship", 40), ("tank", 56)):
        for index in range(24):
            (tmp_path / "chips" / name).mkdir(parents=True, exist_ok=True)
            np.save(tmp_path / "chips" / name / f"{index}.npy", rng.rayleigh(0.1, (side, side)).clip(0, 1))
    for name, given in (("resized", []), ("padded", ["preprocess.given.crop=56"])):  # a border tells the size, too
        with pytest.warns(UserWarning, match=r"sizes of the images alone .* of 100% .*crop=40 takes the middle"):
            start(tmp_path / "chips", tmp_path / name, steps=2, assignments=given)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*sizes of the images.*")
        done = start(tmp_path / "chips", tmp_path / "cut", steps=2, assignments=["preprocess.given.crop=40"])
    assert sarhub_models.model_info(done.folder).preprocessing.crop == 40


@pytest.mark.slow
def test_chips_that_differ_draw_none(tmp_path: Path) -> None:
    chips, rng = tmp_path / "chips", np.random.default_rng(0)
    for name, wide in (("ship", 12), ("tank", 21)):
        (chips / name).mkdir(parents=True)
        for index in range(24):
            shape = np.full((40, 40), 0.1)
            shape[10:30, 10:wide] = 0.4  # alike in all of a class, under speckle that is not
            np.save(chips / name / f"{index}.npy", np.clip(shape * rng.rayleigh(size=(40, 40)), 0, 1))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*share pixels.*")
        start(chips, tmp_path / "run", steps=2)


@pytest.mark.slow
def test_changed_labels_are_no_resume_even_of_a_finished_run(tmp_path: Path) -> None:
    data, labels = write_chips(tmp_path / "chips", count=6), tmp_path / "labels.csv"
    lines = [f"{kind}/{i}.npy,{kind}" for kind in ("ship", "tank") for i in range(6)]
    labels.write_text("\n".join(["name,label", *lines]) + "\n")
    run = data / "run"  # its own pictures are no chips
    done = start(data, run, labels=labels, steps=1, batch_size=2)
    labels.rename(tmp_path / "moved.csv")
    assert start(data, run, labels=tmp_path / "moved.csv", steps=1, batch_size=2).val == done.val
    labels.write_text("\n".join(["name,label", *lines[:-1], "tank/5.npy,ship"]) + "\n")
    with pytest.raises(OptionError, match="the labels changed since"):
        start(data, run, labels=labels, steps=1, batch_size=2)


def _one_class(root: Path) -> dict[str, object]:
    write_chips(root / "chips", classes=("ship",))
    return {}


def _empty_class(root: Path) -> dict[str, object]:
    (write_chips(root / "chips") / "plane").mkdir()
    return {}


def _single_chip(root: Path) -> dict[str, object]:
    write_chips(root / "chips")
    (root / "chips" / "plane").mkdir()
    np.save(root / "chips" / "plane" / "0.npy", np.eye(9))
    return {}


def _label_without_image(root: Path) -> dict[str, object]:
    write_chips(root / "chips", count=2)
    names = [f"{c}/{i}.npy,{c}" for c in ("ship", "tank") for i in range(3)]
    (root / "labels.csv").write_text("\n".join(["name,label", *names]) + "\n")
    return {"labels": root / "labels.csv"}


def _image_without_label(root: Path) -> dict[str, object]:
    write_chips(root / "chips", count=3)
    names = [f"{c}/{i}.npy,{c}" for c in ("ship", "tank") for i in range(2)]
    (root / "labels.csv").write_text("\n".join(["name,label", *names]) + "\n")
    return {"labels": root / "labels.csv"}


def _label_of_nothing(root: Path) -> dict[str, object]:
    write_chips(root / "chips", count=3)
    names = [f"{c}/{i}.npy" for c in ("ship", "tank") for i in range(3)]
    table = pa.table({"name": names, "label": [0.0, 0.0, float("nan"), 1.0, 1.0, 1.0]})
    pq.write_table(table, root / "labels.parquet")
    return {"labels": root / "labels.parquet"}


def _separator_in_a_folder(root: Path) -> dict[str, object]:
    write_chips(root / "chips", classes=("sea;calm", "land"))
    return {}


def _other_bands(root: Path) -> dict[str, object]:
    np.save(write_chips(root / "chips") / "tank" / "7.npy", np.random.default_rng(0).random((3, 40, 40)))
    return {}


def _one_pixel(root: Path) -> dict[str, object]:
    np.save(write_chips(root / "chips") / "tank" / "7.npy", np.ones((1, 1), np.float32))
    return {}


def _other_product(root: Path) -> dict[str, object]:
    write_chips(root / "chips")
    (root / "run").mkdir()
    (root / "run" / "weights.pt").write_bytes(b"")
    return {}


def _no_network(root: Path) -> dict[str, object]:
    write_chips(root / "chips")
    return {"model": "none"}


def _parents_are_classes(root: Path) -> dict[str, object]:
    write_chips(root / "chips")
    return {"group_by": "parent"}


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (_one_class, DataError, "at least two classes, found ship"),
        (_empty_class, DataError, "plane holds no image"),
        (_single_chip, DataError, "class plane has a single chip"),
        (_label_without_image, DataError, r"2 of 6 chips .* are not below .*: ship/2\.npy"),
        (_image_without_label, DataError, r"2 of 6 images .* have no label .*: ship/2\.npy"),
        (_label_of_nothing, DataError, r"ship/2\.npy has no label \(on_error=skip"),
        (_separator_in_a_folder, DataError, r"sea;calm: the folder of a class cannot have a ;"),
        (_other_bands, ImageError, r"tank/7\.npy: holds 3 bands"),
        (_one_pixel, ImageError, r"tank/7\.npy: all pixels are equal"),
        (_other_product, OptionError, "holds something that 'sarhub finetune' did not make"),
        (_no_network, OptionError, "needs a network"),
        (_parents_are_classes, OptionError, "each class is one folder"),
    ],
)
def test_bad_input_is_one_error_that_says_what_is_wrong(tmp_path: Path, make: object, error: type, text: str) -> None:
    options = make(tmp_path)  # type: ignore[operator]
    with pytest.raises(error, match=text):
        start(tmp_path / "chips", tmp_path / "run", **options)
    assert not (tmp_path / "run" / "chips.csv").exists()


@pytest.mark.slow
def test_bad_chips_are_left_out_on_request(tmp_path: Path) -> None:
    _one_pixel(tmp_path)
    done = start(tmp_path / "chips", tmp_path / "run", on_error="skip", steps=2)
    assert list(done.skipped) == ["tank/7.npy"] and "tank/7.npy" not in (done.folder / "chips.csv").read_text()


def test_chips_without_a_label_are_left_out_on_request_and_whole_numbers_are_names(tmp_path: Path) -> None:
    options = _label_of_nothing(tmp_path)
    with pytest.warns(UserWarning, match=r"1 chips have no label, ship/2\.npy among them"):
        found = find_chips(tmp_path / "chips", labels=options["labels"], strict=False)  # type: ignore[arg-type]
    assert [(chip.name, chip.label) for chip in found] == [
        ("ship/0.npy", "0"), ("ship/1.npy", "0"), ("tank/0.npy", "1"), ("tank/1.npy", "1"), ("tank/2.npy", "1"),
    ]  # fmt: skip


def test_splits_may_be_folders(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_chips(tmp_path / split, count=2)
    found = find_chips(tmp_path)
    assert {(chip.split, chip.label) for chip in found} == {
        (split, label) for split in ("train", "val", "test") for label in ("ship", "tank")
    }


@pytest.mark.parametrize("splits", [("train", "valid", "test"), ("Train", "Test"), ("train", "test", "unlabeled")])
def test_folders_that_look_like_splits_are_not_taken_for_classes(tmp_path: Path, splits: tuple[str, ...]) -> None:
    for split in splits:
        write_chips(tmp_path / split, count=2)
    with pytest.raises(DataError, match="look like splits: call them train, val and test"):
        find_chips(tmp_path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train", "ship"):
        (tmp_path / name).mkdir()
        for index in range(2):
            np.save(tmp_path / name / f"{index}.npy", np.zeros((8, 8), np.float32))
    assert {chip.label for chip in find_chips(tmp_path)} == {"train", "ship"}


def test_empty_cells_of_a_table_are_no_group(tmp_path: Path) -> None:
    data = write_chips(tmp_path / "chips", count=2)
    rows = [
        {"name": f"{label}/{i}.npy", "label": label, "scene": "a" if i else None}
        for label in ("ship", "tank")
        for i in (0, 1)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "labels.parquet")
    found = find_chips(data, labels=tmp_path / "labels.parquet", group_by="scene")
    assert {chip.name: chip.group for chip in found} == {
        "ship/0.npy": "", "ship/1.npy": "a", "tank/0.npy": "", "tank/1.npy": "a"
    }  # fmt: skip


def band_files(root: Path, count: int = 6) -> list[str]:
    """Write a file for each band of some images, and return their names."""
    rng, names = np.random.default_rng(0), []
    for index in range(count):
        for band in ("vh", "vv"):
            names.append(f"{'ship' if index % 2 else 'tank'}_{index}_{band}.npy")
            root.mkdir(exist_ok=True)
            np.save(root / names[-1], -5 - 20 * rng.random((40, 40), np.float32))
    return names


def label_of(name: str) -> str:
    return name.partition("_")[0]


@pytest.mark.parametrize("listed", ["all", "first", "second"])
def test_a_table_names_images_with_a_file_for_each_band(tmp_path: Path, listed: str) -> None:
    """Whichever of the files it names, an image counts once, and as its first band is called."""
    names = band_files(tmp_path / "chips")
    chosen = {"all": names, "first": names[1::2], "second": names[::2]}[listed]
    lines = [f"{name},{label_of(name)}" for name in chosen]
    (tmp_path / "labels.csv").write_text("\n".join(["name,label", *lines]) + "\n")
    found = find_chips(tmp_path / "chips", labels=tmp_path / "labels.csv", bands=("VV", "VH"))
    assert sorted((chip.name, chip.label) for chip in found) == sorted((n, label_of(n)) for n in names[1::2])
    assert len(find_chips(tmp_path / "chips", labels=tmp_path / "labels.csv", strict=False)) == len(chosen)


def test_a_table_that_says_two_things_of_one_image_is_refused(tmp_path: Path) -> None:
    names = band_files(tmp_path / "chips")
    lines = [f"{name},{label_of(name) if index else 'ship'}" for index, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(["name,label", *lines]) + "\n")
    with pytest.raises(DataError, match=r"says of tank_0_vv\.npy something else than of another band of the image"):
        find_chips(tmp_path / "chips", labels=tmp_path / "labels.csv", bands=("VV", "VH"))


@pytest.mark.slow
def test_two_band_weights_learn_from_a_table_of_one_file_for_each_band(tmp_path: Path) -> None:
    two = {"bands": ("VV", "VH"), "radiometry": "db", "steps": 1, "batch_size": 2}
    weights = start(
        write_chips(tmp_path / "two", bands=2), tmp_path / "weights", model="none", network="resnet18", **two
    )
    names = band_files(tmp_path / "chips", 12)
    rows = [{"name": name, "label": label_of(name)} for name in names]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "labels.parquet")
    done = start(
        tmp_path / "chips",
        tmp_path / "run",
        model=weights.folder,
        labels=tmp_path / "labels.parquet",
        steps=1,
        batch_size=2,
    )
    chips = (done.folder / "chips.csv").read_text().splitlines()[1:]
    assert sorted(line.partition(",")[0] for line in chips) == sorted(names[1::2])
    # the same files start from nothing and from weights of one band, too
    for number, model in enumerate(({"model": "none", "network": "resnet18"}, {"model": "mobilenetv3_dsn"})):
        again = start(tmp_path / "chips", tmp_path / f"{number}", labels=tmp_path / "labels.parquet", **two, **model)
        assert sarhub_models.model_info(again.folder).input.bands == ("VV", "VH")
        assert Predictor(again.folder).predict(tmp_path / "chips" / names[0]).label in ("ship", "tank")
