"""``python -m bennu``: the same as the command ``bennu``."""

import sys

from bennu.cli.main import entry

if __name__ == "__main__":
    sys.exit(entry())
