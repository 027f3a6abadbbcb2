"""``python -m tonetransfer``."""

import sys

from .cli.main import main

sys.exit(main())
