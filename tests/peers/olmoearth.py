"""OlmoEarth's encoder of its authors, on numbers that are the same on every machine.

``python -m tests.peers.olmoearth`` fills the nano network of ``olmoearth-pretrain-minimal`` with them and writes what
it gives for two images to ``tests/peers/olmoearth.json``, which ``tests/networks/test_layouts.py`` compares with ours.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from tests.networks.released import image, value

FILE = Path(__file__).with_suffix(".json")
CASES = ({"img_size": 64, "patch_size": 8, "month": 1}, {"img_size": 40, "patch_size": 5, "month": 8})
_WIDTH, _DEPTH = 128, 4
_OTHERS = {"sentinel2_l2a": (4, 6, 2), "landsat": (1, 10)}  # bands of each of their sets


def shapes() -> dict[str, tuple[int, ...]]:
    """Return what the released file has of the encoder, for the sensors that it reads, and a tensor of the decoder."""
    found: dict[str, tuple[int, ...]] = {
        "decoder.norm.weight": (_WIDTH,),
        "encoder.project_and_aggregate.projection.0.bias": (_WIDTH,),
    }
    for sensor, sets in {"sentinel1": (2,), **_OTHERS}.items():
        found[f"encoder.composite_encodings.per_modality_channel_embeddings.{sensor}"] = (len(sets), _WIDTH // 4)
        for index, bands in enumerate(sets):
            place = f"encoder.patch_embeddings.per_modality_embeddings.{sensor}.{sensor}__{index}.proj"
            found |= {f"{place}.weight": (_WIDTH, bands, 8, 8), f"{place}.bias": (_WIDTH,)}
    layers = {f"attn.{part}": (_WIDTH, _WIDTH) for part in ("q", "k", "v", "proj")}
    layers |= {"mlp.fc1": (4 * _WIDTH, _WIDTH), "mlp.fc2": (_WIDTH, 4 * _WIDTH), "norm1": (_WIDTH,), "norm2": (_WIDTH,)}
    for name, shape in {f"blocks.{b}.{layer}": s for b in range(_DEPTH) for layer, s in layers.items()}.items():
        found |= {f"encoder.{name}.weight": shape, f"encoder.{name}.bias": shape[:1]}
    return found | {"encoder.norm.weight": (_WIDTH,), "encoder.norm.bias": (_WIDTH,)}


def tensors() -> dict[str, torch.Tensor]:
    """Return those tensors, filled."""
    return {name: value("olmoearth", name, shape) for name, shape in shapes().items()}


def images(case: dict[str, int]) -> torch.Tensor:
    """Return two images, (2, 2, side, side)."""
    return image("olmoearth", (2, 2, case["img_size"], case["img_size"]))


def main() -> None:
    """Write the features that the authors' network gives."""
    from olmoearth_pretrain_minimal import OlmoEarthPretrain_v1
    from olmoearth_pretrain_minimal.olmoearth_pretrain_v1.utils.datatypes import MaskedOlmoEarthSample, MaskValue

    encoder = OlmoEarthPretrain_v1(model_size="nano", model_version="v1").model.encoder.eval()
    own = encoder.state_dict()
    filled = {name.removeprefix("encoder."): tensor for name, tensor in tensors().items()}
    encoder.load_state_dict({**own, **{name: tensor for name, tensor in filled.items() if name in own}})
    rows = []
    for case in CASES:
        pixels, side = images(case).permute(0, 2, 3, 1)[:, :, :, None], case["img_size"]
        sample = MaskedOlmoEarthSample(
            sentinel1=pixels,
            sentinel1_mask=torch.full((2, side, side, 1, 1), MaskValue.ONLINE_ENCODER.value),
            timestamps=torch.tensor([[[15, case["month"] - 1, 2024]]] * 2),
        )
        with torch.inference_mode():
            found = encoder(sample, fast_pass=True, patch_size=case["patch_size"])["tokens_and_masks"].sentinel1
        rows.append([[round(number, 7) for number in row] for row in found.mean((1, 2, 3, 4)).tolist()])
    FILE.write_text(json.dumps(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
