"""Entries of the list of weights: typed, immutable, to JSON and back. Pure Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ManifestError, UnknownNameError
from ..transforms.radiometry import RADIOMETRIES
from .tasks import DECODERS

__all__ = [
    "LICENSES",
    "NOT_STATED",
    "SINGLE",
    "VOUCHERS",
    "Checksum",
    "DatasetInfo",
    "Input",
    "ModelInfo",
    "Preprocessing",
    "dataset_from",
    "optional_tuple",
    "with_tuples",
]

SINGLE = "single"
"""Stands for one polarization whose name was not published."""

NOT_STATED = "not stated"
"""Stands for what weights of one's own do not say of themselves."""

VOUCHERS = ("authors", "peer", "assumed")
"""Who may say which preprocessing a set of weights wants."""

LICENSES = {
    "Apache-2.0": "apache-2.0",
    "MIT": "mit",
    "CC-BY-4.0": "cc-by-4.0",
    "CC-BY-SA-4.0": "cc-by-sa-4.0",
    "CC0-1.0": "cc0-1.0",
    "ODC-BY": "odc-by",
    "OpenRAIL": "openrail",
    "CC-BY-NC-4.0": "cc-by-nc-4.0",
    "OlmoEarth Artifact License": "other",
}
"""Licenses that the license text of a set of weights may begin with, and their ids on the Hugging Face Hub."""


_LARGEST = 1e300  # what floating point holds, NaN and infinity excluded
_SHOWN = 60  # characters of a value in a message
_SEVERAL = ("bands", "class_names", "other_sensors")  # fields that are texts, not one


def _check_texts(**fields: Any) -> None:
    for name, value in fields.items():
        texts = value if isinstance(value, tuple) and name in _SEVERAL else (value,)
        if not all(isinstance(text, str) for text in texts):
            raise ManifestError(f"{name} must be text, found {str(value)[:_SHOWN]}")


def _check_numbers(kind: type | tuple[type, ...], **fields: Any) -> None:
    """Check numbers and tuples of numbers; ``None`` stands for one that is not there."""
    for name, value in fields.items():
        numbers = value if isinstance(value, tuple) else () if value is None else (value,)
        if not all(_is_number(number, kind) for number in numbers):
            raise ManifestError(f"{name} must be a number or numbers, found {str(value)[:_SHOWN]}")


def _check_single(kind: type | tuple[type, ...], **fields: Any) -> None:
    """Check numbers; ``None`` stands for one that is not there."""
    for name, value in fields.items():
        if value is not None and not _is_number(value, kind):
            raise ManifestError(f"{name} must be a number, found {str(value)[:_SHOWN]}")


def _is_number(value: Any, kind: type | tuple[type, ...]) -> bool:
    if not isinstance(value, kind) or isinstance(value, bool):
        return False
    return bool(-_LARGEST < value < _LARGEST)  # type: ignore[operator]


@dataclass(frozen=True)
class Input:
    """The image before the preprocessing.

    Attributes:
        bands: polarizations in the order in which the weights take them; ``"single"`` is one polarization whose name
            was not published.
        radiometry: what the pixels hold, a name of :data:`~sarhub_models.transforms.RADIOMETRIES`, or ``None`` where
            it was not published.
        range: smallest and largest value, or ``None`` where there is no limit.
        channels: channels of the trained network: the bands, or one band repeated.
    """

    bands: tuple[str, ...] = (SINGLE,)
    radiometry: str | None = "amplitude"
    range: tuple[float, float] | None = (0.0, 1.0)
    channels: int = 3

    def __post_init__(self) -> None:
        _check_texts(bands=self.bands, radiometry=self.radiometry or "")
        _check_numbers((int, float), range=self.range)
        _check_single(int, channels=self.channels)
        if not isinstance(self.bands, tuple) or not self.bands or not self.channels or self.channels < 1:
            raise ManifestError(f"expected bands and channels, found {self.bands!r} and {self.channels!r}")
        if self.range is not None and not (isinstance(self.range, tuple) and len(self.range) == 2):
            raise ManifestError(f"expected a range from and to, found {self.range!r}")
        if self.radiometry is not None and self.radiometry not in RADIOMETRIES:
            raise ManifestError(f"expected a radiometry of {', '.join(RADIOMETRIES)}, found {self.radiometry!r}")


