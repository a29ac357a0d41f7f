"""The splits of a recipe's data, from single files or shards, and the statistics of their pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import DataError, OptionError
from .augment import INPUT, Numbers, make_transform
from .batches import Files, Rank
from .readers import Subset, open_split, stratified
from .sections import Data, Preprocess, Training
from .shards import Shards
from .sources import Sources, Split, naming_source

_PROBE = 4096  # samples that decide mean and std


def open_source(data: Data, split: str) -> Split:
    """Open a split, all of it.

    Raises:
        OptionError: the recipe does not say where the data lie.
        DataError: they are not there.
    """
    if data.shards is None:
        return Files(open_split(data, split), data)
    if data.input is not None or data.radiometry is not None:
        raise OptionError("shards hold one band of amplitude: data.input and data.radiometry need single files")
    return Shards(data, split)


def open_training(data: Data, seed: int) -> Split:
    """Open the samples to train on: the fraction of the split that the recipe asks for.

    Args:
        data: the recipe's section.
        seed: decides which samples, see :func:`~sarhub_models.engine.readers.stratified`.

    Raises:
        OptionError: as :func:`open_source`; or a part of shards, or a balanced draw from them, is asked for.
        DataError: as :func:`open_source`.
    """
    if isinstance(data, Training) and data.sources:
        splits = {}
        for name, part in data.sources.items():
            with naming_source(name):
                splits[name] = open_training(part.model_copy(update={"input": data.input}), seed)
        return Sources(splits, data.sources)
    if data.shards is not None and (data.fraction < 1 or data.balanced):
        raise OptionError(
            "shards are streamed in the order in which they lie: data.fraction and data.balanced need single files, "
            "data.root=FOLDER in place of data.shards"
        )
    source = open_source(data, data.train)
    if data.fraction == 1 or not isinstance(source, Files):
        return source
    chosen = stratified(source.scenes.labels, data.fraction, seed)
    return Files(Subset(source.scenes, chosen), data)


def mean_std(
    source: Split, preprocess: Preprocess, *, given: Mapping[str, Any] | None = None
) -> tuple[Numbers, Numbers]:
    """Return mean and standard deviation over the pixels after the operator: the recipe's, or else measured.

    Up to some thousand samples, spread over the split, are measured with the operator's evaluation parameter.

    Args:
        source: what is measured.
        preprocess: the recipe's section.
        given: ``data.input`` of the recipe.

    Returns:
        Two numbers, or two lists of one number a band where ``preprocess.given`` says the chain.

    Raises:
        DataError: a sample is damaged, or all pixels are alike.
    """
    known: tuple[Numbers | None, Numbers | None] = (preprocess.mean, preprocess.std)
    bands = 1
    if preprocess.given is not None:
        known, bands = (preprocess.given["mean"], preprocess.given["std"]), len((given or INPUT)["bands"])
    if known[0] is not None and known[1] is not None:
        return known[0], known[1]
    transform = make_transform(preprocess, [0.0] * bands, [1.0] * bands, given=given).until("normalize")
    count, total, squares = 0, [0.0] * bands, [0.0] * bands
    for batch in source.evaluation(256, process=Rank(0, max(1, len(source) // _PROBE))):
        images = batch.images if isinstance(batch.images, list) else [batch.images]
        for image in images:
            pixels = transform(image).double()
            count += pixels.numel() // bands
            for band in range(bands):
                plane = pixels.select(-3, band)
                total[band] += plane.sum().item()
                squares[band] += plane.square().sum().item()
    means = [value / count for value in total] if count else total
    variances = [value / count - mean**2 for value, mean in zip(squares, means, strict=True)] if count else squares
    if not min(variances) > 0:
        step = preprocess.operator if preprocess.given is None else preprocess.given.get("operator") or "reading"
        raise DataError(f"all pixels of a band are alike after {step}: expected images with a structure")
    found: tuple[Numbers, Numbers] = means, [variance**0.5 for variance in variances]
    if preprocess.given is None:
        found = means[0], variances[0] ** 0.5
    return found[0] if known[0] is None else known[0], found[1] if known[1] is None else known[1]
