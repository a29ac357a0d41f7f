import json
from pathlib import Path

import pytest

from benchmarks.speed import training


@pytest.mark.slow
def test_both_loops_train_and_are_compared(tmp_path: Path) -> None:
    file = tmp_path / "training.json"
    training.main(["--networks", "mobilenetv3", "--batch-size", "4", "--repeats", "1", "--json", str(file)])
    plain, ours = json.loads(file.read_text())["rows"]
    assert (plain["loop"], plain["plain / this"]) == (training.PLAIN, 1.0)
    assert ours["loop"] == training.OURS and ours["images/s"] > 0
    assert ours["waiting for data"].endswith("%") and ours["DRAA and loss"].endswith("%")
