"""Snapshots of volumes that hold one text each: the data of the engine that only remembers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bennu.engine.actions import Receipt, RemoveSnapshots, RestoreVolumes, ResumeWriters, SnapshotVolumes
from bennu.engine.sets import SetId
from bennu.engine.snapshots import VolumeChanges, VolumeSnapshot
from bennu.errors import Conflict, NotFound

Writers = Callable[[str], list[SetId]]


class MemoryData:
    """``texts``: what each volume holds; ``taken``: the snapshots; ``kept``: what those hold."""

    def __init__(self, volumes: Mapping[str, str], clock: Callable[[], float]) -> None:
        self.texts: dict[str, str] = {}
        self.taken: dict[str, VolumeSnapshot] = {}
        self.kept: dict[str, str] = {}
        self._volumes = volumes
        self._clock = clock
        self._staged: dict[tuple[str, int, str], tuple[str, str, bool]] = {}
        self._count = 0

    def execute(
        self, action: SnapshotVolumes | ResumeWriters | RestoreVolumes | RemoveSnapshots, writers: Writers
    ) -> Receipt:
        match action:
            case SnapshotVolumes():
                for name in action.volumes:
                    self._take(action, name, writers)
            case RestoreVolumes():
                for name, snapshot in action.snapshots.items():
                    self._restore(action, name, snapshot, writers)
            case RemoveSnapshots():
                gone = {*action.snapshots}
                if action.taken:
                    gone |= {one.id for one in self.taken.values() if one.rollout == action.rollout}
                self._remove(gone)
        return Receipt(summary="done")

    def changes(self, snapshot: str) -> VolumeChanges:
        one = self._get(snapshot)
        changed = int(self.kept[snapshot] != self.texts.get(one.volume, ""))
        return VolumeChanges(volume=one.volume, changed=changed)

    def forget(self, volume: str) -> None:
        self._remove({one.id for one in self.taken.values() if one.volume == volume})
        self.texts.pop(volume, None)

    def _remove(self, gone: set[str]) -> None:
        for one in gone:
            self.taken.pop(one, None)
            self.kept.pop(one, None)

    def _get(self, snapshot: str) -> VolumeSnapshot:
        if snapshot not in self.taken:
            raise NotFound(f"snapshot {snapshot!r} does not exist")
        return self.taken[snapshot]

    def _put(self, action: SnapshotVolumes | RestoreVolumes, volume: str, consistency: str, text: str) -> str:
        self._count += 1
        name = f"snapshot{self._count}"
        self.taken[name] = VolumeSnapshot(
            id=name,
            project=action.project,
            revision=action.revision,
            rollout=action.rollout,
            volume=volume,
            method="copy",
            consistency=consistency,  # type: ignore[arg-type]
            files=1,
            size_bytes=len(text),
            seconds=0.1,
            created=self._clock(),
            path=f"/{name}",
        )
        self.kept[name] = text
        return name

    def _take(self, action: SnapshotVolumes, volume: str, writers: Writers) -> None:
        if volume not in self._volumes:
            raise NotFound(f"volume {volume!r} does not exist")
        same = [
            o
            for o in self.taken.values()
            if (o.project, o.rollout, o.volume) == (action.project, action.rollout, volume)
        ]
        if not action.ahead and not same:
            running = writers(volume)
            quiet = "quiesced" if any(name.rpartition("-")[0] in action.quiesce for name in running) else "paused"
            self._put(action, volume, quiet if running else "stopped", self.texts.get(volume, ""))

    def _restore(self, action: RestoreVolumes, volume: str, snapshot: str, writers: Writers) -> None:
        key = (action.project, action.rollout, volume)
        if action.step == "stage":
            self._get(snapshot)
            self._staged.setdefault(key, (snapshot, "", False))
            return
        if users := writers(volume):
            raise Conflict(f"volume {volume!r} is mounted by {users[0]}")
        if key not in self._staged:
            if action.step == "swap":
                raise NotFound(f"no data are ready to be put back into volume {volume!r}")
            return
        _, name, is_swapped = self._staged[key]
        if action.step == "swap" and not is_swapped:
            name = self._put(action, volume, "stopped", self.texts.get(volume, ""))
            self.texts[volume] = self.kept[snapshot]
            self._staged[key] = (snapshot, name, True)
        elif action.step == "back":
            if is_swapped:
                self.texts[volume] = self.kept[name]
                self._remove({name})
            del self._staged[key]
