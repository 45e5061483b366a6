"""From words to exit status: finding the verb, statuses of errors, signals, start-up."""

from __future__ import annotations

import importlib
import io
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from bennu import __version__
from bennu.cli import table
from bennu.cli.command import PROJECT, Arguments, Command, operand, switch
from bennu.cli.context import Context
from bennu.cli.main import main
from bennu.errors import Conflict, Invalid, NotFound, Usage

Run = Callable[[Arguments, Context], int]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclass
class Result:
    status: int
    out: str
    err: str


@dataclass
class Bench:
    """Verbs made for one test, and a way to call them."""

    monkeypatch: pytest.MonkeyPatch
    environ: dict[str, str] = field(default_factory=dict)

    def verb(self, command: Command, run: Run, aliases: tuple[str, ...] = ()) -> None:
        row = table.Row(command.name, command.summary, aliases)
        module = types.ModuleType(row.module)
        module.COMMAND = command  # type: ignore[attr-defined]
        module.run = run  # type: ignore[attr-defined]
        self.monkeypatch.setitem(sys.modules, row.module, module)
        groups = {**table.GROUPS, "Made": (*table.GROUPS.get("Made", ()), row)}
        importlib.import_module("bennu.cli.help")
        for place in ("bennu.cli.table", "bennu.cli.help"):
            self.monkeypatch.setattr(f"{place}.GROUPS", groups)

    def __call__(self, *words: str, stdin: io.StringIO | None = None, stderr: io.StringIO | None = None) -> Result:
        out, err = io.StringIO(), stderr or io.StringIO()
        status = main(words, self.environ, stdin=stdin or io.StringIO(), stdout=out, stderr=err)
        return Result(status, out.getvalue(), err.getvalue())


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def raising(error: BaseException) -> Run:
    def run(_args: Arguments, _context: Context) -> int:
        raise error

    return run


def test_version_and_help_go_to_standard_output(bench: Bench):
    assert bench("--version").out == f"bennu {__version__}\n"
    assert bench("version").out == f"{__version__}\n"
    result = bench("--help")
    assert (result.status, result.err) == (0, "")
    assert "version" in result.out
    assert "--root DIR" in result.out


def test_nothing_to_do_is_a_usage_error(bench: Bench):
    result = bench()
    assert (result.status, result.out) == (64, "")
    assert "Usage:" in result.err


def test_an_unknown_command_gets_a_guess(bench: Bench):
    result = bench("versoin")
    assert result.status == 64
    assert result.err == "error: bennu has no command 'versoin'\nhint: did you mean 'bennu version'?\n"


