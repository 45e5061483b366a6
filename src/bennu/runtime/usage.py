"""What containers, volumes and their snapshots take on the disk: the runtime's part of ``system df``."""

from __future__ import annotations

from bennu.runtime.containers import Containers
from bennu.runtime.volume_snapshots import VolumeSnapshots
from bennu.store.database import Database
from bennu.store.usage import Usage, directory_usage


def runtime_usage(containers: Containers, database: Database) -> list[Usage]:
    """One for each kind of thing. A snapshot of a volume is in use as long as it is there: a release needs it."""
    volumes = containers.volumes
    places = {containers.place(each.record).directory: each.status.is_alive for each in containers.list()}
    used = {each.path: bool(volumes.users(each.name)) for each in volumes.walk() if not each.options}
    snapshots = VolumeSnapshots(volumes, database)
    return [
        directory_usage("Containers", places),
        directory_usage("Local Volumes", used),
        directory_usage("Volume Snapshots", {snapshots.path(one): True for one in snapshots.walk()}),
    ]
