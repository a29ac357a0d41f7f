"""``sarhub info``."""

from __future__ import annotations

import json
import re

import pytest

from sarhub_models.cli import main


def test_info_shows_the_numbers_of_the_preprocessing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "resnet50_ben"]) == 0
    out = capsys.readouterr().out
    for fact in (
        "0.0005743462",
        "p = 1",
        "10.3390/rs15235534",
        "hy50",
        "drive.google.com",
        'create_model("resnet50_ben"',
    ):
        assert fact in out


def test_info_says_who_vouches_for_the_input_and_which_others_are_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "vit_base_patch16_ssl4eo.fgmae"]) == 0
    out = capsys.readouterr().out
    assert "by the authors of the weights: https://github.com/zhu-xlab/FGMAE/blob/66ac3c57" in out
    assert "held between -23.0624, -32.0154 and -2.03452, -8.36935" in out
    assert '"torchgeo" (vouched for by: peer)' in out


def test_nothing_is_cut_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "50")
    assert main(["info", "resnet50_ben"]) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert 'model = sarhub.create_model("resnet50_ben", pretrained=True).eval()' in out.splitlines()
    plain = re.sub(r"\x1b\[[\d;]*m|\s", "", out)
    assert "https://drive.google.com/drive/folders/11qHjnN-Rc6Sse-hdmaxklNe9rKTTRdlh" in plain


def test_info_json_is_the_entry(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "resnet18_tsx.grsl2020", "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert entry["checksum"] == {"algorithm": "git-blob", "value": "96607894248e509a925454f5f8e2113c33e1dcf7"}
    assert entry["preprocessing"]["operator"] == "log_amplitude"
    assert entry["license"] is None
