"""`python -m convsmith` is `convsmith`."""

import sys

from convsmith.cli import main

if __name__ == "__main__":
    sys.exit(main())
