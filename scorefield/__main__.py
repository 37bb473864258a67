"""`python -m scorefield`: the same as the command `scorefield`."""

import sys

from scorefield.cli import main

sys.exit(main())
