"""Makes docs/demo.svg of the output of a real run of the demo:  script/demo | python docs/picture.py > docs/demo.svg

Takes the change under load, the rollback and the table; long lines are cut. Needs rich, which bennu needs anyway.
"""

from __future__ import annotations

import io
import re
import sys

from rich.console import Console
from rich.text import Text

WIDTH = 112
SKIPPED = ("    shop: ", "#", "  load:", "REVISION", "$ bennu inspect", "$ bennu releases")


def main() -> None:
    """Read the demo's output, write the picture."""
    lines = [re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).rstrip() for line in sys.stdin]
    start = next(number for number, line in enumerate(lines) if line.startswith("### 3."))
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    blank = False
    for line in lines[start:]:
        if line.startswith("### 6.") or (line.startswith(SKIPPED) and not line.startswith("###")):
            continue
        if re.match(r"^\d+\s+(active|superseded)", line) or (not line and blank):
            continue
        blank = not line
        console.print(styled(line[:WIDTH]))
    picture = console.export_svg(title="script/demo", font_aspect_ratio=0.61)
    # a picture in a repository fetches no font from anywhere
    picture = re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    sys.stdout.write(picture.replace("Fira Code, monospace", "DejaVu Sans Mono, Menlo, Consolas, monospace"))


def styled(line: str) -> Text:
    """A line in the colours of a terminal."""
    style = ""
    if line.startswith("###"):
        style = "bold"
    elif line.startswith("$"):
        style = "bold cyan"
    elif line.lstrip().startswith("ok:"):
        style = "green"
    elif line.startswith("==>"):
        style = "blue"
    return Text(line, style=style)


if __name__ == "__main__":
    main()
