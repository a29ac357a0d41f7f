"""The page of the model zoo: complete, and safe to put into a page."""

from __future__ import annotations

import importlib.util
import re
from html import unescape
from pathlib import Path

import sarhub_models

PAGE = Path(__file__).parents[2] / "docs" / "_build_pages" / "zoo.py"


def test_every_model_has_a_row_with_its_line() -> None:
    spec = importlib.util.spec_from_file_location("zoo", PAGE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.html()
    lines = sorted(unescape(line) for line in re.findall(r"<code>(.*?)</code>", page))
    assert lines == [f'sarhub.create_model("{name}", pretrained=True)' for name in sarhub_models.list_models()]
    rows = re.findall(r"<tr><td.*?</tr>", page)
    assert {row.count("<td ") for row in rows} == {page.count('<th scope="col"')}
    families = re.findall(r"<tbody>.*?</tbody>", page, re.DOTALL)
    assert sum(family.count('class="zoo-family"') for family in families) == len(families) > 10
    assert sum(len(re.findall(r"<tr><td", family)) for family in families) == len(rows)
    satlas = next(row for row in rows if "swin_v2_b_satlas.mi" in row)
    cells = re.findall(r'data-value="(.*?)"', satlas)
    assert cells[1:6] == ["swin_v2_b", "Sentinel-1", "supervised", "VH, VV", "dn"]
    assert cells[8:] == ["ODC-BY", "authors"]
    menu = re.findall(r'data-menu="(.*?)"', satlas)
    assert menu[7] == "50 to 150 M"
    for column in ("bands", "radiometry", "license", "parameters", "image", "vouched by"):
        assert f"<label>{column} <select" in page
