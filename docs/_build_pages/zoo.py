"""The table of the model zoo: every entry of the list of weights, as HTML that can be searched without a server.

Rows are grouped into families, the weights that were trained on the same data.
"""

from __future__ import annotations

import re
from html import escape

import sarhub_models as sarhub
from sarhub_models.weights.sources import source_from
from sarhub_models.zoo import text

_BYTES = 4  # of a float32 number
# Heading, and whether a menu filters by it.
_COLUMNS = {
    "model": False,
    "network": True,
    "sensor": True,
    "method": True,
    "bands": True,
    "radiometry": True,
    "image": True,
    "parameters": True,
    "license": True,
    "vouched by": True,
}
_SIZES = {10e6: "below 10 M", 50e6: "10 to 50 M", 150e6: "50 to 150 M", float("inf"): "above 150 M"}

Cell = tuple[str, str, str]  # what it shows, as HTML; what it is searched and sorted by; what its menu has


def html() -> str:
    """Return the search box, the menus and the table."""
    infos = [sarhub.model_info(name) for name in sarhub.list_models()]
    families: dict[str, list[sarhub.ModelInfo]] = {}
    for info in infos:
        families.setdefault(info.dataset.title, []).append(info)
    rows = [_cells(info) for info in infos]
    menus = "\n".join(
        f'<label>{column} <select data-column="{number}"><option value="">all</option>'
        + "".join(f"<option>{escape(value)}</option>" for value in _in_order({row[number][2] for row in rows}))
        + "</select></label>"
        for number, (column, filtered) in enumerate(_COLUMNS.items())
        if filtered
    )
    heads = "".join(f'<th scope="col"><button type="button">{column}</button></th>' for column in _COLUMNS)
    body = "\n".join(_family(title, families[title]) for title in sorted(families, key=str.lower))
    return f"""<div id="zoo">
<form class="zoo-filters" hidden>
<label class="zoo-search">search <input type="search" placeholder="any words: vit VH 22 CC-BY"></label>
{menus}
<button type="reset">show all</button>
<output aria-live="polite"></output>
</form>
<div class="zoo-scroll" tabindex="0"><table>
<thead><tr>{heads}</tr></thead>
{body}
</table></div>
</div>
"""


def _in_order(values: set[str]) -> list[str]:
    """Return the entries of a menu: sizes by size, numbers by number, others by name."""
    sizes = list(_SIZES.values())
    return sorted(values, key=lambda v: (sizes.index(v) if v in sizes else 0, int(v) if v.isdigit() else 0, v))


def _family(title: str, infos: list[sarhub.ModelInfo]) -> str:
    count = f"{len(infos)} models" if len(infos) > 1 else "1 model"
    head = f'<tr class="zoo-family"><th scope="rowgroup" colspan="{len(_COLUMNS)}">{escape(title)} <span>{count}</span>'
    rows = [
        "<tr>"
        + "".join(
            f'<td data-label="{column}" data-value="{escape(value)}" data-menu="{escape(menu)}">{shown}</td>'
            for column, (shown, value, menu) in zip(_COLUMNS, _cells(info), strict=True)
        )
        + "</tr>"
        for info in infos
    ]
    return "\n".join(["<tbody>", f"{head}</th></tr>", *rows, "</tbody>"])


def _cells(info: sarhub.ModelInfo) -> list[Cell]:
    """Return a row, column by column."""
    params = info.params or 0
    size = f"{text.thousands(info.params)} ({text.size(info.params * _BYTES)})" if info.params else "–"
    bands = ", ".join("one" if band == "single" else band for band in info.input.bands)
    plain = [
        info.network,
        info.dataset.sensor,
        info.method,
        bands,
        info.input.radiometry or "not stated",
        str(info.preprocessing.side or "any"),
    ]
    license = info.license or "none stated"
    source = info.preprocessing.source
    vouched = escape(info.preprocessing.vouched_by)
    linked = f'<a href="{escape(source)}">{vouched}</a>' if source and source.startswith("https:") else vouched
    return [
        (_name(info), info.name, ""),
        *((escape(value), value, value) for value in plain),
        (escape(size), str(params), next(label for most, label in _SIZES.items() if params < most) if params else "–"),
        (escape(license), license, license),
        (linked, info.preprocessing.vouched_by, info.preprocessing.vouched_by),
    ]


def _name(info: sarhub.ModelInfo) -> str:
    line = f'sarhub.create_model("{info.name}", pretrained=True)'
    links = [
        f'<a href="{escape(url)}">{text}</a>'
        for text, url in (("paper", _paper(info)), ("weights", source_from(info.sources[0]).page()))
        if url
    ]
    return (
        f"<strong>{escape(info.name)}</strong>"
        f'<span class="zoo-line"><code>{escape(line)}</code><button type="button" class="zoo-copy">copy</button></span>'
        f'<span class="zoo-links">{" · ".join(links)}</span>'
    )


def _paper(info: sarhub.ModelInfo) -> str:
    found = re.search(r"https://\S+", info.citation)
    return found[0] if found else ""
