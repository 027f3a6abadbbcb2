"""``python -m tonetransfer``."""

import sys

from .cli import main

sys.exit(main())
