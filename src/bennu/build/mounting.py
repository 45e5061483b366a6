"""What the mounts of a RUN become: directories and files that its process finds, and variables with secrets in them.

``Mounter.mounted`` holds all of it for as long as the step runs: caches are locked, writable binds get an upper
directory that is thrown away, sockets are forwarded; secrets are in memory, in private mounts of the runtime's call.
``mounts`` has the values, ``cache_mounts``, ``secrets`` and ``agents`` what stands behind them, ``running`` runs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from bennu.build.agents import forwarded
from bennu.build.cache_mounts import CacheMounts, Fill, Wanted
from bennu.build.destinations import Say
from bennu.build.graph import Run
from bennu.build.mounts import AgentMount, BindMount, CacheMount, SecretMount, TmpfsMount
from bennu.build.secrets import Grants
from bennu.build.trees import in_trees
from bennu.config import Settings
from bennu.errors import NotFound
from bennu.host import process
from bennu.host.mounts import Bind
from bennu.runtime.private_mounts import MemoryFile, Point, TreePoint
from bennu.runtime.spec import MountPoint
from bennu.store.base import CommittedSnapshot
from bennu.store.snapshots import Snapshots


class Mounted(msgspec.Struct, frozen=True):
    """What a process is to find; ``environment`` are the variables that secrets go into."""

    points: tuple[Point, ...]
    environment: Mapping[str, str]


class Mounter:
    """Makes the mounts of steps of one root."""

    def __init__(self, settings: Settings, snapshots: Snapshots) -> None:
        self._settings = settings
        self._snapshots = snapshots
        self._caches = CacheMounts(settings)

    @contextmanager
    def mounted(
        self,
        step: Run,
        trees: Mapping[int, CommittedSnapshot],
        grants: Grants,
        *,
        owner: str,
        say: Say,
        cancel: threading.Event,
    ) -> Iterator[Mounted]:
        """The mounts of a step for the block; ``trees`` are those that it reads, ``owner`` is told who waits.

        ``NotFound`` where a required secret or agent was not given.
        """
        with ExitStack() as stack:

            def hold(wanted: Wanted, mount: CacheMount) -> Path:
                def on_wait(holder: str) -> None:
                    say(f"waiting for the cache mount {mount.id!r}, in use by {holder}")

                fill = self._fill(mount, trees)
                return stack.enter_context(
                    self._caches.held(wanted, mount.sharing, fill=fill, owner=owner, cancel=cancel, on_wait=on_wait)
                )

            wishes = {_wanted(each, trees): each for each in reversed(step.mounts) if isinstance(each, CacheMount)}
            # each held once, and in one order for all builds, so that none waits in a circle
            caches = {wanted: hold(wanted, wishes[wanted]) for wanted in sorted(wishes, key=lambda each: each.name)}
            points: list[Point] = []
            environment: dict[str, str] = {}
            for mount in step.mounts:
                match mount:
                    case BindMount():
                        points.append(self._bind(mount, trees, stack))
                    case CacheMount():
                        points.append(_cache(mount, caches[_wanted(mount, trees)]))
                    case TmpfsMount():
                        points.append(_tmpfs(mount))
                    case SecretMount():
                        points += _secret(mount, grants, environment)
                    case AgentMount():
                        points += self._agent(mount, grants, stack)
            yield Mounted(tuple(points), environment)

    def _bind(self, mount: BindMount, trees: Mapping[int, CommittedSnapshot], stack: ExitStack) -> TreePoint:
        tree = trees[mount.vertex]
        if not mount.is_writable:
            return TreePoint(
                target=mount.target,
                tree=self._snapshots.mounts(tree),
                path=mount.path,
                what="what is mounted",
                options=("rbind", "rprivate", "ro"),
            )
        active = self._snapshots.prepare(tree)
        stack.callback(self._snapshots.discard, active)
        return TreePoint(
            target=mount.target, tree=self._snapshots.mounts(active), path=mount.path, what="what is mounted"
        )

    def _fill(self, mount: CacheMount, trees: Mapping[int, CommittedSnapshot]) -> Fill | None:
        if mount.vertex is None or mount.look is not None:
            return None
        tree = self._snapshots.mounts(trees[mount.vertex])

        def fill(target: Path) -> None:
            in_trees(
                self._settings,
                (tree,),
                lambda roots: process.run(["cp", "-a", "--reflink=auto", f"{roots[0]}/.", str(target)]),
            )

        return fill

    def _agent(self, mount: AgentMount, grants: Grants, stack: ExitStack) -> tuple[Point, ...]:
        source = grants.agents.get(mount.id)
        if source is None:
            if mount.is_required:
                raise NotFound(
                    f"no SSH agent {mount.id!r} was given, and the step requires it", f"build with --ssh {mount.id}"
                )
            return ()
        path = stack.enter_context(forwarded(self._settings, source, mount.look))
        return (MountPoint(target=mount.target, source=str(path), options=("rbind", "rprivate", "nosuid", "nodev")),)


def _wanted(mount: CacheMount, trees: Mapping[int, CommittedSnapshot]) -> Wanted:
    return Wanted(mount.id, "" if mount.vertex is None else trees[mount.vertex].id, mount.look)


def _cache(mount: CacheMount, path: Path) -> TreePoint:
    options = ("rbind", "rprivate", *(("ro",) if mount.is_readonly else ()))
    inside = "/" if mount.look is not None else mount.path
    return TreePoint(
        target=mount.target, tree=Bind(path), path=inside, what=f"the cache mount {mount.id!r}", options=options
    )


def _tmpfs(mount: TmpfsMount) -> MountPoint:
    options = ["nosuid", *(["ro"] if mount.is_readonly else [])]
    if mount.size_bytes:
        options.append(f"size={mount.size_bytes}")
    return MountPoint(target=mount.target, source="tmpfs", kind="tmpfs", options=tuple(options))


def _secret(mount: SecretMount, grants: Grants, environment: dict[str, str]) -> tuple[Point, ...]:
    value = grants.secret(mount.id)
    if value is None and mount.is_required:
        raise NotFound(
            f"no secret {mount.id!r} was given, and the step requires it", f"build with --secret id={mount.id},src=FILE"
        )
    if mount.env is not None:
        environment[mount.env] = os.fsdecode(value or b"")
    if mount.target is None or value is None:
        return ()
    look = mount.look
    return (MemoryFile(target=mount.target, content=value, mode=look.mode, uid=look.uid, gid=look.gid),)
