"""From the flags of ``RUN --mount`` to mounts of the graph. Pure.

Defaults and refusals are BuildKit's: a target that is not absolute begins at the working directory, a cache is called
by its target, a secret lands in /run/secrets, an agent's socket in /run/buildkit. What a mount takes from a directory
of whoever builds becomes an ``Excerpt``, a vertex of its own, so that several RUNs share it. ``dockerfile.mounts`` has
read the flags.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Final

from bennu.build import graph
from bennu.build.mounts import (
    AGENT_MODE,
    DIRECTORY_MODE,
    SECRET_MODE,
    AgentMount,
    BindMount,
    CacheMount,
    Look,
    Mount,
    SecretMount,
    TmpfsMount,
)
from bennu.build.stages import Stage
from bennu.dockerfile import mounts as flags
from bennu.dockerfile.fields import resolve_mounts
from bennu.dockerfile.instructions import MountFlag, Run
from bennu.dockerfile.mounts import MountType, Sharing

AGENT_SOCKET: Final = "SSH_AUTH_SOCK"
CACHE_NAMESPACE: Final = "BUILDKIT_CACHE_MOUNT_NS"
_SECRETS: Final = "/run/secrets"
_AGENTS: Final = "/run/buildkit/ssh_agent"
_DEFAULT_AGENT: Final = "default"


def lower_mounts(stage: Stage, run: Run) -> tuple[Mount, ...]:
    """The mounts of a RUN. Raises ``Invalid`` at the flag."""
    return tuple(_Lowering(stage).mounts(run))


class _Lowering:
    """The flags of one RUN."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._agents = 0

    def mounts(self, run: Run) -> Iterator[Mount]:
        """One mount a flag."""
        for flag, mount in zip(run.mounts, resolve_mounts(run, self._stage.variables, self._stage.escape), strict=True):
            match mount.type:
                case MountType.BIND:
                    vertex, path = self._tree(mount, flag, _clean(mount.source))
                    yield BindMount(self._target(mount, flag), vertex, path, not mount.read_only)
                case MountType.CACHE:
                    yield self._cache(mount, flag)
                case MountType.TMPFS:
                    yield TmpfsMount(self._target(mount, flag), mount.size_bytes, mount.read_only)
                case MountType.SECRET:
                    yield self._secret(mount, flag)
                case MountType.SSH:
                    yield self._agent(mount, flag)

    def _tree(self, mount: flags.Mount, flag: MountFlag, path: str) -> tuple[int, str]:
        """The vertex that a mount shows, and the path there."""
        build = self._stage.build
        if mount.from_ is None:
            vertex = build.context()
        else:
            vertex = build.source(self._stage.index, mount.from_, flag.span.narrow(mount.from_))
        if not isinstance(build.graph.vertices[vertex].step, graph.Local):
            return vertex, path
        label = f"[internal] load {path} of {mount.from_ or 'build context'} to be mounted"
        return build.graph.add(graph.Excerpt(vertex, path), label, flag.span), graph.CONTENT

    def _cache(self, mount: flags.Mount, flag: MountFlag) -> CacheMount:
        target = self._target(mount, flag)
        name = mount.id or posixpath.normpath(mount.target or ".")
        namespace = self._stage.build.build_args.get(CACHE_NAMESPACE)
        path = _clean(mount.source)
        is_owned = path == "/" and not (mount.mode is None and mount.uid is None and mount.gid is None)
        vertex = None
        if mount.from_ is not None:
            vertex, path = self._tree(mount, flag, path)
        return CacheMount(
            target=target,
            id=f"{namespace}/{name}" if namespace else name,
            sharing=mount.sharing or Sharing.SHARED,
            is_readonly=mount.read_only,
            vertex=vertex,
            path=path,
            look=_look(mount, DIRECTORY_MODE) if is_owned else None,
        )

    def _secret(self, mount: flags.Mount, flag: MountFlag) -> SecretMount:
        name = mount.id or mount.source or posixpath.basename(mount.target)
        if mount.env is not None and (not mount.env or "=" in mount.env):
            raise flag.span.narrow("env").invalid(
                f"RUN: {mount.env!r} is no name of a variable for a secret", "write env=NAME"
            )
        target = None
        if mount.target or mount.env is None:
            target = self._absolute(mount.target or f"{_SECRETS}/{posixpath.basename(name)}", flag)
        return SecretMount(
            id=name, target=target, env=mount.env, is_required=mount.required, look=_look(mount, SECRET_MODE)
        )

    def _agent(self, mount: flags.Mount, flag: MountFlag) -> AgentMount:
        if mount.source:
            raise flag.span.narrow("source").invalid("RUN: an ssh mount takes no 'source'", "write id=NAME")
        target = self._absolute(mount.target or f"{_AGENTS}.{self._agents}", flag)
        self._agents += 1
        return AgentMount(
            id=mount.id or _DEFAULT_AGENT,
            target=target,
            is_required=mount.required,
            look=_look(mount, AGENT_MODE),
        )

    def _target(self, mount: flags.Mount, flag: MountFlag) -> str:
        return self._absolute(mount.target, flag)

    def _absolute(self, target: str, flag: MountFlag) -> str:
        path = _clean(target if target.startswith("/") else f"{self._stage.directory}/{target}")
        if path == "/":
            raise flag.span.invalid(
                f"RUN: the mount's target is '{target or path}', which is the root",
                "write target= with a directory or file below it",
            )
        return path


def _clean(path: str) -> str:
    return "/" + posixpath.normpath(f"/{path}").lstrip("/")


def _look(mount: flags.Mount, mode: int) -> Look:
    return Look(mode if mount.mode is None else mount.mode & 0o7777, mount.uid or 0, mount.gid or 0)
