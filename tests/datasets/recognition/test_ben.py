from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarhub_models.datasets import BigEarthNetS1
from sarhub_models.datasets.recognition.ben import (
    CLASS_NAMES,
    CORINE_TO_CLASS,
    corine_labels,
    db_to_amplitude,
)
from sarhub_models.errors import DataError, ImageError, OptionError
from sarhub_models.zoo.manifest import load_manifest
from tests.datasets.scenes import pixels, write_bigearthnet_patch, write_npy

A = "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_61_39"
B = "S1B_IW_GRDH_1SDV_20180524T154016_35VNL_34_70"
C = "S1B_IW_GRDH_1SDV_20180515T063421_29SNC_19_59"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    patches = tmp_path / "BigEarthNet-S1-v1.0"
    write_bigearthnet_patch(patches, A, ["Sea and ocean", "Estuaries", "Rice fields", "Airports"], 1)
    write_bigearthnet_patch(patches, B, ["Bare rock", "Intertidal flats"], 2)
    write_bigearthnet_patch(patches, C, ["Transitional woodland/shrub"], 3)
    return tmp_path


def classes(labels: np.ndarray) -> list[int]:
    return np.flatnonzero(labels).tolist()


def test_published_layout(root: Path) -> None:
    data = BigEarthNetS1(root)
    assert data.names == (
        f"BigEarthNet-S1-v1.0/{A}/{A}_VV.tif",
        f"BigEarthNet-S1-v1.0/{C}/{C}_VV.tif",
    )
    assert data.excluded == (B,)
    assert data.multilabel and data.labels.dtype == np.uint8 and data.labels.shape == (2, 19)
    assert [classes(row) for row in data.labels] == [[2, 18], [13]]
    assert classes(data.counts()) == [2, 13, 18] and data.counts().sum() == 3


def test_decibels_become_amplitude(root: Path) -> None:
    image = BigEarthNetS1(root)[0].image
    backscatter = -25 + 30 * pixels(1, 120)
    assert image.shape == (120, 120) and image.dtype == np.float32
    np.testing.assert_allclose(image, 10 ** (backscatter / 20), rtol=1e-5)
    np.testing.assert_allclose(db_to_amplitude(np.array([0.0, -20.0, 20.0, -40.0])), [1, 0.1, 10, 0.01], rtol=1e-6)
    vh = BigEarthNetS1(root, band="VH")[0].image
    np.testing.assert_allclose(vh, image * 10 ** (-6 / 20), rtol=1e-5)


def test_lists_choose_published_patches(root: Path) -> None:
    (root / "ben_test.txt").write_text(f"{C}_VV.npy 0,9\n/home/someone/BEN/{A}_VV.npy 18\n{B} 4\n")
    data = BigEarthNetS1(root, "test")
    assert [name.rpartition("/")[2] for name in data.names] == [f"{C}_VV.tif", f"{A}_VV.tif", f"{B}_VV.tif"]
    assert [classes(row) for row in data.labels] == [[0, 9], [18], [4]] and data.excluded == ()
    assert BigEarthNetS1(root, "test", band="VH").names[0].endswith(f"{C}_VH.tif")


def test_arrays_and_lists(tmp_path: Path) -> None:
    write_npy(tmp_path / "npy" / f"{A}_VV.npy", 1)
    write_npy(tmp_path / "npy" / f"{A}_VH.npy", 2)
    (tmp_path / "train.txt").write_text(f"{A}_VV.npy 2,4,6\n")
    data = BigEarthNetS1(tmp_path / "npy", "train", lists=tmp_path)
    assert data.names == (f"{A}_VV.npy",) and classes(data.labels[0]) == [2, 4, 6]
    np.testing.assert_array_equal(data[0].image, pixels(1))
    crossed = BigEarthNetS1(tmp_path / "npy", "train", band="VH", lists=tmp_path)
    np.testing.assert_array_equal(crossed[0].image, pixels(2))


