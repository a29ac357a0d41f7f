"""Explain networks on radar chips: knowledge points, class-activation maps, measures and pictures of them.

Needs the extra ``explain``: ``pip install 'sarhub-models[explain]'``. Pictures are in
:mod:`sarhub_models.explain.figures`, which loads matplotlib.
"""

from ..errors import MissingDependencyError

try:
    import scipy  # noqa: F401
except ImportError as err:
    raise MissingDependencyError("explanations need scipy: pip install 'sarhub-models[explain]' brings it") from err

from .cam import CAM_METHODS, class_activation_maps
from .estimators import Amortized, Direct
from .inputs import ChipBatch, band_index, check_chips, prepare, prepare_chips, read_chips
from .knowledge import THRESHOLDS, Explanation, KnowledgePoints, knowledge_points
from .measures import Interval, agreement, bootstrap, measure_cam, measure_points
from .regions import Regions, find_regions, read_regions, regions_from_masks

__all__ = [
    "CAM_METHODS",
    "THRESHOLDS",
    "Amortized",
    "ChipBatch",
    "Direct",
    "Explanation",
    "Interval",
    "KnowledgePoints",
    "Regions",
    "agreement",
    "band_index",
    "bootstrap",
    "check_chips",
    "class_activation_maps",
    "find_regions",
    "knowledge_points",
    "measure_cam",
    "measure_points",
    "prepare",
    "prepare_chips",
    "read_chips",
    "read_regions",
    "regions_from_masks",
]
