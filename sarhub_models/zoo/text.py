"""Descriptions of a set of weights in words, for ``sarhub info`` and for model cards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import ManifestError
from ..transforms.radiometry import RADIOMETRIES
from .entries import SINGLE, ModelInfo, Preprocessing
from .manifest import load_manifest

__all__ = [
    "classes",
    "data",
    "example",
    "facts",
    "input_text",
    "network_title",
    "preprocessing_steps",
    "radiometry",
    "size",
    "summary",
    "thousands",
    "training",
    "vouched",
]


def data(info: ModelInfo) -> str:
    """Return what the weights were trained on."""
    dataset = info.dataset
    labels = "one label a chip" if dataset.num_classes else "no classes"
    kind = "several labels a chip" if dataset.multilabel else labels
    others = "; ".join(f"{sensor} ({', '.join(bands)})" for sensor, bands in dataset.other_sensors.items())
    return f"{dataset.title} ({dataset.sensor}; {kind})" + (
        f"; also {others}: here it takes radar alone" if others else ""
    )


def classes(info: ModelInfo) -> str:
    """Return the number of classes and, where they are known, their names."""
    if info.num_classes is None:
        return "known from the file only"
    if info.num_classes == 0:
        return "none: an encoder, which gives features"
    names = f": {'; '.join(info.class_names)}" if info.class_names else " (their names were not published)"
    return f"{info.num_classes}{names}"


def input_text(info: ModelInfo) -> str:
    """Return bands and radiometry of the images that the weights were trained on."""
    bands = ", ".join("one polarization (not published which)" if band == SINGLE else band for band in info.input.bands)
    limits = info.input.range
    span = f" from {limits[0]:g} to {limits[1]:g}" if limits is not None else ""
    return f"{bands}; {radiometry(info)}{span}"


def radiometry(info: ModelInfo) -> str:
    """Return in words what the pixels of the images hold."""
    name = info.input.radiometry
    return RADIOMETRIES[name].title if name is not None else "a radiometry that was not published"


def preprocessing_steps(info: ModelInfo) -> list[str]:
    """Return the way of an image to the network's input, step by step, with every number."""
    p = info.preprocessing
    clip = [f"held between {_numbers(p.clip[0])} and {_numbers(p.clip[1])}"] if p.clip is not None else []
    how = "" if p.interpolation == "antialias" else f" ({p.interpolation})"
    resize = [f"resized to {p.size} x {p.size}{how}"] if p.size is not None else []
    final_crop = [f"cut from the middle, {p.final_crop} x {p.final_crop}"] if p.final_crop is not None else []
    repeat = [f"repeated to {info.input.channels} channels"] if len(info.input.bands) < info.input.channels else []
    crop = [f"cut from the middle, {p.crop} x {p.crop}"] if p.crop is not None else []
    if p.operator is not None:
        first = "amplitude of one polarization, in [0, 1]"
        if p.full_scale is not None:
            first += f" (the training data were digital numbers divided by {p.full_scale:g})"
        normalize = f"(x - {p.mean[0]!r}) / {p.std[0]!r}"
        return [first, *clip, *crop, *_operator(p), normalize, *repeat, *resize, *final_crop]
    if set(p.mean) == {0} and set(p.std) == {1}:
        return [*clip, *resize, *crop, *repeat, "nothing else: the values as they are"]
    each = "channel" if len(p.mean) > len(info.input.bands) else "band"
    normalize = f"(x - mean) / std of each {each}: mean {_numbers(p.mean)}; std {_numbers(p.std)}"
    return [*clip, *resize, *crop, *([*repeat, normalize] if each == "channel" else [normalize, *repeat])]


def _numbers(numbers: Any) -> str:
    """Return one number, or one a band."""
    return ", ".join(f"{number:g}" for number in (numbers if isinstance(numbers, tuple) else (numbers,)))


def vouched(info: ModelInfo) -> str:
    """Return who says that the weights want this preprocessing, and where."""
    p = info.preprocessing
    who = {
        "authors": "by the authors of the weights",
        "peer": "by another project that uses the weights",
        "assumed": "by no one: an assumption",
    }[p.vouched_by]
    return f"{who}: {p.source}" if p.source else who


def _operator(p: Preprocessing) -> list[str]:
    from ..transforms.operators import OPERATORS

    if str(p.operator) not in OPERATORS:
        raise ManifestError(f"expected an operator of {', '.join(OPERATORS)}, found {p.operator!r}")
    row = OPERATORS[str(p.operator)]
    drawn = f"; in training {row.parameter} is drawn from U({p.low:g}, {p.high:g})" if p.low != p.high else ""
    return [f"{row.title}, {row.parameter} = {p.eval_value:g}{drawn}"] if row.title else []


