"""The base of every reader: image files below a root, known by number and name.

Readers are opened as ``Reader(root, split, *, …)``. Each is a map-style data set as
:class:`torch.utils.data.DataLoader` takes it, without importing torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from ..errors import ImageError
from ..io.images import image_size, read_image
from .lists import AnyPath

__all__ = ["ImageDataset"]

Item = TypeVar("Item")


class ImageDataset(Generic[Item]):
    """Images below a folder.

    Attributes:
        root: folder of the images.
        files: the images.
        names: their paths below the root, with ``/``.
        class_names: name of each class.
        list_prefix: beginning of the names of the data set's split lists.
    """

    list_prefix: ClassVar[str] = ""
    _told = False

    def __init__(self, root: AnyPath, files: Sequence[Path], class_names: Sequence[str]) -> None:
        self.root = Path(root)
        self.files = tuple(files)
        self.names = tuple(file.relative_to(self.root).as_posix() for file in self.files)
        self.class_names = tuple(class_names)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Item:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Item]:
        return (self[index] for index in range(len(self)))

    @classmethod
    def options(cls, root: Path, lists: Path | None) -> dict[str, Any]:
        """Return the arguments, but for root and split, that open the data set with the lists of a folder.

        Raises:
            OptionError: the data set takes no lists.
        """
        return {} if lists is None else {"lists": lists}

    @staticmethod
    def header_size(file: Path) -> tuple[int, int]:
        """Return height and width of an image in pixels, from its header.

        Raises:
            ImageError: the file is missing or damaged; the message names it.
        """
        return image_size(file)

    def read_band(self, file: Path, *, band: int | None = None) -> np.ndarray:
        """Read one band of an image, (H, W): the one that is asked for, from 1, or the only one.

        Pictures whose colors differ, as compression and tools for photographs leave them, become one band by
        :func:`~sarhub_models.io.images.luma`; that is said once.

        Raises:
            ImageError: the file is missing or damaged, or holds several bands that are no colors.

        Warns:
            UserWarning: a picture has colors.
        """
        if band is not None:
            return read_image(file, band=band)
        try:
            return read_image(file)
        except ImageError:
            image = read_image(file, band="luma")
        if not self._told:
            self._told = True
            warnings.warn(
                f"{file}: a picture whose colors differ; of these, here and in other images, the luma is read "
                "(band=1, 2 or 3 picks a channel)",
                stacklevel=3,
            )
        return image

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of one image in pixels without decoding it.

        Raises:
            ImageError: the file is missing, damaged, or not the one that was annotated; the message names it.
        """
        return self.header_size(self.files[index])

    def label_text(self, index: int) -> str:
        """Return the label of one image as text; empty where it is not known before the image is read."""
        return ""

    def notes(self) -> tuple[str, ...]:
        """Return remarks on what was left out."""
        return ()
