from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import sarhub_models
from benchmarks.recognition import neighbours
from sarhub_models.datasets.dsn import SPLITS


def test_features_of_the_command_line_tell_dark_from_bright(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = np.tile([0, 1], 12)
    scale = np.where(label == 0, 20.0, 4000.0)[:, None, None, None]
    np.savez(
        tmp_path / "opensarship.npz",
        iq=rng.normal(scale=scale, size=(24, 64, 64, 2)).astype(np.int16),
        label=label,
        split=np.repeat(SPLITS, 8),
        name=np.array([f"patch_{number}" for number in range(24)]),
        classes=np.array(["dark", "bright"]),
    )
    patches = neighbours.load_dsn(tmp_path, ("opensarship",), "train", "complex")
    neighbours.write_patches(patches, tmp_path / "chips")
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_file(sarhub_models.create_model("mobilenetv3_dsn").state_dict(), weights)
    found = neighbours.features(tmp_path / "chips", "mobilenetv3_dsn", tmp_path / "out.safetensors", weights)
    assert found.shape == (8, 1024)
    assert neighbours.scores(found, patches.labels, found, patches.labels)["1-NN overall"] == 1.0
