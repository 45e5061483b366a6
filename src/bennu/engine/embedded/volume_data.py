"""What the engine does with the data of volumes: snapshots at the switch, data put back, and what either would mean.

``runtime`` knows how (``volume_snapshots``, ``volume_restores``), ``quieting`` who has to hold still meanwhile. What
is copied ahead stays in this object until the snapshot is taken, and is rubbish if the process dies before.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from bennu.engine.actions import Receipt, RemoveSnapshots, RestoreVolumes, ResumeWriters, SnapshotVolumes
from bennu.engine.base import Report
from bennu.engine.embedded.quieting import Consistency, Quieting
from bennu.engine.snapshots import METHODS, ChangedFile, VolumeChanges, VolumeCost, VolumeSnapshot
from bennu.errors import Conflict, NotFound
from bennu.runtime import options as labels
from bennu.runtime.containers import Containers
from bennu.runtime.volume_changes import changes_since
from bennu.runtime.volume_restores import VolumeRestores
from bennu.runtime.volume_snapshots import Draft, Snapshot, VolumeSnapshots
from bennu.store.database import Database

MIB: Final = 1 << 20
DataAction = SnapshotVolumes | ResumeWriters | RestoreVolumes | RemoveSnapshots


class VolumeData:
    """The data of all volumes of one root."""

    def __init__(self, containers: Containers, database: Database) -> None:
        self._volumes = containers.volumes
        self._containers = containers
        self.snapshots = VolumeSnapshots(containers.volumes, database)
        self._restores = VolumeRestores(containers.volumes, self.snapshots, database)
        self._quieting = Quieting(containers, database)
        self._drafts: dict[tuple[str, int, str], Draft] = {}

    def execute(self, action: DataAction, report: Report, cancel: threading.Event) -> Receipt:
        """Do one action to its end."""
        match action:
            case SnapshotVolumes(ahead=True):
                return self._ahead(action, report, cancel)
            case SnapshotVolumes():
                return self._take(action, report, cancel)
            case ResumeWriters():
                count = self.release(action.project, report)
                return Receipt(summary=f"{count} let go" if count else "nobody was kept quiet")
            case RestoreVolumes():
                return self._restore(action, report, cancel)
            case RemoveSnapshots():
                return self._remove(action)

    def assess(self, names: Sequence[str]) -> tuple[VolumeCost, ...]:
        """What snapshots of these volumes would cost."""
        found = [volume for name in names if (volume := self._volumes.get(name)) is not None]
        return tuple(
            VolumeCost(
                volume=volume.name,
                method=cost.method,
                files=cost.size.files,
                size_bytes=cost.size.size_bytes,
                seconds=cost.seconds,
            )
            for volume in found
            for cost in [self.snapshots.cost(volume)]
        )

    def list(self, project: str | None) -> tuple[VolumeSnapshot, ...]:
        """The snapshots of a project, or all, the oldest first."""
        return tuple(map(self._told, self.snapshots.walk(project)))

    def changes(self, identity: str) -> VolumeChanges:
        """What has changed in a volume since a snapshot."""
        snapshot = self.snapshots.get(identity)
        volume = self._volumes.get(snapshot.volume)
        if volume is None:
            raise NotFound(f"volume {snapshot.volume!r} does not exist", "`bennu volume ls` lists them")
        found = changes_since(volume.path, self.snapshots.path(snapshot))
        newest = tuple(ChangedFile(path=path, size_bytes=size, changed=when) for when, path, size in found.newest)
        return VolumeChanges(
            volume=snapshot.volume,
            changed=found.changed,
            added=found.added,
            removed=found.removed,
            size_bytes=found.size_bytes,
            newest=newest,
        )

    def refuse_strangers(self, snapshots: Mapping[str, VolumeSnapshot], project: str) -> None:
        """``Conflict`` where somebody whom a rollout of the project does not stop has one of these volumes mounted."""
        for volume in snapshots:
            users = [self._containers.inspect(identity) for identity in self._volumes.users(volume)]
            for one in users:
                given = one.record.labels
                is_own = given.get(labels.PROJECT) == project and labels.SET in given and labels.HELD not in given
                if one.status.is_alive and not is_own:
                    raise Conflict(
                        f"volume {volume!r} is mounted by {one.name!r}, which would go on with the old data",
                        f"stop it first: bennu stop {one.name}",
                    )

    def release(self, project: str, report: Report) -> int:
        """Let go what a dead process has left quiet; how many writers that were."""
        return self._quieting.release(project, report)

    def _told(self, snapshot: Snapshot) -> VolumeSnapshot:
        return VolumeSnapshot(
            id=snapshot.id,
            project=snapshot.project,
            revision=snapshot.revision,
            rollout=snapshot.rollout,
            volume=snapshot.volume,
            method=snapshot.method,
            consistency=_consistency(snapshot.consistency),
            files=snapshot.files,
            size_bytes=snapshot.size_bytes,
            seconds=snapshot.seconds,
            created=snapshot.created,
            path=str(self.snapshots.path(snapshot)),
        )

    # snapshots

    def _ahead(self, action: SnapshotVolumes, report: Report, cancel: threading.Event) -> Receipt:
        copied = 0
        for name in action.volumes:
            if self.snapshots.of_rollout(action.project, action.rollout, name) is None:
                draft = self._draft(action, name, cancel)
                report(f"{name}: {METHODS[draft.method]}")
                size = draft.ahead()
                copied += size
        return Receipt(summary=f"{copied / MIB:.1f} MiB copied ahead", figures={"copied_bytes": float(copied)})

    def _draft(self, action: SnapshotVolumes, name: str, cancel: threading.Event) -> Draft:
        key = (action.project, action.rollout, name)
        if key not in self._drafts:
            volume = self._volumes.get(name)
            if volume is None:
                raise NotFound(f"volume {name!r} does not exist", "`bennu volume ls` lists them")
            self._drafts[key] = self.snapshots.begin(volume, stopped=cancel.is_set)
        return self._drafts[key]

    def _take(self, action: SnapshotVolumes, report: Report, cancel: threading.Event) -> Receipt:
        wanted = [
            name for name in action.volumes if self.snapshots.of_rollout(action.project, action.rollout, name) is None
        ]
        drafts = [self._draft(action, name, cancel) for name in wanted]
        try:
            consistency = self._take_all(action, drafts, report)
        except BaseException:
            for draft in drafts:
                self._drop(draft)
            raise
        total = 0
        for draft in drafts:
            made = self.snapshots.record(
                draft,
                project=action.project,
                revision=action.revision,
                rollout=action.rollout,
                consistency=consistency[draft.volume.name],
            )
            del self._drafts[action.project, action.rollout, draft.volume.name]
            total += made.size_bytes
            report(f"{made.volume}: {made.files} files, {made.size_bytes / MIB:.1f} MiB by {METHODS[made.method]}")
        names = ", ".join(draft.volume.name for draft in drafts) or "nothing"
        figures = {"snapshot_bytes": float(total), "snapshots": float(len(drafts))}
        return Receipt(summary=f"{names} snapshotted for revision {action.revision}", figures=figures)

    def _take_all(self, action: SnapshotVolumes, drafts: Sequence[Draft], report: Report) -> dict[str, Consistency]:
        """Take several at one moment: all their writers hold still until the last one is taken."""
        writers = {draft.volume.name: self._quieting.writers(draft.volume.name) for draft in drafts}
        every = {one.id: one for found in writers.values() for one in found}
        # what is atomic for one volume is not for two
        is_atomic = len(drafts) == 1 and drafts[0].method == "subvolume"
        with ExitStack() as stack:
            quiet = stack.enter_context(
                self._quieting.quiet(action.project, tuple(every.values()), action.quiesce, report, is_atomic=is_atomic)
            )
            for draft in drafts:
                draft.take()
        return {name: quiet if found else "stopped" for name, found in writers.items()}

    def _drop(self, draft: Draft) -> None:
        self._drafts = {key: one for key, one in self._drafts.items() if one is not draft}
        draft.drop()

    def _remove(self, action: RemoveSnapshots) -> Receipt:
        for key, draft in list(self._drafts.items()):
            if key[:2] == (action.project, action.rollout):
                self._drop(draft)
        gone = [*action.snapshots]
        if action.taken:
            gone += [one.id for one in self.snapshots.walk(action.project) if one.rollout == action.rollout]
        count = sum(self.snapshots.remove(identity) for identity in gone)
        return Receipt(summary=f"{count} snapshot{'' if count == 1 else 's'} removed")

    # putting data back

    def _restore(self, action: RestoreVolumes, report: Report, cancel: threading.Event) -> Receipt:
        names = ", ".join(action.snapshots)
        if action.step == "stage":
            for volume, snapshot in action.snapshots.items():
                report(f"{volume}: from snapshot {snapshot}")
                self._restores.stage(
                    volume,
                    snapshot,
                    project=action.project,
                    revision=action.revision,
                    rollout=action.rollout,
                    stopped=cancel.is_set,
                )
            return Receipt(summary=f"the data of {names} are ready")
        self._refuse_used(action.snapshots)
        if action.step == "swap":
            for volume in action.snapshots:
                self._restores.swap(volume, rollout=action.rollout)
            return Receipt(
                summary=f"{names} put back; what was there is the snapshot of revision {action.revision}",
                figures={"restored": float(len(action.snapshots))},
            )
        count = sum(self._restores.back(volume, rollout=action.rollout) for volume in action.snapshots)
        return Receipt(summary=f"{count} taken back")

    def _refuse_used(self, volumes: dict[str, str]) -> None:
        for volume in volumes:
            users = [self._containers.inspect(identity) for identity in self._volumes.users(volume)]
            alive = [one.name for one in users if one.status.is_alive]
            if alive:
                raise Conflict(
                    f"volume {volume!r} is mounted by {', '.join(alive)}, which would go on with the old data",
                    f"stop it first: bennu stop {alive[0]}",
                )


def _consistency(text: str) -> Consistency:
    known: dict[str, Consistency] = {"quiesced": "quiesced", "paused": "paused", "atomic": "atomic"}
    return known.get(text, "stopped")
