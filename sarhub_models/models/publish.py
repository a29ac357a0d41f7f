"""A model as a repository on the Hugging Face Hub, in timm's format and with a model card."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from .. import networks
from .._version import __version__
from ..errors import OfflineError, OptionError, PublishError
from ..io.files import write_text
from ..weights import offline, write_weights
from ..zoo import text
from ..zoo.description import to_metadata
from ..zoo.entries import LICENSES, ModelInfo
from .choice import Choice, choose, find_info
from .create import build_model
from .export import describe_head
from .loading import load_tensors

__all__ = ["publish", "write_repository"]

_WEIGHTS = "model.safetensors"
_FILES = ("config.json", _WEIGHTS, "README.md")


def publish(
    name: str | os.PathLike[str],
    repo: str,
    *,
    checkpoint_path: str | os.PathLike[str] | None = None,
    preprocessing: str | None = None,
    private: bool = False,
    permitted: bool = False,
) -> str:
    """Put a model on the Hub, all files in one commit; the repository is created if it is not there.

    Args:
        name: a name of :func:`~sarhub_models.list_models`, a file that describes itself, or the folder of a run.
        repo: ``"organization/name"``.
        checkpoint_path: a file, or the folder of a run, to publish under a registered name, with its data set, citation
            and license; preprocessing, classes and validation scores are those that the file says.
        preprocessing: for a file that does not describe itself, the registered name of weights with the preprocessing
            that it was trained with.
        private: create a private repository. One that exists stays as it is.
        permitted: the caller has the permission of whoever owns the weights; needed where no license gives it.

    Returns:
        The address of the commit.

    Raises:
        UnknownNameError: no model has that name.
        OptionError: the weights have no license and ``permitted`` is false, or ``repo`` is not a repository's name.
        OfflineError: the network must not be used.
        PublishError: the Hub refused or could not be reached.
    """
    if offline():
        raise OfflineError("publishing needs the network, which SARHUB_OFFLINE or HF_HUB_OFFLINE forbids; unset it")
    info = _chosen(name, checkpoint_path, preprocessing).info
    _check_permission(info, permitted)
    options: dict[str, Any] = {"checkpoint_path": checkpoint_path, "preprocessing": preprocessing}
    with tempfile.TemporaryDirectory() as folder:
        write_repository(name, folder, repo, permitted=permitted, **options)
        return _upload(Path(folder), repo, private, f"Add {info.name}")


def write_repository(
    name: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    repo: str,
    *,
    checkpoint_path: str | os.PathLike[str] | None = None,
    preprocessing: str | None = None,
    permitted: bool = False,
) -> list[Path]:
    """Write the files of a model's repository: ``config.json``, ``model.safetensors`` and ``README.md``.

    timm reads the first two (the networks that timm lacks, once sarhub_models is imported). Under the key
    ``"sarhub"`` the configuration also holds the whole entry of the model, preprocessing included.

    Args:
        name: as for :func:`publish`.
        folder: where to write; it is created.
        repo: the repository's name, for the examples of the card.
        checkpoint_path: as for :func:`publish`.
        preprocessing: as for :func:`publish`.
        permitted: as for :func:`publish`.

    Returns:
        The files.

    Raises:
        UnknownNameError: no model has that name.
        OptionError: the weights have a decoder, or no license and ``permitted`` is false; ``repo`` is no name; or the
            file says that it was trained on other data than the name.
        DownloadError: the weights are not here and could not be fetched.
        CheckpointError: the file does not fit the network, or does not describe itself and ``preprocessing`` is not
            given.
        OSError: a file cannot be written.
    """
    import timm

    _check_repo(repo)
    choice = _chosen(name, checkpoint_path, preprocessing)
    if choice.info.decoder is not None:
        raise OptionError(
            f"{name} has the decoder {choice.info.decoder} for {choice.info.task}: only networks for whole images are "
            "published"
        )
    _check_permission(choice.info, permitted)
    model = build_model(choice, load_tensors(choice))
    info = _as_published(choice.info, model, repo)
    settings: dict[str, Any] = {"sarhub": info.to_dict()}
    if info.class_names is not None:
        settings["label_names"] = list(info.class_names)
    timm.models.save_for_hf(
        model,
        folder,
        model_config=settings,
        model_args=dict(networks.spec(info.network).timm_args),
        safe_serialization=True,
    )
    card = Path(folder, "README.md")
    write_text(card, model_card(info, repo))
    write_weights(model.state_dict(), Path(folder, _WEIGHTS), info=to_metadata(info))  # timm's describes nothing
    return [Path(folder, file) for file in _FILES]


def model_card(info: ModelInfo, repo: str) -> str:
    """Return the model card (Markdown with the Hub's YAML header) of a published model."""
    in_timm = not networks.spec(info.network).timm_name.startswith("sarhub_")
    license = info.license
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(text.preprocessing_steps(info), 1))
    note = f"\n\nVouched for {text.vouched(info)}" + (
        f"\n\n{info.preprocessing.note}" if info.preprocessing.note else ""
    )
    unlicensed = (
        "\n\n**No license was published with these weights.** Without one, the law of most countries reserves their "
        "use and redistribution to their authors: ask them."
    )
    plain = (
        f"\n\nPlain timm reads the network and its weights too, but not the preprocessing:\n\n```python\nimport timm\n"
        f'model = timm.create_model("hf-hub:{repo}", pretrained=True)\n```'
        if in_timm
        else "\n\ntimm has no such network: `import sarhub_models` before `timm.create_model`."
    )
    training = "".join(f"\n- {fact}" for fact in text.training(info))
    return f"""---
license: {LICENSES[license] if license else "unknown"}
library_name: {"timm" if in_timm else "sarhub-models"}
pipeline_tag: image-classification
tags:
- image-classification
- timm
- sarhub-models
- synthetic-aperture-radar
- remote-sensing
---
# {info.name}

{text.network_title(info)}, pre-trained on synthetic-aperture radar (SAR) images.

- Network: {info.network} ({text.thousands(info.params)} parameters)
- Trained on: {text.data(info)}
- Classes: {text.classes(info)}
- Method: {info.method}
- Input: {text.input_text(info)}{training}

## Preprocessing

The features are right only for chips that are prepared as the training data were:

{steps}{note}

`sarhub_models.create_transform` does all of it.

## Use

```python
{text.example(f"hf-hub:{repo}", info)}
```{plain}

## License

{info.license_text}{"" if license else unlicensed}

## Citation

{info.citation}
"""


