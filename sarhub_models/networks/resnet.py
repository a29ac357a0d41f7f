"""ResNet-18, -50 and -101: timm's own (He et al., CVPR 2016; stride in the 3x3 convolution of the bottleneck)."""

from __future__ import annotations

from ._spec import NetworkSpec

SPECS = {name: NetworkSpec(timm_name=name, stem="conv1", head="fc") for name in ("resnet18", "resnet50", "resnet101")}
