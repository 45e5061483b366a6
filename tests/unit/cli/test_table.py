"""The table and the verbs' records say the same, and what is generated from them is current."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

import bennu.cli
from bennu.cli import help as help_text
from bennu.cli import manual
from bennu.cli.command import GLOBAL, Command
from bennu.cli.table import GROUPS, Row, find, load, rows

CLI = Path(bennu.cli.__file__).parent
DOCS = Path(__file__).resolve().parents[3] / "docs" / "commands.md"


def commands() -> list[Command]:
    return [load(row)[0] for row in rows()]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_a_row_and_its_record_agree(row: Row):
    command, run = load(row)
    assert (command.name, command.summary) == (row.name, row.summary)
    assert command.group in GROUPS
    assert callable(run)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_a_record_is_sound(row: Row):
    command, _ = load(row)
    assert not command.summary.endswith(".")
    said = [each.help.removesuffix("...") for each in command.arguments if not each.hidden]
    assert all(text and not text.endswith(".") for text in said)
    flags = [flag for each in command.arguments for flag in each.flags]
    dests = [each.dest for each in command.arguments]
    assert len(flags) == len(set(flags))
    assert len(dests) == len(set(dests))
    assert not set(dests) & {each.dest for each in GLOBAL}
    assert all(flag.startswith("--") or len(flag) == 2 for flag in flags)
    greedy = [each.repeatable for each in command.operands]
    assert True not in greedy[:-1], "a repeatable operand takes all the rest, so it stands last"
    for line, meaning in command.examples:
        assert "bennu" in line
        assert meaning


def test_names_are_taken_once():
    names = [name for row in rows() for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))


def test_every_verb_file_has_its_row():
    with_record = {
        f"bennu.cli.{path.stem}"
        for path in CLI.glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id == "COMMAND"
    }
    assert with_record == {row.module for row in rows()}


def test_the_longest_name_is_found():
    assert find(["version", "x"]) == (next(row for row in rows() if row.name == "version"), 1)
    assert find(["nothing"]) is None
    assert find([]) is None


def test_help_fits_a_terminal():
    for text in (help_text.overview(), *(help_text.verb(each) for each in commands())):
        assert all(line == line.rstrip() for line in text.splitlines())
    assert all(len(line) <= 80 for line in help_text.overview().splitlines())


def test_the_document_of_commands_is_current():
    assert DOCS.read_text() == manual.markdown(commands()), "make docs"


def test_the_manual_page_is_sound_roff():
    page = manual.roff(commands(), "1.2.3")
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z"], input=page, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    for command in commands():
        assert f".SS bennu {command.name}".replace("-", "\\-") in page
