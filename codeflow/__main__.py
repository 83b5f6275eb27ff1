"""`python -m codeflow`."""

import sys

from codeflow.cli import main

sys.exit(main())
