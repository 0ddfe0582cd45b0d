"""`python -m zoopraxis` is the command line."""

import sys

from zoopraxis.cli import main

if __name__ == "__main__":
    sys.exit(main())
