"""What a plan does with the data of volumes: which are snapshotted when, which are put back, which snapshots go. Pure.

A volume is snapshotted before the first thing of the new release that could write it starts, and after the old set
that writes it has stopped, where that is replaced stop-first: a rollback then finds the data as the old code left
them. Where data go back, all that changes is stopped first, so that no code ever meets the other's data: then nothing
has to be copied, since the data that were there are set aside whole, as the snapshot of the revision that is left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from bennu.compose.extension import Quiesce
from bennu.compose.model import Service, Volume
from bennu.compose.struct import Value
from bennu.engine.snapshots import Consistency, VolumeCost, VolumeSnapshot
from bennu.errors import NotFound

if TYPE_CHECKING:
    from bennu.deploy.history import Revision
    from bennu.deploy.planning.plan import Change
    from bennu.deploy.release import Release
    from bennu.digest import Digest

PER_REVISION: Final = 3
"""Failed rollouts leave snapshots, too: code that failed may have written. So many of one revision stay."""


class PlannedSnapshot(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A snapshot of a volume, by its name in the store, in a wave of the rollout; what it will be and cost."""

    volume: str
    wave: int
    consistency: Consistency
    cost: VolumeCost


class Data(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The data's part of a plan.

    ``leaving``: the revision whose data the volumes hold now. ``restore``: volume -> snapshot that is put back.
    ``quiesce``: how a service is told to hold still. ``forget``: snapshots that nothing comes back to.
    """

    leaving: int
    snapshots: tuple[PlannedSnapshot, ...] = ()
    restore: dict[str, str] = {}
    quiesce: dict[str, Quiesce] = {}
    forget: tuple[str, ...] = ()


def snapshot_names(*releases: Release | None) -> tuple[str, ...]:
    """The volumes that any of these releases wants snapshotted, by their names in the store."""
    found = [
        release.volumes[key].name
        for release in releases
        if release is not None
        for key in release.snapshot
        if key in release.volumes and not release.volumes[key].driver_opts
    ]
    return tuple(dict.fromkeys(found))


def planned(
    changes: Sequence[Change],
    waves: Sequence[Collection[str]],
    costs: Iterable[VolumeCost],
    restore: Collection[str] = (),
) -> tuple[PlannedSnapshot, ...]:
    """When each volume is snapshotted, and how consistent that will be. None where nothing new starts."""
    if all(change.kind in {"keep", "repair"} for change in changes):
        return ()
    wave_of = {name: number for number, wave in enumerate(waves) for name in wave}
    every = [cost for cost in costs if cost.volume not in restore]
    found: list[PlannedSnapshot] = []
    for cost in every:
        users = [change for change in changes if _mounts(change, cost.volume)]
        touched = [wave_of.get(change.service, 0) for change in users if change.kind in {"create", "replace"}]
        wave = min(touched, default=0)
        consistency = _consistency(users, wave, wave_of, cost, is_only=len(every) == 1)
        found.append(PlannedSnapshot(volume=cost.volume, wave=wave, consistency=consistency, cost=cost))
    return tuple(found)


def _mounts(change: Change, volume: str) -> bool:
    return any(spec is not None and writes(spec.service, spec.volumes, volume) for spec in (change.old, change.new))


def writes(service: Service, volumes: Mapping[str, Volume], volume: str) -> bool:
    """Whether a service has a volume (by its name in the store) mounted to write."""
    return any(
        mount.type == "volume"
        and mount.source in volumes
        and volumes[mount.source].name == volume
        and not mount.read_only
        for mount in service.mounts
        if mount.source is not None
    )


def uses(service: Service, volumes: Mapping[str, Volume], wanted: Collection[str]) -> bool:
    """Whether a service has any of these volumes mounted."""
    sources = [mount.source for mount in service.mounts if mount.type == "volume" and mount.source is not None]
    return any(source in volumes and volumes[source].name in wanted for source in sources)


def _consistency(
    users: Sequence[Change], wave: int, wave_of: Mapping[str, int], cost: VolumeCost, *, is_only: bool
) -> Consistency:
    running = [
        change
        for change in users
        if change.old is not None
        and not (change.kind == "replace" and change.order == "stop-first" and wave_of.get(change.service, 0) <= wave)
    ]
    if not running:
        return "stopped"
    if all(_quiesce(change) is not None for change in running):
        return "quiesced"
    return "atomic" if cost.method == "subvolume" and is_only else "paused"


def quiesces(changes: Iterable[Change]) -> dict[str, Quiesce]:
    """How services hold still: as the new release says, which an old set can do as well; else as the old one does."""
    found = {change.service: _quiesce(change) for change in changes}
    return {service: quiesce for service, quiesce in found.items() if quiesce is not None}


def _quiesce(change: Change) -> Quiesce | None:
    for spec in (change.new, change.old):
        if spec is not None and spec.service.x_bennu.quiesce is not None:
            return spec.service.x_bennu.quiesce
    return None


def forgotten(
    snapshots: Sequence[VolumeSnapshot],
    revisions: Sequence[Revision],
    *,
    keep: int,
    to: Digest,
    restore: Collection[str] = (),
) -> tuple[str, ...]:
    """The snapshots that nothing will come back to once ``to`` is active: those of releases that are not kept, and all
    but the newest of each volume and revision. ``revisions`` are newest first; ``restore`` are spared.
    """
    kept: list[Digest] = [to]
    for revision in revisions:
        if revision.state in {"active", "superseded", "ended"} and revision.release not in kept:
            kept.append(revision.release)
    wanted = {revision.number for revision in revisions if revision.release in kept[: keep + 1]}
    counts: dict[tuple[str, int], int] = {}
    gone: list[str] = []
    for one in sorted(snapshots, key=lambda each: -each.created):
        counts[one.volume, one.revision] = counts.get((one.volume, one.revision), 0) + 1
        is_kept = one.revision in wanted and counts[one.volume, one.revision] <= PER_REVISION
        if not is_kept and one.id not in restore:
            gone.append(one.id)
    return tuple(sorted(gone))


def to_restore(
    snapshots: Sequence[VolumeSnapshot], revisions: Sequence[Revision], target: Revision, names: Collection[str]
) -> dict[str, VolumeSnapshot]:
    """The snapshot of each volume that goes with a revision: its own, else the newest of the same release.

    ``NotFound`` for a release whose snapshots are gone, or that had none: with those that there are.
    """
    project = target.project
    if not names:
        raise NotFound(
            f"revision {target.number} of project {project!r} has no volume that is snapshotted",
            "name some in `x-bennu.snapshot`, or roll back without --with-data",
        )
    same = {one.number for one in revisions if one.release == target.release}
    found: dict[str, VolumeSnapshot] = {}
    for one in snapshots:  # the oldest first: later ones win
        rank = (one.revision == target.number, one.created)
        best = found.get(one.volume)
        if one.volume not in names or one.revision not in same:
            continue
        if best is None or rank > (best.revision == target.number, best.created):
            found[one.volume] = one
    missing = [name for name in names if name not in found]
    if missing:
        there = sorted({f"{one.volume} of revision {one.revision}" for one in snapshots})
        raise NotFound(
            f"revision {target.number} of project {project!r} has no snapshot of {', '.join(missing)} to go back to",
            f"there are: {', '.join(there)}" if there else "there is no snapshot at all: `bennu volume snapshots`",
        )
    return found
