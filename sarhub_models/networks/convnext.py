"""ConvNeXt V2 B: timm's own (Woo et al., CVPR 2023)."""

from __future__ import annotations

from ._spec import NetworkSpec

SPECS = {"convnextv2_base": NetworkSpec(timm_name="convnextv2_base", stem="stem.0", head="head.fc")}