@dataclass(frozen=True)
class Preprocessing:
    """The way from an image in the radiometry of the weights to the input of a network.

    :meth:`Pipeline.from_dict <sarhub_models.transforms.Pipeline.from_dict>` builds the chain and says its order.

    Attributes:
        mean: subtracted, one number a band.
        std: divided by after the mean, one number a band; the value the weights were trained with, whatever it is
            called.
        size: side of the square that the image is resized to, in pixels; ``None`` keeps its size.
        crop: side of the square that is cut from the middle (what is missing is 0); ``None`` cuts nothing.
        clip: values are held between these, each one number or one a band, or ``None``.
        operator: dynamic-range operator, a name of :data:`~sarhub_models.transforms.OPERATORS`, or ``None``.
        low: lower end of the operator's parameter in training (DRAA).
        high: upper end of the operator's parameter in training.
        eval_value: the operator's parameter at evaluation.
        full_scale: amplitude that maps to 1 in the raw data the weights were trained on (digital numbers), or
            ``None`` where that is not known and users bring chips in [0, 1].
        final_crop: side of the square that is cut from the middle behind everything else, where an operator puts
            ``crop`` before the resize; ``None`` cuts nothing.
        interpolation: how it is resized, a name of :data:`~sarhub_models.transforms.INTERPOLATIONS`.
        source: where these numbers stand: the line of code or of a document, at a fixed commit, or ``None`` where
            nobody published them.
        vouched_by: who says that the weights want this: ``"authors"``, in their own code or documents; ``"peer"``,
            another project that uses them; or ``"assumed"``, no one.
        note: what a user must know about these numbers, or ``None``.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int | None = None
    crop: int | None = None
    clip: tuple[Any, Any] | None = None
    operator: str | None = None
    low: float | None = None
    high: float | None = None
    eval_value: float | None = None
    full_scale: float | None = None
    final_crop: int | None = None
    interpolation: str = "antialias"
    source: str | None = None
    vouched_by: str = "assumed"
    note: str | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.mean, tuple) and isinstance(self.std, tuple) and len(self.mean) == len(self.std) > 0):
            raise ManifestError(f"expected one mean and one std a band, found {self.mean!r} and {self.std!r}")
        _check_numbers((int, float), mean=self.mean, std=self.std)
        _check_single((int, float), full_scale=self.full_scale)
        _check_single((int, float), low=self.low, high=self.high, eval_value=self.eval_value)
        _check_single(int, size=self.size, crop=self.crop, final_crop=self.final_crop)
        if self.clip is not None and not (isinstance(self.clip, tuple) and len(self.clip) == 2):
            raise ManifestError(f"expected to clip between two values, found {self.clip!r}")
        for ends in (self.mean, self.std, *(self.clip or ())):
            if ends is None or (isinstance(ends, tuple) and None in ends):
                raise ManifestError(f"expected numbers to clip or to normalize with, found {ends!r}")
            _check_numbers((int, float), numbers=ends)
        if self.operator is not None and None in (self.low, self.high, self.eval_value):
            raise ManifestError(f"the operator {self.operator!r} needs low, high and eval_value")
        _check_texts(
            operator="" if self.operator is None else self.operator, source=self.source or "", note=self.note or ""
        )
        _check_texts(interpolation=self.interpolation)
        if self.vouched_by not in VOUCHERS:
            raise ManifestError(f"vouched_by must be one of {', '.join(VOUCHERS)}, found {self.vouched_by!r}")

    def of(self, channels: Sequence[int]) -> Preprocessing:
        """Return the same for these bands alone, in their order."""

        def pick(numbers: Any) -> Any:
            return tuple(numbers[band] for band in channels) if isinstance(numbers, tuple) else numbers

        clip = None if self.clip is None else (pick(self.clip[0]), pick(self.clip[1]))
        return dataclasses.replace(self, mean=pick(self.mean), std=pick(self.std), clip=clip)

    @property
    def side(self) -> int | None:
        """Side of the network's input in pixels, or ``None``: that of the image."""
        last, first = (self.size, self.crop) if self.operator is not None else (self.crop, self.size)
        return self.final_crop or last or first