def test_nomenclature() -> None:
    assert len(CORINE_TO_CLASS) == 43
    assert sum(label is None for label in CORINE_TO_CLASS.values()) == 11
    assert {label for label in CORINE_TO_CLASS.values() if label is not None} == set(range(19))
    assert load_manifest().datasets["ben"].class_names == CLASS_NAMES


@pytest.mark.parametrize(
    ("corine", "label"),
    [
        ("Continuous urban fabric", "Urban fabric"),
        ("Annual crops associated with permanent crops", "Permanent crops"),
        ("Sparsely vegetated areas", "Natural grassland and sparsely vegetated areas"),
        ("Sclerophyllous vegetation", "Moors, heathland and sclerophyllous vegetation"),
        ("Peatbogs", "Inland wetlands"),
        ("Salines", "Coastal wetlands"),
        ("Water courses", "Inland waters"),
        ("Coastal lagoons", "Marine waters"),
        ("Burnt areas", None),
        ("Green urban areas", None),
    ],
)
def test_corine_names(corine: str, label: str | None) -> None:
    assert [CLASS_NAMES[index] for index in classes(corine_labels([corine]))] == ([] if label is None else [label])


@given(st.lists(st.sampled_from(sorted(CORINE_TO_CLASS))))
def test_labels_are_the_union_of_their_names(names: list[str]) -> None:
    expected = {CORINE_TO_CLASS[name] for name in names} - {None}
    assert set(classes(corine_labels(names))) == expected


def test_damaged_metadata_are_named(root: Path) -> None:
    file = root / "BigEarthNet-S1-v1.0" / A / f"{A}_labels_metadata.json"
    for content in (
        '{"labels": "Pastures"}',
        '{"labels": ',
        "[]",
        '{"label": []}',
        '{"labels": [3]}',
        '{"labels": [[]]}',
    ):
        file.write_text(content)
        with pytest.raises(DataError, match=f"{A}_labels_metadata"):
            BigEarthNetS1(root)
    file.write_text(json.dumps({"labels": ["Pasture"]}))
    with pytest.raises(DataError, match=r"'Pasture' is not a CORINE class .* did you mean 'Pastures'"):
        BigEarthNetS1(root)
    file.unlink()
    with pytest.raises(DataError, match=f"expected the labels of the patch in .*{A}_labels_metadata.json"):
        BigEarthNetS1(root)


def test_missing_patches_and_bands_are_named(root: Path) -> None:
    (root / "BigEarthNet-S1-v1.0" / C / f"{C}_VH.tif").unlink()
    assert len(BigEarthNetS1(root)) == 2
    with pytest.raises(DataError, match=f"1 of 2 images are missing, .*{C}_VH.tif first"):
        BigEarthNetS1(root, band="VH")
    other = A.replace("_61_39", "_61_40")
    (root / "val.txt").write_text(f"{A}_VV.npy 1\n{other}_VV.npy 1\n")
    with pytest.raises(DataError, match=f"1 of 2 listed patches are not below .*{other} first"):
        BigEarthNetS1(root, "val")


def test_a_patch_in_two_folders_is_refused(root: Path) -> None:
    write_bigearthnet_patch(root / "copy", A, ["Pastures"])
    with pytest.raises(DataError, match=f"{A} and .*{A} are the same patch"):
        BigEarthNetS1(root)


def test_a_damaged_tif_is_named(root: Path) -> None:
    file = root / "BigEarthNet-S1-v1.0" / A / f"{A}_VV.tif"
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(ImageError, match=f"{A}_VV.tif"):
        BigEarthNetS1(root)[0]


def test_what_was_expected_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        BigEarthNetS1(tmp_path / "none")
    with pytest.raises(DataError, match=r"expected folders such as S1A_.*_labels_metadata\.json"):
        BigEarthNetS1(tmp_path)
    with pytest.raises(OptionError, match="'VV' or 'VH'"):
        BigEarthNetS1(tmp_path, band="HH")
    with pytest.raises(DataError, match=r"ben_train\.txt"):
        BigEarthNetS1(tmp_path, "train")
