"""The mounts of a RUN as values: what its process sees besides the step's own tree. Pure.

Targets are absolute and clean; paths in ``vertex`` start at the root of that vertex's tree. A value says what is wanted
and never what is there: which secret, not its content; which cache, not its directory. ``run_mounts`` makes these of
the flags of a Dockerfile, ``keys`` says what of them counts, ``mounting`` makes them what a process finds.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bennu.dockerfile.mounts import Sharing

DIRECTORY_MODE: Final = 0o755
SECRET_MODE: Final = 0o400
AGENT_MODE: Final = 0o600


class BindMount(msgspec.Struct, frozen=True, tag=True):
    """A file or directory of another vertex. What is written through a writable one is thrown away."""

    target: str
    vertex: int
    path: str = "/"
    is_writable: bool = False


class Look(msgspec.Struct, frozen=True):
    """The mode and owner of a new directory or file."""

    mode: int
    uid: int = 0
    gid: int = 0


class CacheMount(msgspec.Struct, frozen=True, tag=True):
    """A directory that outlives the build, by ``id``. It begins as the tree of ``vertex``, None: empty.

    ``path`` is what is mounted of it. ``look`` is the mode and owner that an empty one begins with, where they were
    asked for. Caches of one id that begin differently are different caches.
    """

    target: str
    id: str
    sharing: Sharing = Sharing.SHARED
    is_readonly: bool = False
    vertex: int | None = None
    path: str = "/"
    look: Look | None = None


class TmpfsMount(msgspec.Struct, frozen=True, tag=True):
    """An empty file system in memory. ``size_bytes`` 0 is the kernel's default."""

    target: str
    size_bytes: int = 0
    is_readonly: bool = False


class SecretMount(msgspec.Struct, frozen=True, tag=True):
    """A secret as a file at ``target``, as the variable ``env``, or as both. An optional one may be missing."""

    id: str
    target: str | None
    env: str | None = None
    is_required: bool = False
    look: Look = Look(SECRET_MODE)


class AgentMount(msgspec.Struct, frozen=True, tag=True):
    """The socket of an SSH agent. An optional one may be missing."""

    id: str
    target: str
    is_required: bool = False
    look: Look = Look(AGENT_MODE)


Mount = BindMount | CacheMount | TmpfsMount | SecretMount | AgentMount
