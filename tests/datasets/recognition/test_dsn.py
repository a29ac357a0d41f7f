from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarhub_models.datasets import load_dsn
from sarhub_models.datasets.recognition.dsn.reader import PARTS, SPLITS, assign_splits, overlap_groups, pack_folder
from sarhub_models.errors import DataError, UnknownNameError
from tests.datasets.repository import patch, repository


def write(root: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    write(tmp_path, repository())
    for part in ("s1", "tsx"):
        pack_folder(tmp_path / PARTS[part].folder, tmp_path / f"{part}.npz", part)
    return tmp_path


def s1_name(x: int, y: int, scene: str = "4312_HH", label: str = "water") -> str:
    return f"{label}/{label}_{scene}_{x}_{y}"


def crossing_pairs(part: str, names: list[str], splits: np.ndarray) -> list[tuple[str, str]]:
    """All pairs of overlapping patches on two sides, found the slow way."""
    pattern = PARTS[part].position
    found = [pattern.fullmatch(name.split("/")[1]) for name in names]
    spots = [(m.groupdict().get("scene"), int(m["x"]), int(m["y"])) for m in found if m]
    return [
        (names[i], names[j])
        for i in range(len(names))
        for j in range(i)
        if splits[i] != splits[j]
        and spots[i][0] == spots[j][0]
        and abs(spots[i][1] - spots[j][1]) < 64
        and abs(spots[i][2] - spots[j][2]) < 64
    ]


def test_packed_patches_come_back_exactly(packed: Path) -> None:
    found = {}
    for split in SPLITS:
        patches = load_dsn(packed, parts=("tsx", "s1"), split=split, quantity="complex")
        assert patches.class_names == ("tsx/railways", "tsx/ships", "s1/forest", "s1/water")
        assert patches.images.dtype == np.complex64
        for image, label, name in zip(patches.images, patches.labels, patches.names, strict=True):
            assert name.startswith(patches.class_names[label] + "/")
            found[name] = image
    folders = {"s1": "data/slc_data", "tsx": "data/slc_TSX"}
    assert len(found) == 24
    for name, image in found.items():
        part, _, path = name.partition("/")
        assert np.array_equal(image, np.load(packed / folders[part] / f"{path}.npy"))


def test_splits_are_joined(packed: Path) -> None:
    one = {split: load_dsn(packed, parts=("s1",), split=split) for split in SPLITS}
    both = load_dsn(packed, parts=("s1",), split="train+val")
    assert sorted(both.names) == sorted(one["train"].names + one["val"].names)
    assert len(both.images) == len(both.labels) == len(both.names)
    with pytest.raises(UnknownNameError, match="validation"):
        load_dsn(packed, parts=("s1",), split="train+validation")


def test_amplitude_is_the_magnitude_of_the_digital_numbers(packed: Path) -> None:
    amplitude, values = load_dsn(packed), load_dsn(packed, quantity="complex")
    assert amplitude.images.dtype == np.float32
    assert amplitude.images.shape == (len(amplitude.labels), 64, 64)
    np.testing.assert_allclose(amplitude.images, np.abs(values.images), rtol=1e-6)
    assert amplitude.images.max() > 300


def test_one_part_has_its_own_labels(packed: Path) -> None:
    patches = load_dsn(packed, parts=("tsx",))
    assert patches.class_names == ("tsx/railways", "tsx/ships")
    assert set(patches.labels.tolist()) == {0, 1}


def test_missing_data_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"s1\.npz.*download_dsn"):
        load_dsn(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parts": ("tsz",)}, "did you mean 'tsx'"),
        ({"split": "validation"}, "no split"),
        ({"quantity": "intensity"}, "no quantity"),
    ],
)
def test_unknown_names_are_named(packed: Path, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        load_dsn(packed, **arguments)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", ["truncated", "text", "other keys", "other shape", "other length", "labels", "numbers for names", "zeros"]
)
def test_damaged_packed_files_are_refused(packed: Path, damage: str) -> None:
    file = packed / "s1.npz"
    with np.load(file) as archive:
        arrays = dict(archive)
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-2000])
    elif damage == "text":
        file.write_text("not an archive")
    else:
        if damage == "other keys":
            del arrays["split"]
        elif damage == "other shape":
            arrays["iq"] = arrays["iq"][:, :32]
        elif damage == "labels":
            arrays["label"] = arrays["label"] - 1
        elif damage == "numbers for names":
            arrays["name"] = np.arange(len(arrays["name"]))
        elif damage == "zeros":  # 370 MB that 360 kB unpack to
            arrays["iq"] = np.broadcast_to(np.zeros(1, np.int16), (22_000, 64, 64, 2))
        else:
            arrays["label"] = arrays["label"][:-1]
        np.savez_compressed(file, **arrays)
    with pytest.raises(DataError, match=r"s1\.npz"):
        load_dsn(packed)


