"""Snapshots of volumes as an engine tells of them: what one would cost, those that there are, what has changed since.

Pure. A snapshot belongs to the revision that was active when it was taken: going back to that revision with its data
means going back to this.
"""

from __future__ import annotations

from typing import Final, Literal

from bennu.compose.struct import Value

Method = Literal["subvolume", "reflink", "copy", "swap"]
Consistency = Literal["stopped", "quiesced", "paused", "atomic"]

METHODS: Final[dict[Method, str]] = {
    "subvolume": "snapshot of a btrfs subvolume",
    "reflink": "reflinks, which share the data until they are written",
    "copy": "copy",
    "swap": "the data themselves, set aside",
}
CONSISTENCIES: Final[dict[Consistency, str]] = {
    "stopped": "nobody writes it meanwhile",
    "quiesced": "its writer is quiesced meanwhile",
    "paused": "as after a power cut (its writer is paused meanwhile)",
    "atomic": "as after a power cut (its writer goes on)",
}


class VolumeCost(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What a snapshot of a volume would take: ``seconds`` at a rate that was measured on this host.

    ``size_bytes`` are those of the data, which only a copy takes again on the disk.
    """

    volume: str
    method: Method
    files: int
    size_bytes: int
    seconds: float


class VolumeSnapshot(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A snapshot that there is. ``rollout`` is the revision whose rollout took it; ``created`` is Unix seconds."""

    id: str
    project: str
    revision: int
    rollout: int
    volume: str
    method: Method
    consistency: Consistency
    files: int
    size_bytes: int
    seconds: float
    created: float
    path: str


class ChangedFile(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A file that is not what the snapshot has; ``changed`` is Unix seconds."""

    path: str
    size_bytes: int
    changed: float


class VolumeChanges(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What going back to a snapshot would lose of a volume, and bring back. ``newest`` are the last few of the lost."""

    volume: str
    changed: int = 0
    added: int = 0
    removed: int = 0
    size_bytes: int = 0
    """Of the files that were changed or added."""
    newest: tuple[ChangedFile, ...] = ()

    @property
    def lost(self) -> int:
        """How many files are not what they were."""
        return self.changed + self.added
