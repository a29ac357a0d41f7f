import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

import sarhub_models as sarhub
from sarhub_models import networks
from sarhub_models.errors import OptionError, UnknownNameError
from sarhub_models.zoo.manifest import list_models, model_info
from tests.models.test_create import release

pytestmark = pytest.mark.slow  # importing TerraTorch takes seconds

PYRAMID = [{"name": "SelectIndices", "indices": [2, 5, 8, 11]}, {"name": "ReshapeTokensToImage"}]
PYRAMID += [{"name": "LearnedInterpolateToPyramidal"}]


@pytest.fixture(scope="module")
def registry():
    import sarhub_models.integrations.terratorch  # noqa: F401, I001 - first, or the precision of all tests is lowered
    from terratorch.registry import BACKBONE_REGISTRY

    return BACKBONE_REGISTRY


def test_other_networks_keep_their_precision():
    program = (
        "import torch; before = torch.get_float32_matmul_precision(); import sarhub_models.integrations.terratorch; "
        "import terratorch.tasks; assert torch.get_float32_matmul_precision() == before == 'highest'"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


def test_every_name_is_found(registry):
    assert [name for name in list_models() if name not in registry] == []
    assert {f"terratorch_{name}" for name in list_models()} <= set(registry)


@pytest.mark.parametrize("network", sorted({model_info(name).network for name in list_models()}))
def test_maps_are_what_out_channels_says(registry, network):
    name = next(name for name in list_models() if model_info(name).network == network)
    info = model_info(name)
    side = info.preprocessing.side or 128
    with networks.on_meta_device():
        backbone = registry.build(name).eval()
        maps = backbone(torch.empty(2, info.input.channels, side, side))
    assert isinstance(maps, list)
    assert [found.shape[1] for found in maps] == backbone.out_channels
    assert all(found.ndim == 4 and found.shape[-1] == found.shape[-2] < side for found in maps)


@pytest.mark.parametrize(
    ("name", "options", "decoder", "in_chans"),
    [
        ("resnet18_reben", {"out_indices": [1, 2, 3, 4]}, "UperNetDecoder", 2),
        ("resnet18_reben", {"bands": ["VH"], "out_indices": [1, 2, 3, 4]}, "UNetDecoder", 1),
        ("terramind_tiny_s1grd_terramesh", {"img_size": 64}, "UNetDecoder", 2),
    ],
)
def test_a_segmenter_learns(registry, name, options, decoder, in_chans):
    from terratorch.models import EncoderDecoderFactory

    width = {"channels": 32} if decoder == "UperNetDecoder" else {"channels": [64, 32, 16, 8]}
    model = EncoderDecoderFactory().build_model(
        task="segmentation",
        backbone=name,
        backbone_kwargs=options,
        necks=PYRAMID if name.startswith("terramind") else None,
        decoder=decoder,
        decoder_kwargs=width,
        num_classes=3,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images, masks = torch.randn(2, in_chans, 64, 64), torch.randint(3, (2, 64, 64))
    before = [parameter.detach().clone() for parameter in model.encoder.parameters()]
    logits = model(images).output
    assert logits.shape == (2, 3, 64, 64)
    F.cross_entropy(logits, masks).backward()
    optimizer.step()
    assert any(not torch.equal(old, new) for old, new in zip(before, model.encoder.parameters(), strict=True))


def test_a_task_takes_a_name(registry):
    from terratorch.tasks import SemanticSegmentationTask

    task = SemanticSegmentationTask(
        model_factory="EncoderDecoderFactory",
        model_args={
            "backbone": "resnet18_tsx",
            "backbone_in_chans": 1,
            "backbone_out_indices": [1, 2, 3, 4],
            "decoder": "FCNDecoder",
            "num_classes": 2,
        },
    )
    assert task.model(torch.zeros(1, 1, 64, 64)).output.shape == (1, 2, 64, 64)


def test_trained_weights_arrive(registry, tmp_path):
    file = release(tmp_path, "resnet18")
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = sarhub.create_model("resnet18_tsx", file, features_only=True).eval()(images)
        found = registry.build("resnet18_tsx", pretrained=str(file), out_indices=[0, 4]).eval()(images)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[4])


def test_bands_as_terratorch_has_them(registry):
    from terratorch.datasets.utils import SARBands

    backbone = registry.build("resnet18_reben", bands=[SARBands.VH])
    assert backbone.network.conv1.in_channels == 1


def test_what_is_impossible_is_said(registry):
    with pytest.raises(OptionError, match="0 to 4"):
        registry.build("resnet18_tsx", out_indices=[5])
    with pytest.raises(OptionError, match="VV, VH"):
        registry.build("resnet18_reben", bands=["HH"])
    with pytest.raises(UnknownNameError, match="grsl2021"):
        registry.build("resnet18_tsx", pretrained="grsl2021")