@dataclass(frozen=True)
class Checksum:
    """The hash of a released file.

    Attributes:
        algorithm: ``"sha256"``; ``"sha256-prefix"``, of which only the first digits were published, so that the whole
            hash is pinned at the first download; or ``"git-blob"`` (SHA-1 over ``b"blob <size>\\0"`` and the bytes).
        value: lower-case hexadecimal digest, or its first digits.
    """

    algorithm: str
    value: str

    def __post_init__(self) -> None:
        _check_texts(algorithm=self.algorithm, value=self.value)


@dataclass(frozen=True)
class DatasetInfo:
    """A data set that networks were pre-trained on.

    Attributes:
        name: short name, as in model names (``"ben"``).
        title: what it is called.
        sensor: the radar, or radars joined by "and", that took the images.
        num_classes: number of classes; 0 where the weights were not trained to tell classes apart.
        class_names: their names by index, or ``None`` where they were never published.
        multilabel: whether a chip carries several labels (sigmoid outputs) or one (softmax).
        other_sensors: bands of each sensor that the network was trained with beside radar, by the sensor's name. Here
            such a network takes radar alone.
    """

    name: str
    title: str
    sensor: str
    num_classes: int
    class_names: tuple[str, ...] | None
    multilabel: bool
    other_sensors: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_texts(name=self.name, title=self.title, sensor=self.sensor, class_names=self.class_names or ())
        for sensors in dict(self.other_sensors).values():
            _check_texts(other_sensors=sensors)
        _check_single(int, num_classes=self.num_classes)

    @property
    def sensors(self) -> tuple[str, ...]:
        """The radars that took the images."""
        return tuple(self.sensor.split(" and "))


