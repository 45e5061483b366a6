"""Writers that hold still while their volume is snapshotted: told so by a command of theirs, or paused.

Each is written down before it is quieted, with the process that does it, and crossed out when it has been let go: so
that the next process (another rollout, the agent) lets go what a dead one has left quiet.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final, Literal

import msgspec

from bennu.compose.extension import Quiesce
from bennu.errors import BennuError, Conflict, Failed, NotFound
from bennu.host import process
from bennu.runtime import options as labels
from bennu.runtime.containers import Container, Containers
from bennu.runtime.exec import Exec, collect
from bennu.store.database import Database

TAIL_LINES: Final = 10
Consistency = Literal["stopped", "quiesced", "paused", "atomic"]
Report = Callable[[str], None]


class _Quiet(msgspec.Struct, frozen=True):
    container: str
    owner: str
    resume: Quiesce | None


class Quieting:
    """Quiets and lets go."""

    def __init__(self, containers: Containers, database: Database) -> None:
        self._containers = containers
        self._database = database

    def writers(self, volume: str) -> tuple[Container, ...]:
        """The containers that live and have a volume mounted to write."""
        found = []
        for identity in self._containers.volumes.users(volume):
            with suppress(NotFound):
                one = self._containers.inspect(identity)
                mounts = one.record.mounts
                if one.status.is_alive and any(
                    m.type == "volume" and m.source == volume and not m.readonly for m in mounts
                ):
                    found.append(one)
        return tuple(found)

    @contextmanager
    def quiet(
        self,
        project: str,
        writers: Sequence[Container],
        quiesce: Mapping[str, Quiesce],
        report: Report,
        *,
        is_atomic: bool,
    ) -> Iterator[Consistency]:
        """For the block these write nothing, in the way that is yielded. They are let go in any case.

        ``Failed`` where a command to quiesce fails: nothing has been snapshotted then. A failing ``resume`` is
        ``Failed`` too, after everybody else was let go.
        """
        commanded = [one for one in writers if _service(one) in quiesce]
        others = [] if is_atomic else [one for one in writers if one not in commanded]
        try:
            for one in _first_of_each(commanded):
                self._command(project, one, quiesce[_service(one)], report)
            for one in others:
                self._pause(project, one, report)
            yield _consistency(writers, commanded, is_atomic=is_atomic)
        finally:
            self.release(project, report, own=True)

    def release(self, project: str, report: Report, *, own: bool = False) -> int:
        """Let go what is quiet and has nobody who would: its process is dead, or this one (``own``)."""
        failures: list[BennuError] = []
        count = 0
        for row in self._database.query("SELECT * FROM engine_quiet WHERE project = ?", (project,)):
            quiet = _quiet(row)
            if not own and _is_alive(quiet.owner):
                continue
            try:
                self._let_go(quiet, report)
                count += 1
            except BennuError as error:
                failures.append(error)
            with self._database.transaction() as rows:
                rows.execute("DELETE FROM engine_quiet WHERE container = ?", (quiet.container,))
        if failures:
            raise failures[0]
        return count

    def _let_go(self, quiet: _Quiet, report: Report) -> None:
        try:
            found = self._containers.inspect(quiet.container)
        except NotFound:
            return
        if found.status.state == "paused":
            self._containers.unpause(found.id)
        if quiet.resume is not None and quiet.resume.resume and found.status.is_alive:
            self._run(found, quiet.resume.resume, quiet.resume.timeout_seconds, "resume")
            report(f"{_name(found)} resumed")

    def _command(self, project: str, one: Container, quiesce: Quiesce, report: Report) -> None:
        self._write_down(project, one, quiesce)
        self._run(one, quiesce.command, quiesce.timeout_seconds, "quiesce")
        report(f"{_name(one)} quiesced")

    def _pause(self, project: str, one: Container, report: Report) -> None:
        if one.status.state == "paused":
            return
        self._write_down(project, one, None)
        with suppress(Conflict, NotFound):  # it has ended just now
            self._containers.pause(one.id)
            report(f"{_name(one)} paused")

    def _write_down(self, project: str, one: Container, quiesce: Quiesce | None) -> None:
        resume = None if quiesce is None else msgspec.json.encode(quiesce).decode()
        pid = os.getpid()
        with self._database.transaction() as rows:
            rows.execute(
                "INSERT OR REPLACE INTO engine_quiet (container, project, owner, resume) VALUES (?, ?, ?, ?)",
                (one.id, project, f"{pid}:{process.start_time(pid)}", resume),
            )

    def _run(self, one: Container, words: tuple[str, ...], seconds: float, what: str) -> None:
        done = collect(self._containers, one.record, Exec(command=words), timeout_seconds=seconds)
        if done.status:
            tail = tuple(done.output.decode(errors="replace").rstrip().splitlines()[-TAIL_LINES:])
            how = f"has not ended after {seconds:g} s" if done.status == 124 else f"ended with {done.status}"
            raise Failed(
                f"replica {_name(one)}: {what} command {' '.join(words)!r} {how}",
                "try it: bennu exec " + _name(one) + " " + " ".join(words),
                command=words,
                status=done.status,
                tail=tail,
            )


def _consistency(writers: Sequence[Container], commanded: Sequence[Container], *, is_atomic: bool) -> Consistency:
    if not writers:
        return "stopped"
    if len(commanded) == len(writers):
        return "quiesced"
    return "atomic" if is_atomic else "paused"


def _service(one: Container) -> str:
    return one.record.labels.get(labels.SERVICE, "")


def _first_of_each(found: Sequence[Container]) -> list[Container]:
    """One replica of each set: what is told to one of a database holds for all of it."""
    first: dict[str, Container] = {}
    for one in found:
        first.setdefault(one.record.labels.get(labels.SET, one.id), one)
    return list(first.values())


def _name(one: Container) -> str:
    given = one.record.labels
    service = given.get(labels.SERVICE)
    return one.name if service is None else f"{service}.{given.get(labels.REPLICA)}"


def _quiet(row: sqlite3.Row) -> _Quiet:
    resume = None if row["resume"] is None else msgspec.json.decode(row["resume"], type=Quiesce)
    return _Quiet(row["container"], row["owner"], resume)


def _is_alive(owner: str) -> bool:
    pid, _, started = owner.partition(":")
    return pid.isdigit() and process.is_alive(int(pid), int(started) if started.isdigit() else None)
