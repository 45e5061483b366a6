"""A process where a step failed: on what it had done, with its mounts, variables, user, directory and network.

What the process changes is thrown away; only cache mounts are the real ones. ``failures`` has the steps.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from bennu.build.failures import FailedStep
from bennu.build.graph import Run, Vertex
from bennu.build.running import Runner
from bennu.build.trees import in_trees
from bennu.config import Settings
from bennu.errors import NotFound
from bennu.host.files import directory, open_in_root
from bennu.runtime.oneshot import Output, run_once
from bennu.store.base import CommittedSnapshot, SnapshotId
from bennu.store.snapshots import Snapshots

SHELLS: Final = ("/bin/bash", "/usr/bin/bash", "/bin/sh", "/bin/ash", "/busybox/sh")


class FailedShell:
    """Opens failed steps of one root."""

    def __init__(self, settings: Settings, snapshots: Snapshots, runner: Runner) -> None:
        self._settings = settings
        self._snapshots = snapshots
        self._runner = runner

    def run(
        self,
        failed: FailedStep,
        command: str | None,
        *,
        environ: Mapping[str, str],
        terminal: bool,
        output: Output,
        cancel: threading.Event,
        input: bytes = b"",  # noqa: A002 - as in host.process.run
    ) -> int:
        """The exit status of ``command``, given to the step's shell; None: of a shell itself.

        With ``terminal`` the process gets this one's standard streams, which are one; else ``output`` and ``input``
        are its. ``NotFound`` where pruning has taken what it stands on, or there is no shell.
        """
        parent = self._tree(failed.id)
        trees = {index: self._tree(each) for index, each in failed.trees.items()}
        arguments = command_line(failed.step, command) or (shell_in(self._settings, self._snapshots, parent),)
        vertex = Vertex(failed.step, failed.label)
        active = self._snapshots.prepare(parent)
        try:
            with self._runner.sandboxed(
                vertex,
                failed.step,
                active,
                trees,
                grants=failed.grants(environ),
                output=output,
                cancel=cancel,
            ) as sandboxed:
                term = (f"TERM={environ['TERM']}",) if terminal and "TERM" in environ else ()
                process = msgspec.structs.replace(
                    sandboxed.process,
                    args=arguments,
                    env=(*sandboxed.process.env, *term),
                    terminal=terminal,
                )
                return run_once(
                    self._settings,
                    self._snapshots.mounts(active),
                    process,
                    surroundings=sandboxed.surroundings,
                    output=output,
                    cancel=cancel,
                    input=input,
                )
        finally:
            self._snapshots.discard(active)

    def _tree(self, snapshot: SnapshotId) -> CommittedSnapshot:
        found = self._snapshots.stat(snapshot)
        if found is None:
            raise NotFound("what the failed step read is not in the build cache any more", "build again")
        return found


def command_line(step: Run, command: str | None) -> tuple[str, ...] | None:
    """The words that run ``command`` in the step's own shell, /bin/sh where it has none; None where there is none."""
    if command is None:
        return None
    *shell, _ = step.arguments
    own = shell and os.path.basename(shell[0]).endswith("sh") and shell[-1].startswith("-") and shell[-1].endswith("c")
    return (*(shell if own else ("/bin/sh", "-c")), command)


def shell_in(settings: Settings, snapshots: Snapshots, tree: CommittedSnapshot) -> str:
    """The first of ``SHELLS`` that is in a tree. ``NotFound``."""

    def found(roots: tuple[Path, ...]) -> str | None:
        with directory(roots[0]) as root:
            return next((shell for shell in SHELLS if _is_program(root, shell)), None)

    shell = in_trees(settings, (snapshots.mounts(tree),), found)
    if shell is None:
        raise NotFound("there is no shell in this file system")
    return shell


def _is_program(root: int, path: str) -> bool:
    try:
        fd = open_in_root(root, path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return bool(os.fstat(fd).st_mode & 0o111)
    finally:
        os.close(fd)