@dataclass(frozen=True)
class ModelInfo:
    """One set of weights: everything needed to fetch, build, feed and cite it.

    Attributes:
        name: full name, ``<network>_<data>`` with an optional ``.<tag>``.
        network: name of the architecture, one of :func:`list_networks`.
        dataset: the data it was pre-trained on.
        num_classes: outputs of the trained head, 0 where there is none, or ``None`` where only the file tells.
        class_names: their names, or ``None``.
        params: number of parameters with the trained head, or ``None`` while the head size is unknown.
        preprocessing: how images must be prepared.
        sources: where the file is, in the order in which they are tried; each has a ``"type"``.
        checksum: of the released file, or ``None`` where none was published.
        citation: the paper to cite.
        license_text: license, or a sentence on why none is known.
        training: how the weights were made and what they reached, where this project made them.
        input: bands and radiometry of the images that :attr:`preprocessing` begins with.
        method: how it was pre-trained, ``"supervised"`` or the name of a method without labels.
        variants: other ways to prepare the images that are in use, by name; ``variant=`` of
            :func:`~sarhub_models.create_transform` picks one.
        code_license: license of the code that made the weights, or a sentence on why none is known.
        file_size: bytes of the released file, or ``None`` where they were not published.
        unverified: what of revision and checksum the authors did not publish, and who says it instead; ``None`` where
            they published both.
        access: what to do before the file may be fetched, or ``None`` where anyone may.
        tensors_only: the released file also holds objects of its training program, which are left out: nothing of
            them is imported or called.
        answers: outputs that were published for given images, and who did, for ``sarhub verify --answers``.
        decoder: what stands on the network in place of its classifier, a name of :data:`~.tasks.DECODERS`, or ``None``.
    """

    name: str
    network: str
    dataset: DatasetInfo
    num_classes: int | None
    class_names: tuple[str, ...] | None
    params: int | None
    preprocessing: Preprocessing
    sources: tuple[Mapping[str, Any], ...]
    checksum: Checksum | None
    citation: str
    license_text: str
    training: Mapping[str, Any] | None = None
    input: Input = Input()
    method: str = "supervised"
    variants: Mapping[str, Preprocessing] = dataclasses.field(default_factory=dict)
    code_license: str | None = None
    file_size: int | None = None
    unverified: str | None = None
    access: str | None = None
    tensors_only: bool = False
    answers: Mapping[str, Any] | None = None
    decoder: str | None = None

    def __post_init__(self) -> None:
        if self.decoder is not None and self.decoder not in DECODERS:
            raise ManifestError(f"expected a decoder of {', '.join(DECODERS)}, found {str(self.decoder)[:_SHOWN]!r}")
        _check_texts(name=self.name, network=self.network, method=self.method, class_names=self.class_names or ())
        _check_texts(citation=self.citation, license_text=self.license_text, code_license=self.code_license or "")
        _check_texts(unverified=self.unverified or "", access=self.access or "")
        _check_single(int, num_classes=self.num_classes, params=self.params, file_size=self.file_size)
        for entry in (*self.sources, *(one for one in (self.training, self.answers) if one is not None)):
            if not isinstance(entry, Mapping):
                raise ManifestError(f"sources, training and answers must be objects, found {str(entry)[:_SHOWN]}")

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as JSON-ready data, for :meth:`from_dict`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelInfo:
        """Rebuild an entry from :meth:`to_dict`, after a round trip through JSON or not.

        Raises:
            ManifestError: a field is missing, unknown or of another type.
        """
        try:
            dataset, checksum = dict(data["dataset"]), data["checksum"]
            return cls(
                **{
                    **data,
                    "dataset": dataset_from(dataset),
                    "class_names": optional_tuple(data["class_names"]),
                    "preprocessing": Preprocessing(**with_tuples(data["preprocessing"])),
                    "input": Input(**with_tuples(data.get("input", {}))),
                    "sources": tuple(data["sources"]),
                    "checksum": Checksum(**checksum) if checksum is not None else None,
                    "variants": {
                        name: Preprocessing(**with_tuples(fields)) for name, fields in data.get("variants", {}).items()
                    },
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise ManifestError(f"not the description of a model: {err}") from err

    @property
    def task(self) -> str:
        """``"recognition"`` of whole images, or what the decoder is for: ``"segmentation"`` or ``"detection"``."""
        return "recognition" if self.decoder is None else DECODERS[self.decoder]

    @property
    def tag(self) -> str | None:
        """The part of the name behind the dot, or ``None``."""
        return self.name.partition(".")[2] or None

    @property
    def license(self) -> str | None:
        """The license of :data:`LICENSES` that :attr:`license_text` begins with, or ``None``."""
        return next((name for name in LICENSES if self.license_text.startswith(name)), None)

    def prepared(self, variant: str) -> ModelInfo:
        """Return the same entry with another preparation of the images in place of its own.

        Raises:
            UnknownNameError: it has no variant of that name.
        """
        if variant not in self.variants:
            known = ", ".join(sorted(self.variants)) or "none"
            raise UnknownNameError(f"{self.name} has no variant {variant!r}; known: {known}")
        return dataclasses.replace(self, preprocessing=self.variants[variant])

    def statistics(self, channels: Sequence[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of these channels of the trained network's input."""
        p = self.preprocessing
        bands = channels if len(p.mean) > 1 else [0] * len(channels)  # one band is repeated
        return tuple(p.mean[band] for band in bands), tuple(p.std[band] for band in bands)


def dataset_from(fields: Mapping[str, Any]) -> DatasetInfo:
    """Return a data set from JSON's fields."""
    others = {sensor: tuple(bands) for sensor, bands in fields.get("other_sensors", {}).items()}
    names = optional_tuple(fields["class_names"])
    return DatasetInfo(**{**fields, "class_names": names, "other_sensors": others})


def optional_tuple(names: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return names as a tuple."""
    return tuple(names) if names is not None else None


def with_tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with tuples in place of JSON's lists, also of those within lists."""

    def fixed(value: Any) -> Any:
        return tuple(fixed(one) for one in value) if isinstance(value, list | tuple) else value

    return {key: fixed(value) for key, value in fields.items()}
