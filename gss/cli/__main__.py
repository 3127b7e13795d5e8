"""`python -m gss.cli`: the `gss` command, where its script is not installed."""

import sys

from gss.cli import main

sys.exit(main())
