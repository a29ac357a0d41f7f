from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sarhub_models.datasets.recognition.mstar.phoenix import (
    PhoenixChip,
    parse_header,
    parse_phoenix,
    read_header,
    read_phoenix,
)
from sarhub_models.errors import ImageError
from tests.datasets.chips import phoenix, write_chip

MAGNITUDE = np.arange(12, dtype=np.float32).reshape(4, 3) / 8
PHASE = np.linspace(-3, 3, 12, dtype=np.float32).reshape(4, 3)
FILE = phoenix(MAGNITUDE, PHASE)
SHORTER = FILE.replace(b"Filename= hb19868.000\n", b"")  # leaves room for changes of the header before its length
KEYS = ("PhoenixHeaderLength", "native_header_length", "NumberOfRows", "NumberOfColumns")
VALUES = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.integers(0, 20).map(str),
    st.sampled_from(["", "nan", "1e9", "0x10", "3.0", "٣", "4 4", "9" * 400, "04", "+4"]),
)


def chip_or_error(data: bytes) -> PhoenixChip | None:
    """What any bytes may come to: a chip of exactly the size that they declare and hold, or a clear error."""
    try:
        chip = parse_phoenix(data)
    except ImageError as err:
        assert str(err).strip() and "Traceback" not in str(err)
        return None
    shape = (int(chip.header.fields["NumberOfRows"]), int(chip.header.fields["NumberOfColumns"]))
    for values in (chip.magnitude, chip.phase):
        assert values.shape == shape and values.dtype == np.float32 and np.isfinite(values).all()
    offset = sum(int(chip.header.fields[key]) for key in ("PhoenixHeaderLength", "native_header_length"))
    assert chip.header.offset == offset and len(data) == offset + 8 * shape[0] * shape[1]
    assert chip.magnitude.min() >= 0
    return chip


def test_a_chip_is_read() -> None:
    chip = parse_phoenix(FILE)
    np.testing.assert_array_equal(chip.magnitude, MAGNITUDE)
    np.testing.assert_array_equal(chip.phase, PHASE)
    assert chip.magnitude.dtype.isnative
    assert chip.header.fields["TargetType"] == "2s1_gun" and chip.header.fields["DesiredDepression"] == "17"
    assert (chip.header.rows, chip.header.columns) == (4, 3)


def test_a_native_header_is_passed_over() -> None:
    chip = parse_phoenix(phoenix(MAGNITUDE, PHASE, native=b"\xff" * 512))
    np.testing.assert_array_equal(chip.magnitude, MAGNITUDE)


def test_lines_may_end_as_on_windows() -> None:
    head, end, values = FILE.partition(b"[EndofPhoenixHeader]\n")
    lines = head.replace(b"\n", b"\r\n") + end
    length = f"PhoenixHeaderLength= {len(lines):05d}".encode()
    lines = lines.replace(f"PhoenixHeaderLength= {len(head + end):05d}".encode(), length)
    np.testing.assert_array_equal(parse_phoenix(lines + values).magnitude, MAGNITUDE)


@settings(max_examples=200)
@given(st.binary(max_size=300))
@example(b"")
@example(b"\n[PhoenixHeaderVer01.04]\n")
@example(b"[PhoenixHeaderVer01.04]\n[EndofPhoenixHeader]\n")
def test_any_bytes_are_no_chip(data: bytes) -> None:
    assert chip_or_error(data) is None
    assert chip_or_error(b"[PhoenixHeaderVer01.04]\n" + data + b"[EndofPhoenixHeader]") is None


@settings(max_examples=200)
@given(st.integers(0, len(FILE)), st.integers(0, 40), st.binary(max_size=40))
def test_any_mutation_gives_the_declared_size_or_an_error(start: int, length: int, patch: bytes) -> None:
    chip_or_error(FILE[:start] + patch + FILE[start + length :])


@settings(max_examples=100)
@given(st.integers(0, len(FILE) - 1))
def test_any_truncation_is_an_error(length: int) -> None:
    assert chip_or_error(FILE[:length]) is None


@given(st.binary(min_size=1, max_size=64))
def test_anything_appended_is_an_error(tail: bytes) -> None:
    assert chip_or_error(FILE + tail) is None


@pytest.mark.slow
@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1), st.booleans())
def test_any_declared_layout_gives_that_size_or_an_error(changes: dict[str, str], twice: bool) -> None:
    lines = FILE.split(b"\n")
    for key, value in changes.items():
        index = next(number for number, line in enumerate(lines) if line.startswith(key.encode()))
        line = f"{key}= {value}".encode()
        lines[index : index + 1] = [lines[index], line] if twice else [line]
    chip_or_error(b"\n".join(lines))


@settings(max_examples=50)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_chips_of_any_size_come_back(rows: int, columns: int, seed: int) -> None:
    values = np.random.default_rng(seed).random((2, rows, columns), dtype=np.float32)
    chip = chip_or_error(phoenix(values[0], values[1]))
    assert chip is not None
    np.testing.assert_array_equal((chip.magnitude, chip.phase), values)


def test_a_header_that_promises_gigabytes_costs_nothing() -> None:
    huge = SHORTER.replace(b"NumberOfRows= 4", b"NumberOfRows= 999999999")
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"expected 2\d{10} bytes"):
            parse_phoenix(huge)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x93NUMPY", "no Phoenix file"),
        (FILE[:200], r"expected \[EndofPhoenixHeader\] within 16384 bytes, found none"),
        (SHORTER.replace(b"NumberOfRows= 4", b"NumberOfRows= four"), "NumberOfRows= and a number, got 'four'"),
        (FILE.replace(b"NumberOfRows= 4\n", b""), "NumberOfRows= and a number, got None"),
        (
            SHORTER.replace(b"NumberOfRows= 4\n", b"NumberOfRows= 4\nNumberOfRows= 5\n"),
            "NumberOfRows twice, '4' and '5'",
        ),
        (FILE.replace(b"NumberOfRows= 4", b"NumberOfRows= 0"), "at least one pixel, got 0 rows and 3 columns"),
        (FILE[:-1], r"expected \d+ bytes for a chip of 4 by 3 pixels, found \d+"),
        (FILE[:-48], r"a scene of 16-bit values, 4 by 3 pixels; expected a chip"),
        (phoenix(MAGNITUDE * np.nan), "12 values of the chip are NaN or infinite"),
        (phoenix(MAGNITUDE - 1), r"expected magnitudes of 0 or above, got -1"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        parse_phoenix(data)


def test_a_length_within_the_header_is_an_error() -> None:
    length = parse_header(FILE).offset
    with pytest.raises(ImageError, match=r"PhoenixHeaderLength is 100, but the header ends at byte"):
        parse_header(FILE.replace(f"PhoenixHeaderLength= {length:05d}".encode(), b"PhoenixHeaderLength= 100"))


def test_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "HB19868.000"
    magnitude = write_chip(file, seed=3)
    np.testing.assert_array_equal(read_phoenix(file).magnitude, magnitude)
    assert read_header(file).fields["TargetAz"] == "3.000000"
    file.write_bytes(file.read_bytes()[:-5])
    for read in (read_phoenix, read_header):
        with pytest.raises(ImageError, match=r"HB19868\.000: expected \d+ bytes"):
            read(file)
    assert read_header(file, chip=False).rows == 8
    with pytest.raises(ImageError, match=r"HB1\.000: cannot be read"):
        read_phoenix(tmp_path / "HB1.000")
