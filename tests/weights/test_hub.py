"""Models in the Hub format, through the real client and a Hub on loopback."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from safetensors.torch import load_file, save

from sarhub_models.errors import CheckpointError, DownloadError, OfflineError
from sarhub_models.weights import fetch_hub_config, fetch_hub_model, offline
from sarhub_models.weights.hub import hub_file
from tests.hub_server import HubServer, use_hub

from . import tiny

CONFIG = {"architecture": "resnet18", "num_classes": 3}


def publish(hub: HubServer, seed: int = 0, **config: object) -> str:
    files = {
        "config.json": json.dumps({**CONFIG, **config}).encode(),
        "model.safetensors": save(tiny.tensors(seed=seed)),
    }
    return hub.commit("org/tiny", files)


def test_configuration_and_weights_come_back(hub: HubServer) -> None:
    publish(hub)
    config, path = fetch_hub_model("org/tiny")
    assert config == CONFIG
    assert load_file(path).keys() == tiny.tensors().keys()


def test_the_configuration_comes_without_the_weights(hub: HubServer) -> None:
    first = publish(hub, step=1)
    publish(hub, step=2)
    assert fetch_hub_config("org/tiny") == {**CONFIG, "step": 2}
    assert (
        fetch_hub_config(f"org/tiny@{first}") == fetch_hub_config("org/tiny", revision=first) == {**CONFIG, "step": 1}
    )
    assert hub.log
    assert not [path for _, path in hub.log if path.endswith("model.safetensors")]


@pytest.mark.parametrize("written", [True, False])
def test_a_revision_is_honoured(hub: HubServer, written: bool) -> None:
    first = publish(hub, step=1)
    publish(hub, step=2)
    assert fetch_hub_model("org/tiny")[0]["step"] == 2
    config, path = fetch_hub_model(f"org/tiny@{first}") if written else fetch_hub_model("org/tiny", revision=first)
    assert config["step"] == 1
    assert path.parent.name == first


def test_both_files_are_of_one_commit(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that is pushed between the two requests does not mix with the one before."""
    first = publish(hub, seed=1)
    from sarhub_models.weights import hub as module

    whole = module.hub_file

    def pushed_between(repo: str, filename: str, **options: object) -> Path:
        path = whole(repo, filename, **options)  # type: ignore[arg-type]
        if filename == "config.json":
            publish(hub, seed=2)
        return path

    monkeypatch.setattr(module, "hub_file", pushed_between)
    _, path = fetch_hub_model("org/tiny")
    assert path.parent.name == first


@pytest.mark.parametrize("variable", ["SARHUB_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_uses_the_cache_and_nothing_else(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    publish(hub)
    monkeypatch.setenv(variable, "1")
    with pytest.raises(OfflineError, match=r"config\.json of org/tiny.*unset"):
        fetch_hub_model("org/tiny")
    assert hub.log == []
    monkeypatch.delenv(variable)
    _, path = fetch_hub_model("org/tiny")
    asked = len(hub.log)
    monkeypatch.setenv(variable, "1")
    assert fetch_hub_model("org/tiny") == (CONFIG, path)
    assert len(hub.log) == asked


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({"config.json": b"{}"}, DownloadError, "model.safetensors"),
        ({"config.json": b"{", "model.safetensors": save(tiny.tensors())}, CheckpointError, "not JSON"),
        ({"config.json": b"[]", "model.safetensors": save(tiny.tensors())}, CheckpointError, "object"),
        ({"config.json": b"{}", "model.safetensors": save(tiny.tensors())[:-1]}, CheckpointError, "truncated"),
        ({"model.safetensors": save(tiny.tensors())}, DownloadError, "config.json"),
    ],
)
def test_what_is_wrong_with_a_repository_is_said(
    hub: HubServer, files: dict[str, bytes], error: type[Exception], message: str
) -> None:
    hub.commit("org/tiny", files)
    with pytest.raises(error, match=message):
        fetch_hub_model("org/tiny")


@pytest.mark.parametrize("repo", ["org/none", "not a name", "a/b/c", "../../etc"])
def test_names_that_are_no_repository(hub: HubServer, repo: str) -> None:
    with pytest.raises(DownloadError, match="cannot fetch"):
        fetch_hub_model(repo)


class Connection(Exception):
    """Stands for what the HTTP library under the client raises where there is no answer."""

    __module__ = "httpx._exceptions"


class Status(Connection):
    response = "404"


def caused() -> Exception:
    """An error of the client that names its cause, without having been raised while that was handled."""
    err = RuntimeError("a long story\nof several lines")
    err.__cause__ = Connection("Connection refused")
    return err


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (caused(), "connection failed: Connection refused"),
        (Status("404 Client Error.\n\nSee the page"), "404 Client Error"),
        (ValueError("\nthe first line.\nthe second"), "the first line"),
        (ValueError(), "ValueError"),
    ],
)
def test_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch, cause: Exception, text: str) -> None:
    def fails(*_: Any, **__: Any) -> str:
        raise cause

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
    with pytest.raises(DownloadError) as caught:
        hub_file("a/b", "w")
    start = "cannot fetch w of a/b (main) on the Hugging Face Hub: "
    assert str(caught.value) == f"{start}{text}; check the name and the connection"


def test_an_error_of_the_disk_passes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
    with pytest.raises(OSError, match="No space left on device"):
        hub_file("a/b", "w")


def test_the_bar_is_that_of_the_caller_and_attempts_are_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    off: list[bool] = []
    client = logging.getLogger("huggingface_hub.utils._http")

    def fetches(*_: Any, **__: Any) -> str:
        off.append(are_progress_bars_disabled())
        for line in ("'X' thrown while requesting GET y", "Retrying in 1s", "another matter"):
            client.warning(line)
        return "w"

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetches)
    enable_progress_bars()
    for options in ({}, {"progress": True}, {"progress": False}):
        caplog.clear()
        hub_file("a/b", "w", **options)
        assert not are_progress_bars_disabled()
        line = "the Hugging Face Hub does not answer; trying again for some seconds"
        assert [record.getMessage() for record in caplog.records] == [line, "another matter"]
    assert off == [False, False, True]
    client.warning("Retrying in 1s")
    assert caplog.records[-1].getMessage() == "Retrying in 1s", "others' calls are left alone"
    disable_progress_bars()
    try:
        hub_file("a/b", "w", progress=False)
        assert are_progress_bars_disabled(), "whoever turned them off finds them so"
    finally:
        enable_progress_bars()


@pytest.mark.parametrize("value", ["1", "true", "YES", "On"])
def test_the_offline_switch_is_on(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SARHUB_OFFLINE", value)
    assert offline()


@pytest.mark.parametrize("value", ["", "0", "false", "no"])
def test_the_offline_switch_is_off(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SARHUB_OFFLINE", value)
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert not offline()


@pytest.mark.slow
def test_a_hub_that_cannot_be_reached_is_one_sentence_and_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "hf")
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    with pytest.raises(DownloadError, match=r"config\.json of a/b .*: connection failed: Connection refused") as caught:
        fetch_hub_config("a/b")
    assert not re.search(r"httpx|urllib3|Error\(|http://", str(caught.value))
    line = "the Hugging Face Hub does not answer; trying again for some seconds"
    # The oldest releases of the client do not try again, and then there is nothing to say
    assert [record.getMessage() for record in caplog.records] == ([line] if waits else [])
