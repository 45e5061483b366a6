"""The stats socket of one HAProxy process: commands out, typed answers back.

Source: HAProxy's management guide, chapter 9.3. A command that HAProxy refuses is answered with a sentence and no
status, so each kind of command here knows the answers that mean success; any other answer is ``Failed`` with it.
"""

from __future__ import annotations

import csv
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bennu.errors import Failed, Unavailable

TIMEOUT_SECONDS: Final = 5.0
BATCH_BYTES: Final = 8000
"""Of commands sent at once: half of HAProxy's buffer."""

_SUCCESS: Final = re.compile(
    r"New server registered\.|Server deleted\.|Frontend was already shut down\."
    r"|(IP changed from|no need to change the addr,|nothing changed).*"
)
"""Answers of commands that succeed with words; all others succeed without."""

_ANSWERS: Final = ("hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other")
_TIMED: Final = re.compile(r" key=(\S+)/(\d+) .*gpc0=(\d+)")


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server as it runs. ``address`` without brackets."""

    backend: str
    name: str
    address: str
    port: int
    in_maintenance: bool


@dataclass(frozen=True, slots=True)
class Counters:
    """What a server has done since it was added; all are numbers of events but ``sessions``, which is of now.

    ``rate`` is of the last second. ``answers`` are those of HTTP; ``is_http`` says whether there can be any.
    """

    backend: str
    server: str
    sessions: int
    requests: int
    server_errors: int
    connect_failures: int
    response_failures: int
    answers: int
    aborts: int
    rate: int
    retries: int
    is_http: bool


class Control:
    """Talks to one process. Every call is a connection of its own, so an object can be kept and shared."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ask(self, command: str) -> str:
        """The raw answer to one command (or several, with ``;`` between). ``Unavailable`` where nothing answers."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as stream:
                stream.settimeout(TIMEOUT_SECONDS)
                stream.connect(str(self.path))
                stream.sendall(command.encode() + b"\n")
                stream.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: stream.recv(1 << 16), b"")).decode(errors="replace")
        except OSError as error:
            raise Unavailable(f"HAProxy at {str(self.path)!r} does not answer: {error}") from error

    def execute(self, commands: Iterable[str]) -> None:
        """Execute commands in order. ``Failed`` with the first answer that is not one of success."""
        for batch in _batches(commands):
            for line in self.ask(batch).splitlines():
                if line.strip() and not _SUCCESS.fullmatch(line.strip()):
                    raise Failed(f"HAProxy refused a command: {line.strip()}", command=(batch[:200],))

    def attempt(self, commands: Iterable[str]) -> tuple[str, ...]:
        """Execute commands that may be refused; those that were."""
        return tuple(command for command in commands if not _SUCCESS.fullmatch(self.ask(command).strip()))

    def info(self) -> dict[str, str]:
        """``show info`` by field (``Pid``, ``CurrConns``, ``Uptime_sec``)."""
        lines = (line.split(": ", 1) for line in self.ask("show info").splitlines())
        return {words[0]: words[1] for words in lines if len(words) == 2}

    def frontends(self) -> tuple[str, ...]:
        """The names of all frontends, shut down or not."""
        return tuple(row["# pxname"] for row in self._table("show stat -1 1 -1"))

    def observe(self, map_file: str) -> tuple[frozenset[str], tuple[ServerState, ...], dict[str, str]]:
        """The names of all backends, all servers, and the entries of the map that was read from ``map_file``.

        One exchange for the three: a busy process takes its time before each.
        """
        # an answer ends with an empty line and has none inside
        answers = self.ask(f"show backend; show servers state; show map {map_file}").split("\n\n")
        if len(answers) < 3:
            raise Failed(f"HAProxy refused a command: {answers[-1].strip()}", command=("show backend",))
        entries = (line.split(None, 2) for line in answers[2].splitlines())
        return (
            frozenset(answers[0].split()) - {"#", "name"},
            tuple(_servers(answers[1])),
            {words[1]: words[2] for words in entries if len(words) == 3},
        )

    def replace_map(self, file: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        """Replace a map's content, which is ``old``, at once: every look-up sees the old content or the new."""
        changed = [key for key, value in new.items() if old.get(key) != value]
        if old.keys() == new.keys() and len(changed) == 1:
            self.execute([f"set map {file} {changed[0]} {new[changed[0]]}"])
            return
        answer = self.ask(f"prepare map {file}").strip()
        version = answer.rpartition(": ")[2]
        if not version.isdigit():
            raise Failed(f"HAProxy refused a command: {answer}", command=(f"prepare map {file}",))
        adds = [f"add map @{version} {file} {key} {value}" for key, value in new.items()]
        self.execute([*adds, f"commit map @{version} {file}"])

    def counters(self) -> tuple[Counters, ...]:
        """The counters of every server."""
        return tuple(
            Counters(
                backend=row["# pxname"],
                server=row["svname"],
                sessions=int(row["scur"] or 0),
                requests=int(row["stot"] or 0),
                server_errors=int(row["hrsp_5xx"] or 0),
                connect_failures=int(row["econ"] or 0),
                response_failures=int(row["eresp"] or 0),
                answers=sum(int(row[name] or 0) for name in _ANSWERS),
                aborts=int(row["cli_abrt"] or 0),
                rate=int(row["rate"] or 0),
                retries=int(row["wretr"] or 0),
                is_http=row["mode"] == "http",
            )
            for row in self._table("show stat -1 4 -1")
        )

    def times(self, tables: Sequence[str]) -> dict[tuple[str, int], int]:
        """How many answers of a set took how many microseconds, by tables of keys ``SET/MICROSECONDS``."""
        found: dict[tuple[str, int], int] = {}
        for batch in _batches(f"show table {table}" for table in tables):
            for name, micros, count in _TIMED.findall(self.ask(batch)):
                key = (name, int(micros))
                found[key] = found.get(key, 0) + int(count)
        return found

    def sessions(self) -> dict[str, int]:
        """How many requests or connections each backend has now, those waiting for a server included."""
        return {row["# pxname"]: int(row["scur"] or 0) for row in self._table("show stat -1 2 -1")}

    def _table(self, command: str) -> Iterator[dict[str, str]]:
        yield from csv.DictReader(line for line in self.ask(command).splitlines() if line.strip())


def _servers(answer: str) -> Iterator[ServerState]:
    columns: list[str] = []
    for line in answer.splitlines():
        words = line.split()
        if line.startswith("# "):
            columns = words[1:]
        elif columns and len(words) == len(columns):
            row = dict(zip(columns, words, strict=True))
            maintenance = bool(int(row["srv_admin_state"]))
            yield ServerState(row["be_name"], row["srv_name"], row["srv_addr"], int(row["srv_port"]), maintenance)


def _batches(commands: Iterable[str]) -> Iterator[str]:
    batch: list[str] = []
    length = 0
    for command in commands:
        if batch and length + len(command) > BATCH_BYTES:
            yield "; ".join(batch)
            batch, length = [], 0
        batch.append(command)
        length += len(command) + 2
    if batch:
        yield "; ".join(batch)
