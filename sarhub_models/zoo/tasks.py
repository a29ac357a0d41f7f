"""Tasks of networks beyond classes of whole images."""

from __future__ import annotations

__all__ = ["DECODERS"]

DECODERS = {
    "unet": "segmentation",
    "fpn": "segmentation",
    "deeplabv3plus": "segmentation",
    "fcos": "detection",
    "retinanet": "detection",
}
"""What can stand on a network in place of its classifier, and the task that it then has."""
