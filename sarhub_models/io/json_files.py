"""Read JSON that a user may have edited, copied or damaged: one error that names the file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..errors import DataError

__all__ = ["read_json", "read_object"]


def read_json(file: str | os.PathLike[str], *, fix: str = "") -> Any:
    """Read a JSON file in UTF-8; a byte-order mark is skipped.

    Args:
        file: the file.
        fix: what to do about one that cannot be read, for the message.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it cannot be read, or is not JSON.
    """
    advice = f"; {fix}" if fix else ""
    try:
        return json.loads(Path(file).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise
    except OSError as err:
        raise DataError(f"{file} cannot be read: {err.strerror or err}{advice}") from err
    except (ValueError, RecursionError) as err:  # deep nesting is no ValueError
        raise DataError(f"{file} is damaged: it is not JSON ({err}){advice}") from err


def read_object(file: str | os.PathLike[str], *, keys: tuple[str, ...] = (), fix: str = "") -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Args:
        file: the file.
        keys: names that it must hold.
        fix: as for :func:`read_json`.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it cannot be read, holds something else, or lacks a name.
    """
    advice = f"; {fix}" if fix else ""
    found = read_json(file, fix=fix)
    if not isinstance(found, dict):
        raise DataError(f"{file} is damaged: expected a JSON object, found {type(found).__name__}{advice}")
    if missing := [key for key in keys if key not in found]:
        raise DataError(f"{file} is damaged: it lacks {', '.join(missing)}{advice}")
    return found
