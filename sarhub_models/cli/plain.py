"""Text that is safe to print: names cannot steer the terminal, and characters that it lacks become similar ones."""

from __future__ import annotations

import unicodedata
from typing import TextIO

__all__ = ["PlainText", "inert"]

_SIMILAR = {"–": "-", "—": "-", "−": "-", "×": "x", "≤": "<=", "≥": ">=", "→": "->", "·": ".", "“": '"', "”": '"'}
_KEPT = "\n\t\xa0"


def inert(text: str) -> str:
    r"""Return text whose control characters are written out, ``\x1b`` for the one that begins escape sequences."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _KEPT else c.encode("unicode_escape").decode("ascii") for c in text)


def _similar(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode("ascii")
        return _SIMILAR.get(character) or plain or "?"
    return character


class PlainText:
    """A stream of text for programs and terminals of any encoding.

    Args:
        stream: where the text goes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text without what would steer a terminal."""
        if not isinstance(text, str):
            raise TypeError(f"expected text, got {type(text).__name__}")
        return self.write_styled(inert(text))

    def write_styled(self, text: str) -> int:
        """Write text with the escape sequences that are in it."""
        encoding = self._stream.encoding or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            text = "".join(_similar(character, encoding) for character in text)
        return self._stream.write(text)
