"""Configuration of the documentation site."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # _build_pages, and benchmarks/ of the clone

import _build_pages  # noqa: E402

from sarhub_models import __version__  # noqa: E402

project = "sarhub-models"
author = "The sarhub-models developers"
copyright = f"2026, {author}"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_build_pages", "_generated", "results"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["zoo.css"]
html_js_files = ["zoo.js"]
html_title = f"sarhub-models {release}"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
autodoc_mock_imports = ["mmcv", "mmengine"]  # the plugin's documentation needs no MM packages
nitpicky = False
suppress_warnings = ["ref.python"]  # a choice of a Literal, "step", is not the method of that name

_build_pages.everything(HERE / "_generated")
