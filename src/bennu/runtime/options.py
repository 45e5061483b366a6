"""How a container is wanted: the values that ``run``'s flags and the engine both make.

Where a field is None, the image decides. Nothing here is resolved: users are names, volumes are names, the network is
a name. ``resolve`` makes a specification of these values together with an image's configuration.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from bennu.oci.image_config import ContainerConfig
from bennu.runtime.spec import DEFAULT_SHM_BYTES, Limits, Rlimit
from bennu.store.base import SnapshotId

PROJECT: Final = "bennu.project"
SERVICE: Final = "bennu.service"
REPLICA: Final = "bennu.replica"
RELEASE: Final = "bennu.release"
SET: Final = "bennu.set"
HELD: Final = "bennu.held"
"""Of a held replica: the set that it was made for. It has ``SET`` only as long as it counts as one of that set."""
HELD_TRAFFIC: Final = "bennu.held.traffic"
"""Of a held replica: ``in``, ``leaving``, ``out`` or ``stopped``, as ``engine.sets.HoldObservation`` has it."""

SHARED_NETWORK: Final = "container:"
"""Before a container's ID, as ``network``: that container's network and no other."""

DEFAULT_STOP_SECONDS: Final = 10.0
DEFAULT_LOG_BYTES: Final = 16 << 20


class MountOption(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something mounted into a container.

    ``source``: of a bind the absolute host path, of a volume its name or None for an anonymous one. ``exec``: programs
    may be executed from it (binds always). ``create``: a missing bind source is made as a directory. ``mode``,
    ``uid``, ``gid``, ``size_bytes`` and ``copyup`` (it begins with what the image has there) belong to a tmpfs,
    ``subpath`` (inside the volume) and ``nocopy`` to a volume.
    ``propagation`` is a bind's: ``rprivate`` (None) or ``private``.
    """

    type: Literal["bind", "volume", "tmpfs"]
    target: str
    source: str | None = None
    readonly: bool = False
    exec: bool = False
    create: bool = False
    recursive: bool = True
    propagation: str | None = None
    nocopy: bool = False
    subpath: str | None = None
    size_bytes: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    copyup: bool = False


class ContainerOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that can be asked of a container besides its image and its name.

    ``env`` items are ``K=V`` (it replaces the image's value) or ``K`` (it removes it). ``network``: ``none``, ``host``,
    a network's name, ``container:ID`` for that of another container (all of its ID), None for the default one.
    ``hosts_file``: a file that all replicas of a project share, mounted as /etc/hosts. ``interactive``: standard input
    stays open. ``attended``: ``run`` waits for it and removes it itself where ``auto_remove`` is set. ``log_bytes`` is
    the size at which the log is rotated.
    """

    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    working_dir: str | None = None
    user: str | None = None
    groups: tuple[str, ...] = ()
    hostname: str | None = None
    labels: dict[str, str] = {}
    mounts: tuple[MountOption, ...] = ()
    network: str | None = None
    extra_hosts: dict[str, tuple[str, ...]] = {}
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    hosts_file: str | None = None
    readonly: bool = False
    terminal: bool = False
    interactive: bool = False
    init: bool = False
    limits: Limits = Limits()
    rlimits: tuple[Rlimit, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    no_new_privileges: bool = False
    confined: bool = True
    shm_bytes: int = DEFAULT_SHM_BYTES
    oom_score_adj: int = 0
    stop_signal: str | None = None
    stop_timeout_seconds: float = DEFAULT_STOP_SECONDS
    auto_remove: bool = False
    attended: bool = False
    log_bytes: int = DEFAULT_LOG_BYTES
    sysctls: dict[str, str] = {}


class ContainerImage(msgspec.Struct, frozen=True, kw_only=True):
    """What a container is made from: the image by the digest of its manifest, its tree and what it asks for.

    ``name`` is what the user called it. ``manifest`` is None for a bare tree (a step's, a test's).
    """

    name: str
    snapshot: SnapshotId
    config: ContainerConfig
    manifest: str | None = None
