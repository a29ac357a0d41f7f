"""The programs of the page on other tools run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
NEEDED = ("lightning", "torchgeo", "segmentation_models_pytorch", "peft", "onnxscript", "onnxruntime")


def programs() -> dict[str, str]:
    """Return the blocks of Python by the title above them."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found = zip(parts[::2], (re.findall(r"```python\n(.*?)```", text, re.DOTALL) for text in parts[1::2]), strict=True)
    return {title: blocks[0] for title, blocks in found if len(blocks) == 1}


def test_every_section_has_its_program() -> None:
    assert len(programs()) == len(re.findall(r"^## ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)) == 7


@pytest.mark.slow
@pytest.mark.parametrize("title", programs())
def test_programs_run_as_they_stand(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in NEEDED:
        if package in programs()[title]:
            pytest.importorskip(package)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    for name in ("ship", "tank"):
        (tmp_path / "chips" / name).mkdir(parents=True)
        for index in range(8):
            np.save(tmp_path / "chips" / name / f"{index}.npy", rng.random((40, 40), dtype=np.float32))
    monkeypatch.chdir(tmp_path)
    exec(compile(programs()[title], f"{PAGE.name}: {title}", "exec"), {"__name__": "__main__"})
