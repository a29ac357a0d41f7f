import json
from pathlib import Path

import pytest

from benchmarks.speed import training


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mobilenetv3", "vit_small_patch16"])  # the latter is built for one size
def test_both_loops_train_and_are_compared(tmp_path: Path, network: str) -> None:
    file = tmp_path / "training.json"
    training.main(["--networks", network, "--batch-size", "4", "--repeats", "1", "--json", str(file)])
    plain, ours = json.loads(file.read_text())["rows"]
    assert (plain["loop"], plain["plain / this"]) == (training.PLAIN, 1.0)
    assert ours["loop"] == training.OURS and ours["images/s"] > 0
    assert ours["waiting for data"].endswith("%") and ours["DRAA and loss"].endswith("%")
