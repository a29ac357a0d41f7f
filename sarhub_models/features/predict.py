"""Classes of images by weights that describe themselves: :class:`Predictor`."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from ..errors import ImageError, OptionError
from ..io.tables import check_table, write_table
from ..models.choice import find_info, image_reading
from ..models.create import create_model, create_transform
from ..models.export import load_exported
from ..models.whole import SCORES, scores
from ..transforms import normalize_amplitude
from ..transforms.steps import fill_missing
from ..weights.checkpoint import EXPORTED
from ..zoo.manifest import own_file
from .journal import Journal
from .stream import Images, image_names, stream

__all__ = ["Prediction", "Predictions", "Predictor"]

Image = str | os.PathLike[str] | np.ndarray | Tensor
_OTHERS = {"segmentation": ("masks", "MaskPredictor"), "detection": ("boxes", "BoxPredictor")}
_BATCH = 64
_IMAGE = 3  # axes of a prepared image
_HALF = 0.5  # probability from which a label is given, where an image can have several


@dataclass(frozen=True)
class Prediction:
    """The class of one image.

    Attributes:
        label: the most probable class; of weights with several labels an image, all from a probability of ½, with
            ``;`` between them.
        probabilities: of every class, float32 (C,); they sum to 1 where an image has one label.
        name: the path as given, or ``""`` of an array.
        features: what the head sees, float32 (D,), where they were asked for.
        error: why there is no class, with ``on_error="skip"``; ``label`` is then ``""`` and all probabilities are NaN.
    """

    label: str
    probabilities: np.ndarray
    name: str = ""
    features: np.ndarray | None = None
    error: str | None = None


@dataclass(frozen=True)
class Predictions:
    """The classes of many images.

    Attributes:
        names: of the images that could be used.
        labels: as of :class:`Prediction`, one for each.
        probabilities: float32 (N, C).
        class_names: name of each class.
        features: float32 (N, D), where they were asked for.
        skipped: by name, why an image has no class.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities: np.ndarray
    class_names: tuple[str, ...]
    features: np.ndarray | None = None
    skipped: dict[str, str] = field(default_factory=dict)

    def table(self) -> dict[str, Any]:
        """Return the columns ``name``, ``class``, ``probability: <class>`` of every class and, if any, ``features``."""
        columns: dict[str, Any] = {"name": list(self.names), "class": list(self.labels)}
        for name, values in zip(self.class_names, self.probabilities.T, strict=True):
            columns[f"probability: {name}"] = [round(value, 7) for value in values.tolist()]
        return columns if self.features is None else {**columns, "features": self.features}


