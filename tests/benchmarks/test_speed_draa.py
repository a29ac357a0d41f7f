from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_benchmark_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    report = tmp_path / "draa.json"
    command = [sys.executable, "-m", "benchmarks.speed.draa", "--repeats", "1", "--json", str(report)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    rows = {row["operator"]: row for row in json.loads(report.read_text(encoding="utf-8"))["rows"]}
    peer = rows["PTLS, numpy.percentile"]
    assert peer["ratio"] == 1
    for name, row in rows.items():
        assert name in printed
        assert row["ratio"] == round(row["ratio"], 3) > 0
        assert abs(row["µs per chip"] / peer["µs per chip"] - row["ratio"]) < 0.01


def test_interleaved_times_all_in_turns(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.speed.timing import interleaved

    calls: list[str] = []
    seconds = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4  # the first of each is not counted
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}
    assert all(time >= 0 for times in seconds.values() for time in times)
