from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarhub_models.datasets.lists import ImageIndex, Listed, find_list, label_array, read_list
from sarhub_models.errors import DataError

from .scenes import write_npy, write_png

NAMES = st.text("ab_,. ", min_size=1, max_size=4).filter(lambda name: name.strip(" .") == name)


def write(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


def index(root: Path, *paths: str) -> ImageIndex:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return ImageIndex(root)


def test_a_list_is_read_line_by_line(tmp_path: Path) -> None:
    file = write(tmp_path / "l.txt", "a/b.npy 3\r\n\n  Barren,_rock or sand/2_588 0 \nc\t1\n")
    assert read_list(file, 4) == [
        Listed("a/b.npy", (3,)),
        Listed("Barren,_rock or sand/2_588", (0,)),
        Listed("c", (1,)),
    ]


def test_multilabel_lines(tmp_path: Path) -> None:
    entries = read_list(write(tmp_path / "l.txt", "x_VV.npy 9,10\ny_VV.npy 18\n"), 19, multilabel=True)
    labels = label_array(entries, 19, multilabel=True)
    assert labels.dtype == np.uint8 and labels.shape == (2, 19)
    assert [np.flatnonzero(row).tolist() for row in labels] == [[9, 10], [18]]


@pytest.mark.parametrize("line", ["a.npy", "3", "a.npy 4", "a.npy -1", "a.npy x", "a.npy 1,2", "a.npy 1,", "a.npy 1.0"])
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    file = write(tmp_path / "l.txt", f"ok.npy 0\n{line}\n")
    with pytest.raises(DataError, match=r"l\.txt, line 2: expected 'path label' with labels from 0 to 3"):
        read_list(file, 4)


@pytest.mark.slow
def test_a_line_of_a_million_blanks_is_read_at_once(tmp_path: Path) -> None:
    for end in ("x", "1,x"):  # with a pattern that tries every blank this takes hours
        with pytest.raises(DataError, match="line 1: expected 'path label'") as caught:
            read_list(write(tmp_path / "l.txt", f"a{' ' * 1_000_000}{end}\n"), 3)
        assert len(str(caught.value)) < 500
    assert read_list(write(tmp_path / "l.txt", f"a{' ' * 1_000_000}1\n"), 3) == [Listed("a", (1,))]


def test_a_byte_order_mark_is_no_part_of_a_list(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_bytes(b"\xef\xbb\xbfa.npy 1\n")
    assert read_list(tmp_path / "l.txt", 3) == [Listed("a.npy", (1,))]


def test_unreadable_lists(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_list(tmp_path / "none.txt", 4)
    with pytest.raises(DataError, match="is empty"):
        read_list(write(tmp_path / "l.txt", "\n \n"), 4)
    (tmp_path / "binary.txt").write_bytes(b"\x93NUMPY\xff\xfe 0")
    with pytest.raises(DataError, match="cannot read"):
        read_list(tmp_path / "binary.txt", 4)


@pytest.mark.slow
@given(st.lists(st.tuples(NAMES, st.lists(st.integers(0, 18), min_size=1, max_size=5)), min_size=1))
def test_what_is_written_is_read(lines: list[tuple[str, list[int]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = "".join(f"{path} {','.join(map(str, labels))}\n" for path, labels in lines)
        entries = read_list(write(Path(folder) / "l.txt", text), 19, multilabel=True)
    assert entries == [Listed(path, tuple(labels)) for path, labels in lines]


def test_the_list_of_a_split(tmp_path: Path) -> None:
    plain = write(tmp_path / "train.txt", "a 0")
    assert find_list(tmp_path, "train", prefix="ben_") == plain
    prefixed = write(tmp_path / "ben_train.txt", "a 0")
    assert find_list(tmp_path, "train", prefix="ben_") == prefixed
    with pytest.raises(DataError, match=r"ben_val\.txt or .*val\.txt.*training\.splits"):
        find_list(tmp_path, "val", prefix="ben_")


@pytest.mark.slow
@settings(max_examples=40)
@given(st.sets(st.lists(NAMES, min_size=1, max_size=3).map(tuple), min_size=1, max_size=6), st.data())
def test_every_file_is_found_by_its_path(paths: set[tuple[str, ...]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = ["/".join(parts) + ".npy" for parts in sorted(paths)]
        images = index(Path(folder), *files)
        chosen = data.draw(st.sampled_from(files))
        for listed in (chosen, chosen.removesuffix(".npy"), f"/other/machine/{chosen}", chosen.replace("/", "\\")):
            assert images.find([listed]) == [Path(folder) / chosen]


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ("Sand/2_588", "c28/Sand/2_588.npy"),  # the list starts below the root
        ("data/c28/Sand/2_588", "c28/Sand/2_588.npy"),  # and above it
        ("/home/someone/TSX/c28/Sand/2_588.npy", "c28/Sand/2_588.npy"),
        ("/home/someone/renamed/Sand/2_588.npy", "c28/Sand/2_588.npy"),  # only the tail is known here
        (r"D:\data\Sand\2_588.npy", "c28/Sand/2_588.npy"),
        ("/elsewhere/flat.npy", "flat.npy"),
        ("./flat.npy", "flat.npy"),
        ("name.with.dots", "name.with.dots.npy"),
        ("2_588", None),  # two of that name
        ("c29/Sand/2_588", None),  # listed elsewhere: never taken from a namesake's folder
        ("/home/someone/Snow/2_588.npy", None),
        ("absent.npy", None),
    ],
)
def test_paths_are_matched_on_the_tail(tmp_path: Path, listed: str, found: str | None) -> None:
    images = index(tmp_path, "c28/Sand/2_588.npy", "c28/Hills/2_588.npy", "flat.npy", "name.with.dots.npy")
    if found is None:
        with pytest.raises(DataError, match=r"2_588|absent"):
            images.find([listed])
    else:
        assert images.find([listed]) == [tmp_path / found]


def test_the_longest_tail_wins(tmp_path: Path) -> None:
    images = index(tmp_path, "a/x.npy", "b/a/x.npy", "x.npy")
    assert images.find(["/m/b/a/x.npy", "/m/c/a/x.npy", "/m/x.npy"]) == [
        tmp_path / "b/a/x.npy",
        tmp_path / "a/x.npy",
        tmp_path / "x.npy",
    ]


def test_an_ambiguous_path_names_both_files(tmp_path: Path) -> None:
    images = index(tmp_path, "one/x.npy", "two/x.npy")
    with pytest.raises(DataError, match=r"one/x\.npy or .*two/x\.npy"):
        images.find(["x.npy"])


def test_the_listed_suffix_decides_between_formats(tmp_path: Path) -> None:
    write_npy(tmp_path / "x.npy")
    write_png(tmp_path / "x.png")
    assert ImageIndex(tmp_path).find(["x.png"]) == [tmp_path / "x.png"]
    assert ImageIndex(tmp_path, suffixes=(".npy",)).find(["x.png"]) == [tmp_path / "x.npy"]
    with pytest.raises(DataError, match=r"x\.npy or .*x\.png"):
        ImageIndex(tmp_path).find(["x"])


def test_missing_files_are_counted_and_named(tmp_path: Path) -> None:
    images = index(tmp_path, "Sand/a.npy")
    with pytest.raises(DataError, match=r"2 of 3 listed images are not below .*'Sand/b' first"):
        images.find(["Sand/b", "Sand/a", "Sand/c"])
    with pytest.raises(DataError, match=r"Sand/a\.npy has that name, but lies in another folder"):
        images.find(["Hills/a"])


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        ImageIndex(tmp_path / "none")
    write_png(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"expected files named \.npy"):
        ImageIndex(tmp_path, suffixes=(".npy",))