class Predictor:
    """Weights, loaded once, with the preprocessing and the classes that belong to them.

    Weights for masks or boxes make a :class:`~sarhub_models.features.masks.MaskPredictor` or
    :class:`~sarhub_models.features.boxes.BoxPredictor`, whose :meth:`predict` returns these.

    Args:
        weights: the folder of a run (``sarhub finetune``), a file that describes itself (``.safetensors``, or ``.onnx``
            and ``.pt2`` of ``sarhub export``), or a name of :func:`~sarhub_models.list_models`.
        radiometry: what the images hold; by default what those hold that the weights were fine-tuned on.
        full_scale: value of amplitude 1; by default likewise, unless the radiometry is another one.
        bands: names of the bands in the files, where these do not say them; by default as those had them.
        band: position of the band to read, counted from 1, or of several in the order of the network, in place of
            names; by default likewise.
        nodata: policy for pixels without data; by default likewise, or ``"refuse"``.
        device: where the network runs; exported files run on the CPU.

    Attributes:
        info: what the weights say of themselves.
        transform: their preprocessing.
        class_names: name of each class.
        temperature: the logits are divided by it, so that probabilities agree with shares (Guo et al., On calibration
            of modern neural networks, ICML 2017); 1 where it was not fitted.

    Raises:
        OptionError: the weights have no classes.
        SarHubError: as :func:`~sarhub_models.create_model` says.

    >>> import sarhub_models as sarhub
    >>> predictor = sarhub.Predictor("mobilenetv3_dsn")
    >>> predictor.predict(np.random.default_rng(0).random((64, 64), dtype=np.float32)).probabilities.shape
    (13,)
    """

    def __new__(cls, weights: str | os.PathLike[str], **options: Any) -> Predictor:
        """Return a predictor of the task of the weights."""
        task = find_info(weights).task
        if cls is Predictor and task in _OTHERS:
            module, name = _OTHERS[task]
            cls = getattr(importlib.import_module(f".{module}", __package__), name)
        return super().__new__(cls)

    def __init__(
        self,
        weights: str | os.PathLike[str],
        *,
        radiometry: str | None = None,
        full_scale: float | None = None,
        bands: Sequence[str] | None = None,
        band: int | Sequence[int] | None = None,
        nodata: str | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.info = info = find_info(weights)
        if not info.num_classes:
            raise OptionError(f"{weights} has no classes, only features: fine-tune it, or use 'sarhub features'")
        reading = image_reading(
            info, radiometry=radiometry, full_scale=full_scale, bands=bands, band=band, nodata=nodata
        )
        radiometry, self.full_scale, self.nodata = reading.radiometry, reading.full_scale, reading.nodata
        self.bands = reading.bands
        self.band = [reading.band] if isinstance(reading.band, int) else reading.band
        self.transform = create_transform(
            weights, radiometry=radiometry, full_scale=self.full_scale, nodata=self.nodata
        )
        self.class_names = info.class_names or tuple(f"class {index}" for index in range(info.num_classes))
        self.multilabel = info.dataset.multilabel
        self.temperature = float((info.training or {}).get("temperature", 1.0))
        self._decided = (info.training or {}).get("output") == SCORES
        file = own_file(weights)
        self._exported = file is not None and file.suffix in EXPORTED
        self.device = torch.device("cpu" if self._exported else device)
        self.network: Any
        if self._exported:
            assert file is not None
            self.network = load_exported(file)
        else:
            self.network = create_model(weights, pretrained=True).eval().to(self.device)

    @overload
    def predict(self, images: Image, *, features: bool = False) -> Prediction: ...  # type: ignore[overload-overlap]

    @overload
    def predict(
        self, images: Iterable[Image], *, features: bool = False, batch_size: int = _BATCH, on_error: str = "stop"
    ) -> Iterator[Prediction]: ...

    def predict(
        self,
        images: Image | Iterable[Image],
        *,
        features: bool = False,
        batch_size: int = _BATCH,
        on_error: str = "stop",
    ) -> Prediction | Iterator[Prediction]:
        """Predict the class of one image, or of any number of them as they come.

        Args:
            images: a path, or an array as :attr:`transform` takes it (amplitude in ``full_scale``, if there is one);
                or an iterable of these, of which one batch at a time is in memory.
            features: return what the head sees, too.
            batch_size: images that go through the network at once; one, where the preprocessing is in the file.
            on_error: what a bad image of several does: ``"stop"`` raises, ``"skip"`` gives a prediction with its error.

        Returns:
            A prediction, or an iterator of one for each image, in their order.

        Raises:
            ImageError: an image cannot be used; the message names it.
            OptionError: features of an exported file.
        """
        self._check_features(features)
        if on_error not in ("stop", "skip"):
            raise OptionError(f"expected on_error to be 'stop' or 'skip', got {on_error!r}")
        if isinstance(images, str | os.PathLike | np.ndarray | Tensor):
            return next(self._each([images], features, 1, "stop", to_caller=4))
        return self._each(images, features, self._at_once(batch_size), on_error, to_caller=3)

    def predict_files(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        out: str | os.PathLike[str] | None = None,
        names: Sequence[str] | None = None,
        features: bool = False,
        batch_size: int = _BATCH,
        workers: int = 0,
        on_error: Literal["stop", "skip"] = "stop",
        progress: bool = True,
    ) -> Predictions:
        """Predict the classes of files, into a table that a later run resumes.

        Args:
            paths: files that :func:`~sarhub_models.io.images.read_image` reads.
            out: ``.csv`` or ``.parquet`` (which features need), as :meth:`Predictions.table` has it; results are kept
                in a journal beside it as they come, and it appears whole.
            names: name of each image; by default its path.
            features: keep what the head sees, too.
            batch_size: images that go through the network at once.
            workers: processes that read images.
            on_error: ``"stop"`` at a bad image, or ``"skip"`` and note it.
            progress: draw a bar on stderr where that is a terminal.

        Raises:
            ImageError: as :func:`~sarhub_models.features.stream.stream` says.
            OptionError: the table has another suffix, or its journal comes from other weights or arguments.
        """
        self._check_features(features)
        target = None if out is None else check_table(out)
        if features and target is not None and target.suffix != ".parquet":
            raise OptionError(f"{target}: features need a .parquet file, a cell of .csv holds one number")
        if target is not None and not target.parent.is_dir():
            raise OptionError(f"{target}: there is no folder {target.parent}; create it first")
        images = self._images(paths)
        labels = image_names(images.files, names)
        kind = "features" if features else "classes"
        journal = None
        if target is not None:
            known = self.network if isinstance(self.network, torch.nn.Module) else self.info.to_dict()
            journal = Journal(target, images.files, labels, maker=images.maker(known, kind), bands=images.wanted)
        rows = stream(
            lambda inputs: self._compute(inputs, features),
            images,
            labels,
            journal=journal,
            batch_size=self._at_once(batch_size),
            workers=workers,
            device=self.device,
            on_error=on_error,
            progress=progress,
        )
        classes = len(self.class_names)
        result = replace(self.decide(rows.values[:, :classes], rows.names), skipped=rows.skipped)
        if features:
            result = replace(result, features=rows.values[:, classes:])
        if target is not None and journal is not None:
            write_table(result.table(), target)
            journal.file.unlink(missing_ok=True)
        return result

    def logits(self, paths: Sequence[str | os.PathLike[str]], *, workers: int = 0, progress: bool = True) -> np.ndarray:
        """Return the logits of files before the temperature, float32 (N, C); errors as of :meth:`predict_files`.

        Raises:
            OptionError: also of a file that gives probabilities.
        """
        if self._decided:
            raise OptionError("a file that was exported with its preprocessing gives probabilities, no logits")
        images = self._images(paths)
        return stream(
            lambda x: self._compute(x, False),
            images,
            image_names(images.files, None),
            batch_size=self._at_once(_BATCH),
            workers=workers,
            device=self.device,
            progress=progress,
        ).values

    def decide(self, logits: np.ndarray, names: Sequence[str]) -> Predictions:
        """Return the classes that logits (N, C) of so many images stand for."""
        found = self._probabilities(logits)
        return Predictions(tuple(names), tuple(map(self._label, found)), found, self.class_names)

    def _at_once(self, batch_size: int) -> int:
        """Return how many images go through the network at once: one, where nothing makes their sizes equal."""
        return batch_size if self.transform.size is not None else 1

    def _images(self, paths: Iterable[str | os.PathLike[str]]) -> Images:
        return Images(
            paths,
            self.transform,
            full_scale=self.full_scale if self.transform.takes_amplitude else None,
            band=self.band,
            bands=self.bands,
            nodata=self.nodata,
        )

    def _each(
        self, images: Iterable[Image], features: bool, batch_size: int, on_error: str, *, to_caller: int
    ) -> Iterator[Prediction]:
        remaining = iter(images)
        while chunk := list(islice(remaining, batch_size)):
            ready = list(map(partial(self._prepared, to_caller=to_caller), chunk))
            if on_error == "stop" and (wrong := [one for one in ready if isinstance(one, ImageError)]):
                raise wrong[0]
            good = [one for one in ready if isinstance(one, Tensor)]
            rows = iter(self._compute(torch.stack(good).to(self.device), features) if good else ())
            for image, one in zip(chunk, ready, strict=True):
                name = "" if isinstance(image, np.ndarray | Tensor) else os.fspath(image)
                if isinstance(one, ImageError):
                    yield Prediction("", np.full(len(self.class_names), np.nan, np.float32), name, error=str(one))
                    continue
                row, classes = next(rows), len(self.class_names)
                found = self._probabilities(row[None, :classes])[0]
                yield Prediction(self._label(found), found, name, row[classes:] if features else None)

    def _prepared(self, image: Image, *, to_caller: int) -> Tensor | ImageError:
        try:
            if isinstance(image, np.ndarray | Tensor):
                values: Any = image
                if self.transform.takes_amplitude and self.full_scale is not None:
                    values = normalize_amplitude(fill_missing(image, self.nodata), full_scale=self.full_scale)
                prepared: Tensor = self.transform(values)
                if prepared.ndim > _IMAGE:
                    raise ImageError(f"expected one image, got {tuple(image.shape)}: give several as a list")
                return prepared
            sample = self._images([Path(image)])[0]
        except ImageError as err:
            return err
        for category, doubt in sample.doubts.items():
            warnings.warn(f"{sample.file}: {doubt}", category, stacklevel=to_caller)
        return ImageError(sample.failure or "") if sample.image is None else sample.image

    @torch.inference_mode()
    def _compute(self, inputs: Tensor, features: bool) -> np.ndarray:
        """Return the logits and, behind them, the features of a batch, float32 (B, C + D)."""
        if not features:
            values: Tensor = self.network(inputs)
        else:
            maps = self.network.forward_features(inputs)
            pooled = self.network.forward_head(maps, pre_logits=True)
            values = torch.cat([self.network.forward_head(maps), pooled], dim=1)
        return values.float().cpu().numpy()

    def _probabilities(self, logits: np.ndarray) -> np.ndarray:
        values = torch.from_numpy(logits)
        kind = None if self._decided else self.multilabel
        return scores(values, multilabel=kind, temperature=self.temperature).numpy()

    def _label(self, probabilities: np.ndarray) -> str:
        chosen = np.flatnonzero(probabilities >= _HALF) if self.multilabel else [int(probabilities.argmax())]
        return ";".join(self.class_names[index] for index in chosen)

    def _check_features(self, features: bool) -> None:
        if features and self._exported:
            raise OptionError("an exported file gives classes alone: take the weights it was made from for features")
