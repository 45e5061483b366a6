"""Steps that failed: what they had done until then is kept for a while, with all that is needed to go on there.

The file system of a failed RUN becomes a committed snapshot that no key finds; a JSON file beside the store says which
step it was. Only the last few are kept, for a day: ``sweep`` drops the rest, at the next build and at ``gc``; pruning
the build cache takes them like any other tree of it. The file has the step's variables in it and is root's alone;
of secrets it knows where they were, never what they are. ``shell`` opens them again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from bennu.build.graph import Run, Vertex
from bennu.build.secrets import AgentSource, Grants, SecretSource
from bennu.config import Settings
from bennu.errors import BennuError, Conflict, NotFound
from bennu.host.files import write_atomic
from bennu.store.base import ActiveSnapshot, CommittedSnapshot, SnapshotId
from bennu.store.snapshots import Snapshots

KEPT: Final = 3
KEPT_SECONDS: Final = 24 * 3600.0


class FailedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A RUN that failed. ``id`` is its snapshot's; ``where`` is ``Dockerfile:3``; ``trees`` are what its mounts read,
    by vertex; ``ended`` in Unix seconds.
    """

    id: SnapshotId
    label: str
    where: str
    status: int
    ended: float
    step: Run
    trees: dict[int, SnapshotId]
    secrets: dict[str, SecretSource]
    agents: dict[str, AgentSource]

    def grants(self, environ: Mapping[str, str]) -> Grants:
        """What the step may ask for, again; variables are looked up in ``environ``."""
        return Grants(self.secrets, self.agents, environ)


class Failures:
    """The failed steps of one root that are kept."""

    def __init__(self, settings: Settings, snapshots: Snapshots) -> None:
        self._place = settings.failures
        self._snapshots = snapshots

    def keep(
        self,
        active: ActiveSnapshot,
        vertex: Vertex,
        trees: Mapping[int, CommittedSnapshot],
        *,
        grants: Grants,
        status: int,
    ) -> FailedStep:
        """Keep what a RUN has done, in place of discarding it."""
        span, step = vertex.span, vertex.step
        assert isinstance(step, Run)
        snapshot = self._snapshots.commit(active)
        failed = FailedStep(
            id=snapshot.id,
            label=vertex.label,
            where="" if span is None else f"{span.file}:{span.line}",
            status=status,
            ended=time.time(),
            step=step,
            trees={index: tree.id for index, tree in trees.items()},
            secrets=dict(grants.secrets),
            agents=dict(grants.agents),
        )
        self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = msgspec.json.encode(failed, enc_hook=_plain)
        write_atomic(self._file(snapshot.id), data, mode=0o600, durable=False)
        self.sweep()
        return failed

    def walk(self) -> list[FailedStep]:
        """Those that are kept, the latest first."""
        return [failed for failed in self._all()[:KEPT] if failed.ended >= time.time() - KEPT_SECONDS]

    def get(self, text: str | None = None) -> FailedStep:
        """The latest, or the one whose id begins so. ``NotFound``."""
        found = [failed for failed in self.walk() if failed.id.startswith(text or "")]
        if not found:
            what = "no step has failed" if text is None else f"failed step {text!r} is not kept"
            raise NotFound(f"{what}; the last {KEPT} are, for a day", "`bennu builder du` lists what there is")
        if text and len(found) > 1:
            raise Conflict(f"{text!r} begins the ids of several failed steps", "give more of it")
        return found[0]

    def snapshots(self) -> tuple[SnapshotId, ...]:
        """The snapshots that garbage collection has to leave."""
        return tuple(one for failed in self.walk() for one in (failed.id, *failed.trees.values()))

    def sweep(self) -> None:
        """Drop what is too old or too much, but for what somebody stands on at this moment."""
        kept = {failed.id for failed in self.walk()}
        for failed in self._all():
            if failed.id not in kept:
                with suppress(Conflict):
                    snapshot = self._snapshots.stat(failed.id)
                    if snapshot is not None:
                        self._snapshots.remove(snapshot)
                    self._file(failed.id).unlink(missing_ok=True)
        for path in self._files():
            if self._snapshots.stat(SnapshotId(path.stem)) is None:
                path.unlink(missing_ok=True)

    def _all(self) -> list[FailedStep]:
        found = [failed for path in self._files() if (failed := self._read(path)) is not None]
        return sorted(found, key=lambda failed: failed.ended, reverse=True)

    def _files(self) -> Iterator[Path]:
        return self._place.glob("*.json")

    def _file(self, snapshot: SnapshotId) -> Path:
        return self._place / f"{snapshot}.json"

    def _read(self, path: Path) -> FailedStep | None:
        """None for one that another version wrote, that is going, or whose snapshot is gone."""
        with suppress(OSError, msgspec.MsgspecError, BennuError):
            failed = msgspec.json.decode(path.read_bytes(), type=FailedStep, dec_hook=_typed)
            if self._snapshots.stat(failed.id) is not None:
                return failed
        return None


def _plain(value: object) -> str:
    assert isinstance(value, Path)
    return str(value)


def _typed(kind: type, value: Any) -> Any:
    assert issubclass(kind, Path)
    return Path(value)
