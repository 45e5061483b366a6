"""What a plan does with data, and what going back would lose, as people read it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bennu.deploy.data import Data, PlannedSnapshot
from bennu.engine.snapshots import CONSISTENCIES, METHODS, VolumeChanges, VolumeSnapshot

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def data_lines(data: Data | None) -> list[str]:
    """The lines of a plan about volumes."""
    if data is None:
        return []
    lines = [f"    {_snapshot(one, data)}" for one in data.snapshots]
    lines += [
        f"+/- volume {volume}: its data go back to snapshot {snapshot}; those that are there now are kept as the "
        f"snapshot of revision {data.leaving}"
        for volume, snapshot in data.restore.items()
    ]
    if data.forget:
        many = "a snapshot" if len(data.forget) == 1 else f"{len(data.forget)} snapshots"
        lines.append(f"  - {many} of volumes that nothing comes back to: {', '.join(data.forget)}")
    return lines


def _snapshot(one: PlannedSnapshot, data: Data) -> str:
    cost = one.cost
    files = "1 file" if cost.files == 1 else f"{cost.files} files"
    return (
        f"volume {one.volume}: snapshot of revision {data.leaving} by {METHODS[cost.method]}: {files}, "
        f"{size(cost.size_bytes)}, about {seconds(cost.seconds)}; {CONSISTENCIES[one.consistency]}"
    )


def loss_lines(changes: Iterable[VolumeChanges], snapshots: Sequence[VolumeSnapshot], now: float) -> list[str]:
    """What going back to snapshots would lose of the data of now, one block a volume. ``now`` in Unix seconds."""
    when = {one.volume: one for one in snapshots}
    lines: list[str] = []
    for each in changes:
        one = when[each.volume]
        since = f"since snapshot {one.id} of revision {one.revision}, {seconds(max(0.0, now - one.created))} ago"
        if not each.lost and not each.removed:
            lines.append(f"Volume {each.volume}: nothing has changed {since}.")
            continue
        lines.append(
            f"Volume {each.volume}: {each.changed} changed and {each.added} new files ({size(each.size_bytes)}) would "
            f"be lost, {each.removed} removed ones come back, {since}."
        )
        lines += [
            f"    {file.path} ({size(file.size_bytes)}, written {seconds(max(0.0, now - file.changed))} ago)"
            for file in each.newest
        ]
        more = each.lost - len(each.newest)
        if more > 0:
            lines.append(f"    and {more} older")
    return lines


def size(count: int) -> str:
    """``12.3 MB``."""
    value, unit = float(count), 0
    while value >= 1000 and unit + 1 < len(_UNITS):
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}"


def seconds(value: float) -> str:
    """``0.1 s``, ``12 s``, ``3 min``, ``2 h``, ``5 d``."""
    for limit, unit, length in ((90, "s", 1), (5400, "min", 60), (172800, "h", 3600)):
        if value < limit:
            shown = value / length
            return f"{max(shown, 0.1):.1f} {unit}" if shown < 9.95 else f"{shown:.0f} {unit}"
    return f"{value / 86400:.0f} d"
