"""What is believed of a file: published hashes, whole or the first digits of them."""

from __future__ import annotations

import pytest

from sarhub_models.io.files import Digests
from sarhub_models.weights import trust
from sarhub_models.zoo.manifest import Checksum

from .tiny import info

FOUND = Digests("0123456789abcdef" * 4, "89abcdef" * 5)


@pytest.mark.parametrize(
    ("checksum", "same", "pinned"),
    [
        (None, None, True),
        (Checksum("sha256", FOUND.sha256), True, False),
        (Checksum("sha256", FOUND.sha256[:8]), False, False),  # of a whole hash every digit counts
        (Checksum("git-blob", FOUND.git_blob), True, False),
        (Checksum("git-blob", FOUND.sha256[:40]), False, False),
        (Checksum("sha256-prefix", FOUND.sha256[:8]), True, True),
        (Checksum("sha256-prefix", "1123"), False, True),
    ],
)
def test_first_digits_are_compared_where_only_they_were_published(
    checksum: Checksum | None, same: bool | None, pinned: bool
) -> None:
    assert trust.needs_pin(info(checksum=checksum)) is pinned
    if checksum is not None:
        assert trust.matches(checksum, FOUND) is same
