import json

import pytest
import torch

pytest.importorskip("mmcv", reason="the MM stack is not installed: make test-mm sets it up", exc_type=ImportError)
pytest.importorskip("mmdet")

from benchmarks.speed import mm


@pytest.mark.slow
def test_both_detectors_compute_the_same():
    models, _ = mm.detectors("resnet18")
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        ours, peer = (model.eval()._forward(x) for model in models.values())
    for a, b in zip(ours, peer, strict=True):
        assert all(torch.allclose(p, q, rtol=1e-4, atol=1e-5) for p, q in zip(a, b, strict=True))
    trained = [sum(p.numel() for p in model.parameters() if p.requires_grad) for model in models.values()]
    assert trained[0] == trained[1]


@pytest.mark.slow
def test_training_and_detection_are_compared(tmp_path):
    file = tmp_path / "mm.json"
    mm.main(["--network", "resnet18", "--batch-size", "1", "--size", "64", "--repeats", "1", "--json", str(file)])
    rows = json.loads(file.read_text())["rows"]
    assert [row["what"] for row in rows] == ["training step", "detection"]
    assert all(row["ratio"] > 0 and row["budget"] == 1.02 for row in rows)
