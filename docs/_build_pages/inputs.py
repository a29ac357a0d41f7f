"""The page that says which input each set of weights wants, made from the list of weights."""

from __future__ import annotations

from collections.abc import Sequence

import sarhub_models as sarhub
from sarhub_models.zoo import text
from sarhub_models.zoo.entries import Input, Preprocessing

_FEW = 3  # names that are written out


def names_in_short(names: Sequence[str]) -> str:
    """Return a pattern that fits these names and no other, or the names."""
    if len(names) > _FEW:
        infos = [sarhub.model_info(name) for name in names]
        for pattern in dict.fromkeys(
            pattern
            for info in infos
            for pattern in (f"*_{info.dataset.name}", f"*_{info.dataset.name}*", f"*.{info.tag}")
        ):
            if sarhub.list_models(pattern) == sorted(names):
                return f"`{pattern}`"
    return ", ".join(f"`{name}`" for name in names)


def page() -> str:
    """Return a section for each distinct input."""
    groups: dict[tuple[Preprocessing, Input], list[str]] = {}
    for name in sarhub.list_models():
        info = sarhub.model_info(name)
        groups.setdefault((info.preprocessing, info.input), []).append(name)
    ordered = sorted(groups.values(), key=lambda names: sarhub.model_info(names[0]).dataset.title.lower())
    return "\n".join(_section(names) for names in ordered)


def _section(names: list[str]) -> str:
    info = sarhub.model_info(names[0])
    title = info.dataset.title + (
        f", {info.tag}" if info.tag and len({n.rpartition(".")[2] for n in names}) == 1 else ""
    )
    lines = [f"## {title}", "", f"For {names_in_short(names)}.", ""]
    lines += [f"- **Image**: {text.input_text(info)}.", f"- **Then**: {'; '.join(text.preprocessing_steps(info))}."]
    source = info.preprocessing.source
    who = text.vouched(info).partition(": http")[0]
    link = f" ([source]({source}))" if source and source.startswith("https:") else ""
    lines.append(f"- **Vouched for** {who}{link}.")
    if info.preprocessing.note:
        lines.append(f"- {info.preprocessing.note}")
    for name, variant in info.variants.items():
        lines.append(f'- `create_transform(…, variant="{name}")`: {variant.note or "see `sarhub info`"}')
    others = info.dataset.other_sensors
    if others:
        lines.append(f"- Also trained on {', '.join(others)}; here it takes radar alone.")
    return "\n".join(lines) + "\n"
