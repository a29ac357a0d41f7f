"""Random changes of a file: of its bytes, its numbers, its JSON, and of parts that are then put together again."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Sample", "mutate"]

_NUMBERS = (
    b"-1",
    b"0",
    b"1",
    b"4",
    b"255",
    b"65536",
    b"2147483648",
    b"18446744073709551616",
    b"9" * 400,
    b"1e999",
    b"-0.0",
)
_NUMBERS += (b"NaN", b"Infinity", b"0x10", b"1_000", b"", b"\xd9\xa3", b"1.5")
_WORDS = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**40,
    2**63 - 1,
    2**64 - 1,
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 2**31, 2**63, 2**64, 10**400, 1.5, -0.0, 1e300, 1e-300),
    *(float("nan"), float("inf"), "", "x", "../../x", "/dev/zero", "\x1b[31m", "\udcff", "é" * 300, "9" * 5000),
    *([], {}, [[]], [None], [1, 2], {"": None}, [[[[[[]]]]]]),
)
_TOKEN = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")


def _joined(parts: Sequence[bytes]) -> bytes:
    return b"".join(parts)


@dataclass(frozen=True)
class Sample:
    """A valid file.

    Attributes:
        parts: what it is made of.
        join: makes the file of its parts, with lengths and checksums that fit, so that changes reach what is behind.
    """

    parts: tuple[bytes, ...]
    join: Callable[[Sequence[bytes]], bytes] = _joined

    @property
    def content(self) -> bytes:
        """The bytes of the file."""
        return self.join(self.parts)


def mutate(sample: Sample, others: Sequence[Sample], chance: random.Random) -> bytes:
    """Return the bytes of a file after one to four random changes.

    Args:
        sample: the file.
        others: of its kind, of which pieces are taken.
        chance: draws the changes.
    """
    parts, whole = list(sample.parts), chance.random() < 0.3
    if whole or not parts:
        parts = [sample.content]
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        index = chance.randrange(len(parts))
        if not whole and len(parts) > 1 and chance.random() < 0.08:
            parts = _rearranged(parts, index, chance)
        else:
            parts[index] = _changed(parts[index], others, chance)
        if not parts:
            return b""
    return parts[0] if whole else sample.join(parts)


def _rearranged(parts: list[bytes], index: int, chance: random.Random) -> list[bytes]:
    """Drop, double or swap a part."""
    kind = chance.randrange(3)
    if kind == 0:
        return parts[:index] + parts[index + 1 :]
    if kind == 1:
        return [*parts[:index], parts[index], *parts[index:]]
    other = chance.randrange(len(parts))
    parts[index], parts[other] = parts[other], parts[index]
    return parts


def _changed(content: bytes, others: Sequence[Sample], chance: random.Random) -> bytes:
    if content[:1] in (b"{", b"[") and chance.random() < 0.75:
        try:
            return _changed_json(content, chance)
        except (ValueError, RecursionError):
            pass
    return chance.choice(_CHANGES)(content, others, chance)


def _place(content: bytes, chance: random.Random) -> int:
    # Headers are at the begin and at the end: half of the changes go there
    size = len(content)
    if size > 128 and chance.random() < 0.5:
        return chance.randrange(64) if chance.random() < 0.7 else size - 1 - chance.randrange(64)
    return chance.randrange(size + 1)


def _flip(content: bytes, others: Sequence[Sample], chance: random.Random) -> bytes:
    place = min(_place(content, chance), len(content) - 1)
    return content if place < 0 else _put(content, place, bytes([content[place] ^ (1 << chance.randrange(8))]))


def _overwrite(content: bytes, others: Sequence[Sample], chance: random.Random) -> bytes:
    length = chance.choice((1, 2, 4, 8))
    word = chance.choice(_WORDS) % (1 << 8 * length)
    return _put(content, _place(content, chance), word.to_bytes(length, chance.choice(("little", "big"))))


def _random(content: bytes, others: Sequence[Sample], chance: random.Random) -> bytes:
    return _put(content, _place(content, chance), bytes(chance.randrange(256) for _ in range(chance.randrange(1, 9))))


def _cut(content: bytes, others: Sequence[Sample], chance: random.Random) -> bytes:
    return content[: _place(content, chance)]


def _delete(content: bytes, others: Sequence[Sample], chance: random.Random) -> bytes:
    place = _place(content, chance)
    return content[:place] + content[place + chance.choice((1, 2, 8, 100)) :]


def _double(content: bytes, others: Sequence[Sample], chance: random.Random) -> bytes:
    place, length = _place(content, chance), chance.choice((1, 8, 64, 512))
    return content[:place] + content[place : place + length] * chance.choice((2, 3, 40)) + content[place + length :]


def _number(content: bytes, others: Sequence[Sample], chance: random.Random) -> bytes:
    found = list(_TOKEN.finditer(content[:20_000]))
    if not found:
        return _overwrite(content, others, chance)
    match = chance.choice(found)
    return content[: match.start()] + chance.choice(_NUMBERS) + content[match.end() :]


def _splice(content: bytes, others: Sequence[Sample], chance: random.Random) -> bytes:
    sample = chance.choice(others)
    other = chance.choice(sample.parts) if sample.parts else sample.content
    place, start = _place(content, chance), _place(other, chance)
    return content[:place] + other[start : start + chance.choice((4, 32, 1000))] + content[place:]


def _put(content: bytes, place: int, value: bytes) -> bytes:
    return content[:place] + value + content[place + len(value) :]


_CHANGES = (_flip, _flip, _overwrite, _overwrite, _random, _cut, _delete, _double, _number, _number, _splice)


def _changed_json(content: bytes, chance: random.Random) -> bytes:
    document = json.loads(content)
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        node = waiting.pop()
        items = list(node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ())
        places += [(node, key) for key, _ in items]
        waiting += [value for _, value in items]
    if not places:
        return json.dumps(chance.choice(_VALUES)).encode()
    node, key = chance.choice(places)
    kind = chance.randrange(6)
    if kind == 0:
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        node[chance.choice(("", "x", "__metadata__", "type", key.upper()))] = node.pop(key)
    elif kind == 2:
        other, there = chance.choice(places)
        if there in other if isinstance(other, dict) else there < len(other):
            node[key] = copy.deepcopy(other[there])
    elif kind == 3 and isinstance(node, list):
        node += node[:40]
    else:
        node[key] = chance.choice(_VALUES)
    return json.dumps(document).encode()
