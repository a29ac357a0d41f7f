"""Published outputs against a stand-in of the pages that hold them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save

import sarhub_models as sarhub
from sarhub_models.cli import main
from sarhub_models.errors import CheckpointError, DownloadError, OfflineError, OptionError
from sarhub_models.models.answers import check_answers, with_answers
from sarhub_models.zoo.manifest import manifest_path
from tests.weights.loopback import FileServer

MODEL, SCORED = "mobilenetv3_osu", "resnet18_reben"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Weights, two images and the features that the network has for them, all on loopback."""
    torch.set_num_threads(1)
    monkeypatch.setenv("SARHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SARHUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with FileServer() as running:
        manifest = json.loads(manifest_path().read_text())
        answers = {
            "inputs": [f"{running.url}/0.png", f"{running.url}/1.png"],
            "outputs": f"{running.url}/answers.npy",
            "published_by": "authors",
            "rtol": 1e-3,
            "atol": 1e-3,
        }
        source = {"type": "http", "url": f"{running.url}/w"}
        entry = {**manifest["models"][MODEL], "sources": [source], "answers": answers}
        manifest["models"] = {MODEL: entry, "resnet50_osu": manifest["models"]["resnet50_osu"]}
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        monkeypatch.setenv("SARHUB_MANIFEST", str(tmp_path / "manifest.json"))
        torch.manual_seed(0)
        model = sarhub.create_model(MODEL)
        torch.save(model.state_dict(), tmp_path / "w.pth")
        running.files["/w"] = (tmp_path / "w.pth").read_bytes()
        model.reset_classifier(0)
        transform, rows = sarhub.create_transform(MODEL), []
        for number in range(2):
            pixels = np.random.default_rng(number).integers(0, 256, (140, 150)).astype(np.uint8)
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "png")
            running.files[f"/{number}.png"] = stream.getvalue()
            with torch.inference_mode():
                rows.append(model.eval()(transform(pixels)[None])[0].numpy())
        publish(running, np.stack(rows))
        yield running


def publish(server: FileServer, array: np.ndarray, *, pickled: bool = False) -> None:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=pickled)
    server.files["/answers.npy"] = stream.getvalue()


def read(server: FileServer) -> np.ndarray:
    return np.load(io.BytesIO(server.files["/answers.npy"]))


@pytest.mark.slow
def test_the_same_outputs(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert with_answers() == [MODEL]
    assert main(["verify", "--answers", MODEL]) == 0
    assert f"{MODEL}  ok  outputs published by the authors, images: 2" in capsys.readouterr().out
    publish(server, read(server)[:, None])  # one more axis, as some authors save them
    assert main(["verify", "--answers", MODEL, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["ok"] and row["images"] == 2 and row["share"] < 1


@pytest.mark.slow
def test_another_number_is_found(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    array = read(server)
    array[1, 7] += 0.01
    publish(server, array)
    assert main(["verify", "--answers", MODEL]) == 1
    assert "NOT OK" in capsys.readouterr().out
    assert check_answers(MODEL).difference == pytest.approx(0.01, rel=0.01)
    publish(server, read(server)[::-1])
    assert not check_answers(MODEL).ok


@pytest.mark.parametrize(
    "array", [np.zeros((2, 5)), np.zeros((3, 1024)), np.full((2, 1024), np.nan), np.zeros((2, 1024), int), np.zeros(3)]
)
def test_what_are_no_outputs_is_refused(array: np.ndarray, server: FileServer) -> None:
    publish(server, array)
    with pytest.raises(CheckpointError, match="published outputs"):
        check_answers(MODEL)


def test_pickled_and_missing_files_are_refused(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(server, np.array([{"a": 1}, {}], dtype=object), pickled=True)
    with pytest.raises(CheckpointError, match=r"no \.npy file of numbers"):
        check_answers(MODEL)
    del server.files["/answers.npy"]
    with pytest.raises(DownloadError, match="404"):
        check_answers(MODEL)
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="published outputs"):
        check_answers(MODEL)


def test_weights_without_published_outputs(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OptionError, match=f"nobody published outputs of resnet50_osu; known: {MODEL}"):
        check_answers("resnet50_osu")
    assert main(["verify", "--answers"]) == 2
    assert f"--answers needs NAME, one of {MODEL}" in capsys.readouterr().err


@pytest.fixture
def patch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A network of two bands with a head, an image within a larger file, and the scores that the network has for it."""
    torch.set_num_threads(1)
    monkeypatch.setenv("SARHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SARHUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with FileServer() as running:
        manifest = json.loads(manifest_path().read_text())
        rng = np.random.default_rng(0)
        bands = {"VH": rng.normal(-19, 5, (120, 120)), "VV": rng.normal(-12, 5, (120, 120))}
        piece = save({name: band.astype(np.float32) for name, band in bands.items()})
        running.files["/data.mdb"] = b"before" + piece + b"behind"
        entry = {
            **manifest["models"][SCORED],
            "sources": [{"type": "http", "url": f"{running.url}/w"}],
            "checksum": None,
        }
        digest = hashlib.sha256(piece).hexdigest()
        place = {"url": f"{running.url}/data.mdb", "offset": 6, "size": len(piece), "sha256": digest}
        outputs = {"url": f"{running.url}/result.json", "keys": ["scores", "s1"]}
        entry["answers"] = {**entry["answers"], "inputs": [place], "outputs": outputs}
        manifest["models"] = {SCORED: entry}
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        monkeypatch.setenv("SARHUB_MANIFEST", str(tmp_path / "manifest.json"))
        torch.manual_seed(0)
        model = sarhub.create_model(SCORED).eval()
        torch.save({f"model.vision_encoder.{key}": t for key, t in model.state_dict().items()}, tmp_path / "w.pth")
        running.files["/w"] = (tmp_path / "w.pth").read_bytes()
        mean, std = (torch.tensor(numbers)[:, None, None] for numbers in sarhub.model_info(SCORED).statistics([0, 1]))
        pixels = torch.from_numpy(np.stack([bands["VV"], bands["VH"]])).float()
        with torch.inference_mode():
            found = model(((pixels - mean) / std)[None])[0].sigmoid().tolist()
        names = sarhub.model_info(SCORED).class_names or ()
        say(running, dict(sorted(zip(names, found, strict=True), reverse=True)))
        yield running


def say(server: FileServer, scores: dict[str, float]) -> None:
    server.files["/result.json"] = json.dumps({"scores": {"s1": scores}}).encode()


@pytest.mark.slow
def test_scores_of_classes_for_an_image_within_a_larger_file(
    patch: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "--answers", SCORED]) == 0
    assert "ok  outputs published by another project, images: 1" in capsys.readouterr().out
    scores = json.loads(patch.files["/result.json"])["scores"]["s1"]
    say(patch, {**scores, "Arable land": scores["Arable land"] + 0.01})
    assert not check_answers(SCORED).ok
    for wrong in ({**scores, "Lava": 0.5}, {k: v for k, v in scores.items() if k != "Pastures"}, [0.5] * len(scores)):
        say(patch, wrong)  # type: ignore[arg-type]
        with pytest.raises(CheckpointError, match="scores of its classes"):
            check_answers(SCORED)


@pytest.mark.slow
def test_another_image_than_the_one_of_the_scores_is_refused(patch: FileServer) -> None:
    patch.files["/data.mdb"] = patch.files["/data.mdb"].replace(b"before", b"moved down")
    with pytest.raises(CheckpointError, match="does not hold the image"):
        check_answers(SCORED)
