"""`python -m sslbench`."""

import sys

from sslbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
