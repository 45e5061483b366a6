"""How much of a short command is bennu's own start: ``bennu --help`` against an empty Python program."""

from __future__ import annotations

import sys
from pathlib import Path

from timing import alternate, report

ROUNDS = 30


def main() -> None:
    python = sys.executable
    bennu = str(Path(python).with_name("bennu"))
    contenders = {
        "python3 -c pass": [python, "-c", "pass"],
        "bennu --help": [bennu, "--help"],
        "bennu version": [bennu, "version"],
        "python3 -c 'import argparse'": [python, "-c", "import argparse"],
    }
    report(alternate(contenders, ROUNDS), against="python3 -c pass")


if __name__ == "__main__":
    main()
