"""Show one model: ``sarhub info``."""

from __future__ import annotations

from ...zoo import text
from ...zoo.manifest import model_info, own_file
from .. import console
from ..arguments import Json, Weights
from ..local import weights_location


def command(name: Weights, as_json: Json = False) -> None:
    """Show all about one model.

    Data, classes, preprocessing with its numbers, sources, checksum, license, citation, and how to load it. Of a file
    or a run, what it says of itself.

    \b
    Examples:
      sarhub info resnet50_ben
      sarhub info swin_t_tsx --json
      sarhub info outputs/my_run
    """
    info = model_info(name)
    file = own_file(name)
    here = weights_location(info) if file is None else str(file)
    if as_json:
        console.print_json({**info.to_dict(), "here": here, "license": info.license})
    else:
        from ...weights.sources import source_from

        sources = [source_from(entry).text() for entry in info.sources]
        console.print_facts(text.facts(info, here=here, sources=sources))
        print(f"\n{text.example(name, info)}")  # outside the columns: whole lines to copy