def example(name: str, info: ModelInfo) -> str:
    """Return the lines of Python that use a model.

    Args:
        name: as for :func:`~sarhub_models.create_model`.
        info: its entry.
    """
    chip = "(H, W) amplitude in [0, 1]"
    if len(info.input.bands) > 1:
        chip = f"({len(info.input.bands)}, H, W), {', '.join(info.input.bands)} in {radiometry(info)}"
    return (
        "import sarhub_models as sarhub\n"
        f'model = sarhub.create_model("{name}", pretrained=True).eval()\n'
        f'transform = sarhub.create_transform("{name}")\n'
        f"{'features' if info.num_classes == 0 else 'logits'} = model(transform(chip)[None])  # chip: {chip}"
    )


def facts(info: ModelInfo, *, here: str | None, sources: Iterable[str]) -> list[tuple[str, str]]:
    """Return labels and texts of all that is known about a model.

    Args:
        info: the model.
        here: ``"cached"``, ``"bundled"``, the path of a file of one's own, or ``None`` where its weights are not on
            this disk.
        sources: the places of the weights in words, in the order in which they are tried; none of one's own.
    """
    steps = preprocessing_steps(info)
    places = "\n".join(f"{number}. {source}" for number, source in enumerate(sources, 1))
    registered = _release(info, places) if places else []
    rows = [
        ("name", info.name),
        ("network", f"{info.network}: {network_title(info)}"),
        ("parameters", thousands(info.params)),
        ("trained on", data(info)),
        ("method", info.method),
        ("input", input_text(info)),
        ("classes", classes(info)),
        ("preprocessing", "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))),
        ("on this disk", here or f"no; to download: 'sarhub download {info.name}'"),
        *registered,
        ("license", info.license_text),
        ("cite", info.citation),
    ]
    after = 1 + [label for label, _ in rows].index("preprocessing")
    if info.variants:
        names = ", ".join(f'"{name}" (vouched for by: {p.vouched_by})' for name, p in info.variants.items())
        rows.insert(after, ("variants", f"create_transform(…, variant=…): {names}"))
    if info.preprocessing.note is not None:
        rows.insert(after, ("note", info.preprocessing.note))
    rows.insert(after, ("vouched for", vouched(info)))
    if info.training is not None:
        rows.insert(6, ("training", "\n".join(training(info))))
    return rows


def _release(info: ModelInfo, places: str) -> list[tuple[str, str]]:
    """Return labels and texts of what is known of the released file."""
    size = None if info.file_size is None else f"{info.file_size:,} bytes"
    rows = [
        ("sources", places),
        ("access", info.access),
        ("size of the file", size),
        ("checksum", checksum(info)),
        ("unverified", info.unverified),
        ("outputs", _outputs(info)),
        ("code", info.code_license),
    ]
    return [(label, text) for label, text in rows if text is not None]


def _outputs(info: ModelInfo) -> str | None:
    """Return who published outputs that the network's can be compared with."""
    if info.answers is None:
        return None
    who = "the authors" if info.answers.get("published_by") == "authors" else "another project"
    return f"published by {who}; to compare: 'sarhub verify --answers {info.name}'"


def training(info: ModelInfo) -> list[str]:
    """Return how the weights were made, fact by fact; the whole recipe is in the entry alone."""
    return [f"{key}: {value}" for key, value in (info.training or {}).items() if key != "settings"]


def checksum(info: ModelInfo) -> str:
    """Return the checksum of the released file, or what is done where none was published."""
    if info.checksum is None:
        return "none published; the first download is pinned on this disk, later ones must equal it"
    if info.checksum.algorithm == "sha256-prefix":
        return f"sha256 starts with {info.checksum.value}; the whole of it is pinned at the first download"
    return f"{info.checksum.algorithm} {info.checksum.value}"


def summary(info: ModelInfo, here: str | None) -> dict[str, Any]:
    """Return the JSON-ready row of a model in ``sarhub list``."""
    return {
        "name": info.name,
        "network": info.network,
        "dataset": info.dataset.name,
        "num_classes": info.num_classes,
        "params": info.params,
        "bands": list(info.input.bands),
        "radiometry": info.input.radiometry,
        "method": info.method,
        "license": info.license,
        "vouched_by": info.preprocessing.vouched_by,
        "here": here,
    }


def network_title(info: ModelInfo) -> str:
    """Return what the architecture is."""
    return load_manifest().networks.get(info.network, info.network)


def thousands(count: int | None) -> str:
    """Return a number of parameters for people: ``"23.6 M"``."""
    return "-" if count is None else f"{count / 1e6:.1f} M"


def size(count: int) -> str:
    """Return a number of bytes for people: ``"94.4 MB"``."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