def _chosen(
    name: str | os.PathLike[str], checkpoint_path: str | os.PathLike[str] | None, preprocessing: str | None
) -> Choice:
    """Return the weights to publish; of a file that is published under a registered name, with what both say.

    Raises:
        OptionError: the file says that it was trained on other data than the name.
        SarHubError: as :func:`~sarhub_models.models.choice.choose` says.
    """
    choice = choose(name, checkpoint_path=checkpoint_path, preprocessing=preprocessing)
    if checkpoint_path is None:
        return choice
    own, named = choice.info, find_info(name)
    if choice.described and own.dataset.name != named.dataset.name:
        raise OptionError(f"{checkpoint_path} holds {own.network}_{own.dataset.name}, not {named.name}")
    dataset = dataclasses.replace(named.dataset, num_classes=own.num_classes or 0, class_names=own.class_names)
    info = dataclasses.replace(
        own,
        name=named.name,
        dataset=dataset,
        citation=named.citation,
        method=named.method,
        license_text=named.license_text,
        preprocessing=dataclasses.replace(own.preprocessing, note=own.preprocessing.note or named.preprocessing.note),
    )
    return dataclasses.replace(choice, info=info)


def _as_published(info: ModelInfo, model: nn.Module, repo: str) -> ModelInfo:
    """Return the entry of what is published: with the head that it has, and where it will be."""
    source = {"type": "hf", "repo": repo, "revision": "main", "filename": _WEIGHTS}
    return dataclasses.replace(describe_head(info, model), sources=(source,), checksum=None)


def _check_permission(info: ModelInfo, permitted: bool) -> None:
    if info.license is None and not permitted:
        raise OptionError(
            f"the weights of {info.name} must not be published without their authors' permission: {info.license_text} "
            "If you have it, say so with --i-have-permission (permitted=True)"
        )


def _check_repo(repo: str) -> None:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as err:
        raise OptionError(f"{repo!r} is not the name of a repository: {err}") from err
    if repo.count("/") != 1:
        raise OptionError(f"expected a repository as ORGANIZATION/NAME, got {repo!r}")


def _upload(folder: Path, repo: str, private: bool, message: str) -> str:
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(library_name="sarhub-models", library_version=__version__)
    files = [CommitOperationAdd(file, str(folder / file)) for file in _FILES]
    with _hub_errors(repo):
        repo = api.create_repo(repo, private=private, exist_ok=True).repo_id
        # One commit, so that nobody can ever fetch a configuration and weights that do not belong together.
        return api.create_commit(repo, files, commit_message=message).commit_url


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    try:
        yield
    except Exception as err:  # the client raises its own errors, those of its HTTP library, RuntimeError and ValueError
        reason = next((line.strip() for line in str(err).splitlines() if line.strip()), type(err).__name__)
        status = getattr(getattr(err, "response", None), "status_code", None)
        mend = "log in with 'hf auth login' as someone who may write there" if status in (401, 403) else "try again"
        raise PublishError(f"cannot publish {repo} on the Hugging Face Hub: {reason.rstrip('.')}; {mend}") from err
