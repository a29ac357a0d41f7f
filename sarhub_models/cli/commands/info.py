"""Show one model: ``sarhub info``."""

from __future__ import annotations

from ...zoo import text
from ...zoo.manifest import model_info
from .. import console
from ..arguments import Json, Name
from ..local import weights_location


def command(name: Name, as_json: Json = False) -> None:
    """Show all about one model.

    Data, classes, preprocessing with its numbers, sources, checksum, license, citation, and how to load it.

    \b
    Examples:
      sarhub info resnet50_ben
      sarhub info swin_t_tsx --json
    """
    info = model_info(name)
    here = weights_location(info)
    if as_json:
        console.print_json({**info.to_dict(), "here": here, "license": info.license})
    else:
        from ...weights.sources import source_from

        sources = [source_from(entry).text() for entry in info.sources]
        console.print_facts(text.facts(info, here=here, sources=sources))
        print(f"\n{text.example(name, info)}")  # outside the columns: whole lines to copy
