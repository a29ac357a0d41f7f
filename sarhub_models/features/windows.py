"""Predictions of images of any size, window by window."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..datasets.windows.base import Bands, background, read_filled
from ..errors import ImageError, OptionError
from ..io.progress import progress_bar
from ..io.raster import Raster
from ..io.windows import cut, grid
from ..transforms import normalize_amplitude
from ..zoo.entries import SINGLE
from .journal import Journal, maker_digest
from .predict import Predictor
from .stream import image_names

__all__ = ["Image", "Output", "Row", "WindowPredictor"]

Image = str | os.PathLike[str] | np.ndarray | Tensor
Row = tuple[int, list[tuple[int, Any]]]
"""The first row of windows that lie side by side, and the first column of each with what the network says of it."""

_OVERLAP = 4  # a quarter of a window

One = TypeVar("One")
Many = TypeVar("Many")


class Output(ABC, Generic[One, Many]):
    """The place of the answers to many images: of each one something is kept, and at last one file is written.

    Attributes:
        kind: what the answers are, as messages say it.
        names: of the images.
        last: the last file; a journal lies beside it until then.
    """

    kind: ClassVar[str]

    def __init__(
        self, last: Path, images: Sequence[Path], names: Sequence[str] | None, class_names: tuple[str, ...]
    ) -> None:
        self.last, self.images, self.class_names = last, images, class_names
        self.names = image_names(images, names)

    def has(self, index: int) -> bool:
        """Return whether all is there that the journal says of an image."""
        return True

    @abstractmethod
    def keep(self, index: int, answer: One) -> np.ndarray:
        """Keep the answer to an image; return its numbers for the journal, float32 (N,)."""

    @abstractmethod
    def finish(self, rows: Mapping[int, np.ndarray], skipped: dict[str, str]) -> Many:
        """Write the last file and return all answers, from their numbers by index and why others have none by name."""


class WindowPredictor(Predictor, ABC, Generic[One, Many]):
    """A predictor of masks or boxes, whose network sees windows; arguments as of :class:`.Predictor`.

    Large images go through the network in windows that overlap by a quarter. Pixels without data are filled for the
    network and get no answer, whatever ``nodata`` says.
    """

    plain_beyond: ClassVar[bool] = False
    output: ClassVar[Callable[..., Output[Any, Any]]]

    def predict(  # type: ignore[override]
        self, images: Image | Iterable[Image], *, batch_size: int = 8
    ) -> One | Iterator[One]:
        """Predict one image, or any number of them as they come.

        Args:
            images: a path, or an array (H, W) or (C, H, W) as :attr:`transform` takes it; or an iterable of these.
            batch_size: windows that go through the network at once.

        Raises:
            ImageError: an image cannot be used; the message names it.
        """
        if isinstance(images, str | os.PathLike | np.ndarray | Tensor):
            return self._one(images, batch_size)
        return (self._one(image, batch_size) for image in images)

    def predict_files(  # type: ignore[override]
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        out: str | os.PathLike[str],
        names: Sequence[str] | None = None,
        batch_size: int = 8,
        on_error: Literal["stop", "skip"] = "stop",
        progress: bool = True,
    ) -> Many:
        """Predict files into others, each of which appears whole; a later call with the same arguments resumes.

        Args:
            paths: files that :func:`~sarhub_models.io.selected.read_selected` reads.
            out: where the answers go; the class says in which form.
            names: name of each image; by default its path (of masks, the name of its file).
            batch_size: windows that go through the network at once.
            on_error: ``"stop"`` at a bad image, or ``"skip"`` and note it.
            progress: draw a bar on stderr where that is a terminal.

        Raises:
            ImageError: an image cannot be used; the message names it. Or none can.
            OptionError: answers cannot go there, or those that are there come from other weights or arguments.
        """
        if on_error not in ("stop", "skip"):
            raise OptionError(f"expected on_error to be 'stop' or 'skip', got {on_error!r}")
        images = [Path(path) for path in paths]
        output: Output[One, Many] = type(self).output(Path(out), images, names, self.class_names)
        journal = Journal(output.last, images, output.names, maker=self.maker(), bands=self.transform.bands)
        rows = {index: row for index, row in journal.read().items() if output.has(index)}
        skipped: dict[str, str] = {}
        with progress_bar("images", len(images), done=len(rows), show=progress) as advance:
            for index in (one for one in range(len(images)) if one not in rows):
                try:
                    answer = self._one(images[index], batch_size)
                except ImageError as err:
                    if on_error == "stop":
                        raise ImageError(
                            f"{err} (the {output.kind} so far are kept, and the next run resumes)"
                        ) from err
                    skipped[output.names[index]] = str(err)
                else:
                    rows[index] = output.keep(index, answer)
                    journal.append([index], rows[index][None])
                advance(1)
        if not rows:
            raise ImageError(f"none of the {len(images)} images could be used: {next(iter(skipped.values()))}")
        found = output.finish(dict(sorted(rows.items())), skipped)
        journal.file.unlink(missing_ok=True)
        return found

    @abstractmethod
    def _answer(self, raster: Raster, name: str, batch_size: int) -> One:
        """Return the answer to an image."""

    def _one(self, image: Image, batch_size: int) -> One:
        name = "" if isinstance(image, np.ndarray | Tensor) else os.fspath(image)
        raster = self.read(image)
        try:
            return self._answer(raster, name, batch_size)
        except ImageError as err:
            raise ImageError(f"{name}: {err}" if name and not str(err).startswith(f"{name}: ") else str(err)) from err

    @property
    def window(self) -> int:
        """Side of the windows in pixels."""
        assert self.transform.size is not None
        return self.transform.size

    @property
    def stride(self) -> int:
        """Pixels from one window to the next."""
        return self.window - self.window // _OVERLAP

    def read(self, image: Image) -> Raster:
        """Return an image with all that its file says.

        Raises:
            ImageError: it cannot be used; the message names it.
        """
        if isinstance(image, np.ndarray | Tensor):
            array = image if isinstance(image, np.ndarray) else np.asarray(image)
            if array.ndim not in (2, 3):
                raise ImageError(f"expected an image (H, W) or (C, H, W), got {array.shape}")
            if array.dtype.kind not in "biufc":
                raise ImageError(f"expected an image of numbers, got {array.dtype}")
            array = array.reshape(-1, *array.shape[-2:])
            valid = np.isfinite(np.ma.getdata(array)) & ~np.ma.getmaskarray(array)
            return Raster(np.ma.getdata(array), None if valid.all() else valid)
        wanted = () if self.transform.bands == (SINGLE,) else self.transform.bands
        given = None if self.bands is None else tuple(self.bands)
        band = None if self.band is None else tuple(self.band)
        return Bands(wanted, given, band).read(Path(image))

    def rows(self, raster: Raster, *, batch_size: int) -> Iterator[Row]:
        """Yield what the network says of the windows of an image, one row of windows after the other.

        Args:
            raster: of :meth:`read`.
            batch_size: windows that go through the network at once.

        Raises:
            ImageError: the pixels are not what they were said to be.
        """
        pixels, valid = read_filled(raster)
        beyond = background(pixels) if self.plain_beyond else None
        places = grid(*valid.shape, window=self.window, stride=self.stride)
        for top, group in groupby(places, key=lambda place: place[0]):
            lefts = [left for _, left in group if valid[top : top + self.window, left : left + self.window].any()]
            found: list[tuple[int, Any]] = []
            for begin in range(0, len(lefts), batch_size):
                chosen = lefts[begin : begin + batch_size]
                parts = np.stack([cut(pixels, top, left, window=self.window, beyond=beyond) for left in chosen])
                found += zip(chosen, self._answers(self._inputs(parts)), strict=True)
            yield top, found

    def maker(self) -> str:
        """Return the digest of all that decides what becomes of an image."""
        band, bands = (None if names is None else tuple(names) for names in (self.band, self.bands))
        return maker_digest(self.network, self.transform, self.full_scale, band, bands, self.stride)

    def _inputs(self, parts: np.ndarray) -> Tensor:
        if self.transform.takes_amplitude:
            trained = self.transform.trained_full_scale
            parts = normalize_amplitude(parts, full_scale=self.full_scale, trained=trained)
        prepared: Tensor = self.transform(parts)
        return prepared.to(self.device)

    @torch.inference_mode()
    def _answers(self, inputs: Tensor) -> list[Any]:
        """Return the answers of the network to a batch (B, C, S, S), one a window."""
        return list(self.network(inputs).float().cpu().numpy())
