"""Tables, templates, sizes and ages."""

from __future__ import annotations

import json

import pytest

from bennu.cli import human
from bennu.cli.output import Column, document, listing, table, truncated
from bennu.cli.template import Template
from bennu.errors import Invalid, Unsupported

RECORDS = [
    {"ID": "3f2a", "Names": "web.1", "Status": "Up 3 minutes", "Labels": {"a.b": "c"}, "Ports": ["80/tcp", "81/udp"]},
    {"ID": "9d1c", "Names": "database.1", "Status": "", "Labels": {}, "Ports": []},
]
COLUMNS = [Column("CONTAINER ID", "ID"), Column("NAMES", "Names"), Column("STATUS", "Status")]


def test_the_table_is_aligned_and_ends_without_blanks():
    assert listing(RECORDS, COLUMNS) == (
        "CONTAINER ID   NAMES        STATUS\n3f2a           web.1        Up 3 minutes\n9d1c           database.1\n"
    )
    assert listing([], COLUMNS) == "CONTAINER ID   NAMES   STATUS\n"
    assert listing([], COLUMNS, headings=False) == ""


def test_wide_characters_keep_the_columns():
    assert table(["A", "B"], [["日本", "x"], ["abcd", "y"]]) == "A      B\n日本   x\nabcd   y\n"


def test_control_characters_never_reach_the_terminal():
    assert "\x1b" not in listing([{"ID": "a\x1b[2J", "Names": "n\n", "Status": None}], COLUMNS)


def test_quiet_prints_one_field():
    assert listing(RECORDS, COLUMNS, quiet="ID", form="json") == "3f2a\n9d1c\n"


def test_json_is_one_object_a_line():
    lines = listing(RECORDS, COLUMNS, form="json").splitlines()
    assert [json.loads(line) for line in lines] == RECORDS


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("{{.ID}} {{.Names}}", "3f2a web.1\n9d1c database.1\n"),
        (r"{{.ID}}\t{{.Names}}", "3f2a\tweb.1\n9d1c\tdatabase.1\n"),
        ("{{upper .Names}}", "WEB.1\nDATABASE.1\n"),
        ("{{len .Ports}}", "2\n0\n"),
        ('{{join .Ports "+"}}', "80/tcp+81/udp\n\n"),
        ('{{index .Labels "a.b"}}', "c\n\n"),
        ("{{range .Ports}}<{{.}}>{{end}}", "<80/tcp><81/udp>\n\n"),
        ("{{json .Ports}}", '["80/tcp","81/udp"]\n[]\n'),
        ("{{.ID}}  {{- .Names}}", "3f2aweb.1\n9d1cdatabase.1\n"),
        ("{{.Ports}} {{.Labels}}", "[80/tcp 81/udp] map[a.b:c]\n[] map[]\n"),
        (r"table {{.Names}}\t{{.ID}}", "NAMES        CONTAINER ID\nweb.1        3f2a\ndatabase.1   9d1c\n"),
    ],
)
def test_templates(form: str, expected: str):
    assert listing(RECORDS, COLUMNS, form=form) == expected


def test_nested_fields_and_indexes():
    record = {"State": {"Health": {"Status": "healthy"}}, "Env": ["A=1", "B=2"], "Up": True, "Error": None}
    assert Template("{{.State.Health.Status}} {{index .Env 1}} {{.Up}} {{.Error}}").render(record) == (
        "healthy B=2 true <nil>"
    )
    assert document([record], "{{.Up}}") == "true\n"
    assert json.loads(document(record)) == record


@pytest.mark.parametrize(
    ("form", "category", "message"),
    [
        ("{{.Nmae}}", Invalid, "there is no field '.Nmae'"),
        ("{{.ID", Invalid, "not closed"),
        ("{{}}", Invalid, "empty action"),
        ("{{range .Ports}}", Invalid, "without an end"),
        ("{{end}}", Invalid, "without a range"),
        ("{{range .ID}}{{end}}", Invalid, "no members"),
        ("{{if .ID}}x{{end}}", Unsupported, "'if', which is not supported"),
        ("{{.ID | upper}}", Unsupported, "not supported"),
        ("{{index .Ports 7}}", Invalid, "has no index 7"),
        ("{{join .Ports}}", Invalid, "join needs 2 values"),
    ],
)
def test_bad_templates_are_named(form: str, category: type[Invalid], message: str):
    with pytest.raises(category, match=message):
        listing(RECORDS, COLUMNS, form=form)


def test_bad_templates_are_found_without_records():
    with pytest.raises(Invalid):
        listing([], COLUMNS, form="{{.ID")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1290, "1.29kB"), (139_800_000, "140MB"), (999_600, "1MB"), (5e9, "5GB")],
)
def test_sizes(size: float, text: str):
    assert human.size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (180, "3 minutes"),
        (3600, "About an hour"),
        (3 * 3600, "3 hours"),
        (47 * 3600, "47 hours"),
        (3 * 86400, "3 days"),
        (21 * 86400, "3 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
        (-5, "Less than a second"),
    ],
)
def test_durations(seconds: float, text: str):
    assert human.duration(seconds) == text


def test_ages_clocks_and_cuts():
    assert human.ago(100, 105) == "5 seconds ago"
    assert [human.clock(x) for x in (0.042, 3.21, 41, 125, 3725)] == ["0.04s", "3.2s", "41s", "2m05s", "1h02m"]
    assert truncated("abcdef", 4) == "abc…"
    assert truncated("abc", 4) == "abc"