def test_empty_files_are_left_out_with_a_warning(tmp_path: Path) -> None:
    write(tmp_path, repository())
    with pytest.warns(UserWarning, match="1 empty file.*Tanker_x1_y1"):
        pack_folder(tmp_path / "data/slc_OpenSARShip", tmp_path / "opensarship.npz", "opensarship")
    total = sum(len(load_dsn(tmp_path, parts=("opensarship",), split=split).labels) for split in SPLITS)
    assert total == 12


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (patch(0)[:32], "complex 64x64"),
        (patch(0).real, "complex 64x64"),
        (patch(0) + 0.25, "whole digital numbers"),
        (patch(0) * 1000, "within int16"),
        (patch(0) * np.nan, "whole digital numbers"),
        (np.array([{}]), "not a readable"),
    ],
)
def test_foreign_patches_are_refused_and_nothing_is_written(tmp_path: Path, array: np.ndarray, message: str) -> None:
    write(tmp_path, repository())
    bad = tmp_path / "data/slc_data/water/water_4312_HH_1_1.npy"
    np.save(bad, array, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        pack_folder(tmp_path / "data/slc_data", tmp_path / "s1.npz", "s1")
    assert {file.name for file in tmp_path.iterdir()} == {"README.md", "data"}


def test_a_name_without_a_position_is_refused(tmp_path: Path) -> None:
    np.save(write(tmp_path, {"water/.keep": b""}) / "water/water.npy", patch(0))
    with pytest.raises(DataError, match="does not end in a position"):
        pack_folder(tmp_path, tmp_path / "s1.npz", "s1")


def test_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"<class>/\*\.npy"):
        pack_folder(tmp_path, tmp_path / "s1.npz", "s1")


def test_groups_join_overlapping_patches_through_others() -> None:
    names = [s1_name(0, 0), s1_name(126, 0), s1_name(63, 0), s1_name(190, 0), s1_name(0, 0, "BBE7_HH")]
    groups = overlap_groups("s1", names)
    assert groups[0] == groups[1] == groups[2]
    assert len({groups[0], groups[3], groups[4]}) == 3


def test_ship_chips_count_as_one_scene() -> None:
    groups = overlap_groups(
        "opensarship", ["Tanker/Tanker_x10_y10", "Cargo/Other Type_x40_y40", "Cargo/Cargo_x200_y10"]
    )
    assert groups[0] == groups[1] != groups[2]


@given(
    st.lists(
        st.tuples(st.integers(0, 900), st.integers(0, 900), st.sampled_from(["4312_HH", "BBE7_HH"]), st.integers(0, 2)),
        min_size=1,
        max_size=60,
        unique_by=lambda spot: spot[:3],
    )
)
def test_no_split_separates_overlapping_patches(spots: list[tuple[int, int, str, int]]) -> None:
    names = [s1_name(x, y, scene) for x, y, scene, _ in spots]
    splits = assign_splits("s1", names, np.array([label for *_, label in spots]))
    assert crossing_pairs("s1", names, splits) == []


def test_splits_have_the_stated_shares_and_do_not_depend_on_the_order() -> None:
    names = [s1_name(100 * index, 0) for index in range(400)]
    labels = np.arange(400) % 4
    splits = assign_splits("s1", names, labels)
    for label in range(4):
        inside = splits[labels == label]
        assert [(inside == split).sum() for split in SPLITS] == [70, 15, 15]
    order = np.random.default_rng(0).permutation(400)
    again = assign_splits("s1", [names[i] for i in order], labels[order])
    assert np.array_equal(again, splits[order])


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_real_splits_share_no_pixels(test_data: Path, part: str) -> None:
    with np.load(test_data / "data" / "dsn" / f"{part}.npz") as arrays:
        names, labels, given_splits = arrays["name"].tolist(), arrays["label"], arrays["split"]
    groups = overlap_groups(part, names)
    for splits in (given_splits, assign_splits(part, names, labels)):
        assert all(len(set(splits[groups == group])) == 1 for group in range(groups.max() + 1))
        assert all(set(labels[splits == split]) == set(labels) for split in SPLITS)
    assert crossing_pairs(part, names, given_splits) == []


@pytest.mark.slow
def test_real_patches_load(test_data: Path) -> None:
    patches = load_dsn(test_data / "data" / "dsn")
    assert patches.images.shape == (2285, 64, 64)
    assert len(patches.class_names) == 13
    assert np.isfinite(patches.images).all()
