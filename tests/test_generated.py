"""What is generated from the code is up to date: the enums of the manifest's schema, and the list of public names."""

from __future__ import annotations

import pytest

from tests import renew


@pytest.mark.parametrize(
    ("generated", "file"), [(renew.schema, renew.SCHEMA), (renew.public_api, renew.PUBLIC_API)], ids=["schema", "api"]
)
def test_files_are_those_of_the_code(generated, file):
    assert generated().splitlines() == file.read_text(encoding="utf-8").splitlines(), "wanted? then: make renew"
