"""Nearest neighbours of frozen features: a pre-trained network beside the same network untrained.

``python -m benchmarks.recognition.neighbours --data DIR [--part opensarship] [--model mobilenetv3_dsn] [--json FILE]``
writes the patches of one part of DSN-SLC as complex ``.npy`` files, runs ``sarhub features`` on the folder with both
networks, and classifies the test split by its nearest neighbours (cosine) in the train split.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file
from safetensors.torch import save_file
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from sarhub_models import create_model, model_info
from sarhub_models.datasets.dsn import DsnPatches, load_dsn

NEIGHBOURS = (1, 5)
UNTRAINED_SEEDS = (0, 1, 2)


def write_patches(patches: DsnPatches, folder: Path) -> None:
    """Write complex patches as ``<folder>/<number>.npy``; files sort in the order of the patches."""
    folder.mkdir(parents=True)
    for number, image in enumerate(patches.images):
        np.save(folder / f"{number:06d}.npy", image)


def features(folder: Path, model: str, out: Path, checkpoint: Path | None = None) -> np.ndarray:
    """Run ``sarhub features`` and return float32 (N, D), in the order of the files' names."""
    command = [sys.executable, "-m", "sarhub_models", "features", str(folder), "--model", model, "--out", str(out)]
    scale = model_info(model).preprocessing.full_scale
    if scale is not None:
        command += ["--full-scale", str(scale)]
    if checkpoint is not None:
        command += ["--checkpoint", str(checkpoint)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return load_file(out)["features"]


def scores(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> dict[str, float]:
    """Return overall and class-average accuracy of the test features for each number of neighbours."""
    result = {}
    for count in NEIGHBOURS:
        predicted = KNeighborsClassifier(count, metric="cosine").fit(train, train_labels).predict(test)
        result[f"{count}-NN overall"] = float(accuracy_score(test_labels, predicted))
        result[f"{count}-NN class average"] = float(balanced_accuracy_score(test_labels, predicted))
    return result


def compare(data: Path, part: str, model: str) -> list[dict[str, object]]:
    """Return one row for the pre-trained network and one for each untrained one."""
    splits = {split: load_dsn(data, (part,), split, "complex") for split in ("train", "test")}
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for split, patches in splits.items():
            write_patches(patches, folder / split)
        networks: dict[str, Path | None] = {"pre-trained": None}
        for seed in UNTRAINED_SEEDS:
            torch.manual_seed(seed)
            networks[f"untrained, seed {seed}"] = folder / f"untrained{seed}.safetensors"
            save_file(create_model(model).state_dict(), folder / f"untrained{seed}.safetensors")
        for number, (name, checkpoint) in enumerate(networks.items()):
            found = {
                split: features(folder / split, model, folder / f"{number}_{split}.safetensors", checkpoint)
                for split in splits
            }
            row = scores(found["train"], splits["train"].labels, found["test"], splits["test"].labels)
            rows.append({"network": name, **row})
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Compare, print the table and, where asked, write it as JSON."""
    parser = argparse.ArgumentParser(description="Nearest neighbours of frozen features.")
    parser.add_argument("--data", type=Path, required=True, help="folder with packed DSN-SLC patches")
    parser.add_argument("--part", default="opensarship", help="s1, tsx or opensarship")
    parser.add_argument("--model", default="mobilenetv3_dsn", help="a name of 'sarhub list'")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file, too")
    options = parser.parse_args(arguments)
    rows = compare(options.data, options.part, options.model)
    table = Table(*rows[0].keys())
    for row in rows:
        table.add_row(*(value if isinstance(value, str) else f"{value:.3f}" for value in row.values()))
    Console().print(table)
    if options.json is not None:
        report = {"benchmark": "neighbours", "part": options.part, "model": options.model, "rows": rows}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
