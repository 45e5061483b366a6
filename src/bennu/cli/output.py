r"""Records as text: aligned tables, ``--format json|table|{{.Field}}``, ``-q``. Pure.

A verb makes one mapping a record, with Docker's field names (``ID``, ``Repository``, ``CreatedSince``), and names its
columns; ``listing`` gives the text. JSON is one object a line, as ``docker ps --format json`` writes it; ``document``
gives the indented form of ``inspect``. Colours are no business of this module.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Record = Mapping[str, object]


class Column(NamedTuple):
    """A column of the table: its heading and the field that it shows."""

    heading: str
    field: str


def listing(
    records: Sequence[Record],
    columns: Sequence[Column],
    *,
    form: str | None = None,
    quiet: str | None = None,
    headings: bool = True,
) -> str:
    """The text of a listing, with its last newline; empty for no records in a form without headings.

    ``quiet`` names the one field that ``-q`` prints. ``form`` is what ``--format`` got: None or ``table``, ``json``, a
    template, or ``table`` and a template whose fields become the columns. Raises ``Invalid`` for a bad template.
    """
    if quiet is not None:
        return "".join(f"{record[quiet]}\n" for record in records)
    if form is None or form == "table":
        rows = [[shown(record[column.field]) for column in columns] for record in records]
        return table([column.heading for column in columns] if headings else None, rows)
    if form == "json":
        return "".join(_line(record) + "\n" for record in records)
    return _templated(records, columns, form)


def table(headings: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, three blanks apart, no blanks at the end of a line."""
    lines = [*([headings] if headings is not None else []), *rows]
    widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "   ".join(cell + " " * (wide - width(cell)) for cell, wide in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )


def document(value: object, form: str | None = None) -> str:
    """One value (or each of a list's members, for a template) for ``inspect``: JSON indented by four, or a template."""
    if form is None or form == "json":
        import json  # most verbs write none

        return json.dumps(value, ensure_ascii=False, indent=4 if form is None else None) + "\n"
    from bennu.cli.template import Template

    template = Template(form)
    members = value if isinstance(value, list) else [value]
    return "".join(template.render(member) + "\n" for member in members)


def shown(value: object) -> str:
    """A cell's text: empty for None, lists joined by commas, control characters as ``?`` (none may move the cursor)."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(shown, value))
    return printable(str(value))


def printable(text: str) -> str:
    """The text with every control character as ``?``."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def truncated(text: str, limit: int) -> str:
    """The text, cut to ``limit`` columns (at least 1) with an ellipsis where it is longer."""
    if width(text) <= limit:
        return text
    columns = 0
    for at, char in enumerate(text):
        columns += width(char)
        if columns >= limit:
            return text[:at] + "…"
    return text


def width(text: str) -> int:
    """Columns of a terminal that the text takes: wide East Asian characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(0 if _is_combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def _is_combining(char: str) -> bool:
    return unicodedata.category(char) in {"Mn", "Me"}


def _templated(records: Sequence[Record], columns: Sequence[Column], form: str) -> str:
    from bennu.cli.template import Template

    if not form.startswith("table "):
        template = Template(form)
        return "".join(template.render(record) + "\n" for record in records)
    template = Template(form.removeprefix("table "))
    known = {column.field: column.heading for column in columns}
    headings = [known.get(field, field.rpartition(".")[2].upper()) for field in template.fields]
    rows = [template.render(record).split("\t") for record in records]
    if any(len(row) != len(headings) for row in rows):
        # Cells without a tab between them: there are no columns to align, so the lines stand as they are.
        return "".join("\t".join(row) + "\n" for row in [headings, *rows])
    return table(headings, rows)


def _line(record: Record) -> str:
    import json

    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))
