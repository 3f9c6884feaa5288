"""`python -m pyhybrid` is the command line."""

import sys

from pyhybrid.cli import main

sys.exit(main())
