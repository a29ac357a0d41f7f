"""Only whole sets of weights: what each entry of the list must say, and what must be left out of none."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from sarhub_models.zoo.entries import ModelInfo
from sarhub_models.zoo.manifest import list_models, model_info

COMMIT = re.compile("[0-9a-f]{40}")


def lacks(info: ModelInfo) -> Iterator[str]:
    """What an entry does not say, though it must."""
    p, given = info.preprocessing, info.input
    if not given.bands or len(set(given.bands)) != len(given.bands):
        yield "bands in their order"
    if given.radiometry is None and not p.note:
        yield "a radiometry, or why there is none"
    if given.range is None and given.radiometry in ("amplitude", "dn"):
        yield "a range"
    if p.side is None and not p.note:
        yield "a size, or why there is none"
    if len(p.mean) not in (len(given.bands), given.channels) or len(p.mean) != len(p.std):
        yield "statistics of each band"
    if not p.source and (p.vouched_by != "assumed" or not p.note):
        yield "where the statistics stand, or that they are assumed, and why"
    if not info.code_license or not info.license_text:
        yield "licenses of code and weights"
    for source in info.sources:
        address = source.get("revision", source.get("url", ""))
        if source["type"] in ("hf", "http") and not COMMIT.search(address) and not info.unverified:
            yield "a fixed revision, or the reason for none"
    if info.checksum is None and not info.unverified:
        yield "a checksum, or the reason for none"


@pytest.mark.parametrize("name", list_models())
def test_an_entry_is_whole(name: str) -> None:
    info = model_info(name)
    assert list(lacks(info)) == []
    assert ModelInfo.from_dict(json.loads(json.dumps(info.to_dict()))) == info
    assert info.citation and info.method
    assert info.class_names is None or len(info.class_names) == info.num_classes
    p = info.preprocessing
    if p.operator is not None:
        assert p.low is not None and p.high is not None and p.eval_value is not None
        assert p.low <= p.eval_value <= p.high
        assert len(info.input.bands) == 1 and info.input.radiometry == "amplitude"
    assert len(info.input.bands) in (1, info.input.channels)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"code_license": None}, "licenses"),
        ({"checksum": None, "unverified": None}, "a checksum"),
        ({"input": {"range": None}}, "a range"),
        ({"input": {"radiometry": None}, "preprocessing": {"note": None}}, "a radiometry"),
        ({"preprocessing": {"source": None}}, "where the statistics"),
        ({"preprocessing": {"mean": (1.0, 2.0)}}, "statistics of each"),
        ({"preprocessing": {"size": None, "final_crop": None, "note": None}}, "a size"),
        ({"sources": ({"type": "hf", "repo": "a/b", "revision": "main", "filename": "c"},)}, "a fixed revision"),
    ],
)
def test_what_is_left_out_is_found(change: dict[str, Any], missing: str) -> None:
    info = model_info("resnet18_tsx.grsl2020")
    with pytest.MonkeyPatch.context() as patch:
        for kind in (type(info), type(info.preprocessing), type(info.input)):
            patch.setattr(kind, "__post_init__", lambda self: None)
        parts = {key: dataclasses.replace(getattr(info, key), **v) for key, v in change.items() if type(v) is dict}
        broken = dataclasses.replace(info, **{**change, **parts})
    assert any(found.startswith(missing) for found in lacks(broken))
