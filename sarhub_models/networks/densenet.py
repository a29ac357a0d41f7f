"""DenseNet-121: timm's own (Huang et al., CVPR 2017)."""

from __future__ import annotations

from ._spec import NetworkSpec

SPECS = {"densenet121": NetworkSpec(timm_name="densenet121", stem="features.conv0", head="classifier")}