def test_a_family_lists_its_members_and_finds_them(bench: Bench):
    bench.verb(Command("pond fish", "Fish"), lambda _args, context: context.print("fish") or 7, ("pond angle",))
    assert bench("pond", "fish").out == "fish\n"
    assert bench("pond", "angle").status == 7
    assert bench("pond").status == 64
    assert "pond fish" in bench("pond").err
    assert "pond fish" in bench("pond", "--help").out
    assert "did you mean 'bennu pond fish'?" in bench("pond", "fsih").err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Usage("x"), 64),
        (NotFound("x"), 1),
        (Conflict("x"), 1),
        (OSError(28, "No space left on device", "/x"), 1),
        (RuntimeError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_statuses(bench: Bench, error: BaseException, status: int):
    bench.verb(Command("try", "Try"), raising(error))
    assert bench("try").status == status


@pytest.mark.parametrize("error", [Usage("x"), NotFound("x"), OSError("x"), RuntimeError("x")])
def test_a_verb_may_set_its_own_status(bench: Bench, error: Exception):
    bench.verb(Command("try", "Try", (operand("IMAGE", help="I"),), status_on_error=125), raising(error))
    assert bench("try", "image").status == 125
    assert bench("try").status == 125
    assert bench("try", "--what").status == 125


def test_an_error_is_one_report_without_a_traceback(bench: Bench):
    bench.verb(Command("try", "Try"), raising(NotFound("image 'x' does not exist", "bennu images")))
    assert bench("try").err == "error: image 'x' does not exist\nhint: bennu images\n"
    debugged = bench("try", "--debug").err
    assert "Traceback" in debugged
    assert debugged.endswith("hint: bennu images\n")
    bench.environ["BENNU_DEBUG"] = "1"
    assert "Traceback" in bench("try").err


def test_a_system_error_names_its_file(bench: Bench):
    bench.verb(Command("try", "Try"), raising(OSError(28, "No space left on device", "/data/x")))
    assert bench("try").err == "error: /data/x: No space left on device\n"


def test_a_fault_of_ours_shows_where(bench: Bench):
    bench.verb(Command("try", "Try"), raising(ZeroDivisionError("boom")))
    result = bench("try")
    assert "ZeroDivisionError: boom" in result.err
    assert "fault in bennu" in result.err


def test_global_flags_stand_before_or_after_the_verb(bench: Bench):
    seen: list[tuple[object, ...]] = []

    def run(args: Arguments, context: Context) -> int:
        seen.append((args.root, args.files, args.project, context.root))
        return 0

    bench.verb(Command("up", "Up", PROJECT), run)
    bench("--root", "/a", "-f", "one", "-f", "two", "-p", "shop", "up")
    bench("up", "--root=/a", "-f", "one", "-f", "two", "-p", "shop")
    assert seen[0] == seen[1] == ("/a", ("one", "two"), "shop", "/a")
    bench("-p", "shop", "up", "-p", "other")
    assert seen[2] == (None, (), "other", None)
    bench.environ.update(BENNU_ROOT="/env", COMPOSE_FILE="a.yaml:b.yaml", COMPOSE_PROJECT_NAME="env")
    bench("up")
    bench("--root", "/flag", "up")
    assert seen[3:] == [("/env", ("a.yaml", "b.yaml"), "env", "/env"), ("/flag", ("a.yaml", "b.yaml"), "env", "/flag")]


def test_a_compose_file_before_a_verb_that_has_none_is_refused(bench: Bench):
    result = bench("-f", "x", "version")
    assert result.status == 64
    assert "'version' works on no Compose file and takes no --file" in result.err


def test_a_question_needs_a_terminal_or_yes(bench: Bench):
    def run(args: Arguments, context: Context) -> int:
        context.confirm("Burn it?", yes=args.yes)
        return 0

    bench.verb(Command("burn", "Burn", (switch("-y", "--yes", help="Yes"),)), run)
    assert bench("burn", "--yes").status == 0
    refused = bench("burn", stdin=io.StringIO("y\n"))
    assert refused.status == 1
    assert "--yes" in refused.err
    assert bench("burn", stdin=Terminal("y\n"), stderr=Terminal()).status == 0
    assert bench("burn", stdin=Terminal("\n"), stderr=Terminal()).status == 1
    assert bench("burn", stdin=Terminal(""), stderr=Terminal()).status == 1


def test_colours_only_on_a_terminal_that_wants_them(bench: Bench):
    bench.verb(Command("try", "Try"), raising(Invalid("bad", file="f", line=1)))
    assert "\x1b" not in bench("try").err
    assert "\x1b" in bench("try", stderr=Terminal()).err
    bench.environ["NO_COLOR"] = "1"
    assert "\x1b" not in bench("try", stderr=Terminal()).err


def test_a_verb_is_helped_from_its_record(bench: Bench):
    bench.verb(
        Command(
            "try",
            "Try a thing",
            (switch("-n", "--dry-run", help="Only say it"), operand("THING", help="What to try", repeatable=True)),
            examples=(("bennu try a", "Try a"),),
        ),
        lambda *_: 0,
    )
    text = bench("try", "--help").out
    assert text.startswith("Usage:  bennu try [OPTIONS] THING...\n\nTry a thing\n")
    assert "  -n, --dry-run  Only say it\n" in text
    assert "  # Try a\n  bennu try a\n" in text


def process(*words: str, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "bennu", *words], **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["version", "--help"], ["version"]])
def test_the_start_loads_nothing_heavy(words: list[str]):
    program = (
        "import io, sys\nfrom bennu.cli.main import main\n"
        f"assert main({words!r}, {{}}, stdout=io.StringIO()) == 0\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    heavy = {
        "rich",
        "urllib3",
        "asyncio",
        "yaml",
        "sqlite3",
        "ctypes",
        "msgspec",
        "dataclasses",
        "argparse",
        "subprocess",
    }
    assert {name.partition(".")[0] for name in loaded} & heavy == set()


def test_a_closed_pipe_is_no_fault():
    reader, writer = os.pipe()
    os.close(reader)
    child = process("--help", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    _, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (141, b"")


def test_a_deadly_signal_unwinds_the_stack():
    program = (
        "import os, signal, sys, types\n"
        "from bennu.cli import main as frame, table\n"
        "from bennu.cli.command import Command\n"
        "def run(args, context):\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGTERM); signal.pause()\n"
        "    finally:\n        print('released')\n"
        "module = types.ModuleType('bennu.cli.hang'); module.COMMAND = Command('hang', 'Hang'); module.run = run\n"
        "sys.modules['bennu.cli.hang'] = module\n"
        "table.GROUPS['Host'] += (table.Row('hang', 'Hang'),)\n"
        "sys.argv = ['bennu', 'hang']\nsys.exit(frame.entry())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "released\n")
