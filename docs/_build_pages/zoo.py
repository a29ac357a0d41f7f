"""The table of the model zoo: every entry of the list of weights, as HTML that can be searched without a server."""

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
    "data": True,
    "method": True,
    "bands": True,
    "radiometry": True,
    "parameters": False,
    "license": True,
}


def html() -> str:
    """Return the search box, the menus and the table."""
    infos = [sarhub.model_info(name) for name in sarhub.list_models()]
    rows = [_cells(info) for info in infos]
    menus = "\n".join(
        f'<label>{column} <select data-column="{number}"><option value="">all</option>'
        + "".join(f"<option>{escape(value)}</option>" for value in sorted({row[number][1] for row in rows}))
        + "</select></label>"
        for number, (column, filtered) in enumerate(_COLUMNS.items())
        if filtered
    )
    heads = "".join(f'<th scope="col"><button type="button">{column}</button></th>' for column in _COLUMNS)
    body = "\n".join(
        "<tr>" + "".join(f'<td data-value="{escape(value)}">{shown}</td>' for shown, value in row) + "</tr>"
        for row in rows
    )
    return f"""<div id="zoo">
<form class="zoo-filters" hidden>
<label class="zoo-search">search <input type="search" placeholder="any words: vit VH 22 CC-BY"></label>
{menus}
<button type="reset">show all</button>
<output aria-live="polite"></output>
</form>
<div class="zoo-scroll" tabindex="0"><table>
<thead><tr>{heads}</tr></thead>
<tbody>
{body}
</tbody>
</table></div>
</div>
"""


def _cells(info: sarhub.ModelInfo) -> list[tuple[str, str]]:
    """Return what a row shows, as HTML, and what it is searched and sorted by, column by column."""
    size = f"{text.thousands(info.params)} ({text.size(info.params * _BYTES)})" if info.params else "–"
    bands = ", ".join("one" if band == "single" else band for band in info.input.bands)
    plain = [
        info.network,
        info.dataset.sensor,
        info.dataset.title,
        info.method,
        bands,
        info.input.radiometry or "not stated",
    ]
    return [
        (_name(info), info.name),
        *((escape(value), value) for value in plain),
        (escape(size), str(info.params or 0)),
        (escape(info.license or "none stated"), info.license or "none stated"),
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
