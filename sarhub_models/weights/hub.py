"""Files from the Hugging Face Hub, through its own client."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from .._version import __version__
from ..errors import CheckpointError, DownloadError, OfflineError
from ..io.files import read_header
from .http import reason

__all__ = ["fetch_hub_config", "fetch_hub_model", "hub_file", "offline"]

_log = logging.getLogger(__name__)


def offline() -> bool:
    """Tell whether the network must not be used: ``SARHUB_OFFLINE`` or ``HF_HUB_OFFLINE`` is 1, true, yes or on."""
    values = (os.environ.get(name, "") for name in ("SARHUB_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() in ("1", "true", "yes", "on") for value in values)


def fetch_hub_config(repo: str, *, revision: str | None = None, progress: bool = True) -> dict[str, Any]:
    """Fetch the configuration of a model in timm's Hub format, ``config.json``, and not its weights.

    It stays in the Hugging Face cache (``HF_HOME``), shared with every other tool.

    Args:
        repo: ``"organization/name"``, or ``"organization/name@revision"`` as timm writes it.
        revision: branch, tag or commit; ``None`` is the one in ``repo``, or the main branch.
        progress: whether the client may draw its bar.

    Raises:
        OfflineError: the network must not be used and the file is not in the cache.
        DownloadError: the Hub has no such repository, revision or file, or cannot be reached.
        CheckpointError: the configuration is not a JSON object.
    """
    return _config_and_commit(repo, revision, progress)[0]


def fetch_hub_model(repo: str, *, revision: str | None = None, progress: bool = True) -> tuple[dict[str, Any], Path]:
    """Fetch a model in timm's Hub format: ``config.json`` and ``model.safetensors``, both of one commit.

    Arguments and errors are those of :func:`fetch_hub_config`.

    Returns:
        The parsed configuration and the path of the weights, which is an intact safetensors file.

    Raises:
        CheckpointError: also if the weights are not intact safetensors.
    """
    config, commit = _config_and_commit(repo, revision, progress)
    weights = hub_file(repo.partition("@")[0], "model.safetensors", revision=commit, progress=progress)
    read_header(weights)
    return config, weights


def _config_and_commit(repo: str, revision: str | None, progress: bool) -> tuple[dict[str, Any], str]:
    """Return the configuration and the commit that it is of, whatever the branch becomes meanwhile."""
    repo, _, written = repo.partition("@")
    path = hub_file(repo, "config.json", revision=revision or written or None, progress=progress)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as err:
        raise CheckpointError(f"config.json of {repo} on the Hub is not JSON: {err}") from err
    if not isinstance(config, dict):
        raise CheckpointError(f"config.json of {repo} on the Hub must hold an object, found {type(config).__name__}")
    return config, path.parent.name  # .../snapshots/<commit>/config.json


def hub_file(
    repo: str, filename: str, *, revision: str | None = None, folder: Path | None = None, progress: bool = True
) -> Path:
    """Download one file of a repository on the Hub.

    Args:
        repo: ``"organization/name"``.
        filename: path within the repository.
        revision: branch, tag or commit; ``None`` is the main branch.
        folder: where to put it; ``None`` is the Hugging Face cache.
        progress: whether the client may draw its bar.

    Raises:
        OfflineError: the network must not be used and the file is not in the cache.
        DownloadError: the file is unavailable.
    """
    from huggingface_hub import hf_hub_download

    try:
        with nullcontext() if progress else _no_bars(), _one_line_of_retries():
            path = hf_hub_download(
                repo,
                filename,
                revision=revision,
                local_dir=folder,
                library_name="sarhub-models",
                library_version=__version__,
                local_files_only=offline(),
            )
    except Exception as err:  # the client raises its own errors, those of its HTTP library and ValueError
        if isinstance(err, OSError) and err.errno is not None:
            raise  # the disk, not the Hub
        what = f"{filename} of {repo} ({revision or 'main'}) on the Hugging Face Hub"
        if offline():
            raise OfflineError(
                f"{what} is not in the Hugging Face cache, and SARHUB_OFFLINE or HF_HUB_OFFLINE forbids the network; "
                "unset it and try again"
            ) from err
        raise DownloadError(f"cannot fetch {what}: {_reason(err)}; check the name and the connection") from err
    return Path(path)


def _reason(err: BaseException) -> str:
    cause: BaseException | None = err
    while cause is not None:
        if type(cause).__module__.startswith("httpx") and not hasattr(cause, "response"):
            return f"connection failed: {reason(cause)}"
        cause = cause.__cause__ or cause.__context__
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(err).__name__


class _Retries(logging.Filter):
    """One line in place of two for every attempt of the client."""

    told = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Drop what the client says of its attempts, but for the first."""
        message = record.getMessage()
        if "Retrying in" not in message and "thrown while requesting" not in message:
            return True
        if not self.told:
            self.told = True
            _log.warning("the Hugging Face Hub does not answer; trying again for some seconds")
        return False


@contextmanager
def _one_line_of_retries() -> Iterator[None]:
    client, retries = logging.getLogger("huggingface_hub.utils._http"), _Retries()
    client.addFilter(retries)
    try:
        yield
    finally:
        client.removeFilter(retries)


@contextmanager
def _no_bars() -> Iterator[None]:
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
