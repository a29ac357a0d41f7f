"""What pytest leaves out where an optional part is not installed."""

from __future__ import annotations

from importlib.util import find_spec

# Its examples run where the MM stack is (``make test-mm``); the tests in tests/ say why they are skipped without it.
collect_ignore = [] if find_spec("mmcv") else ["sarhub_models/integrations/mm.py"]
