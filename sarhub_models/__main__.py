"""``python -m sarhub_models`` is ``sarhub``."""

import sys

from .cli import main

sys.exit(main())
