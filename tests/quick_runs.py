"""RUN without a container: the command in the step's tree by chroot alone, some 5 ms each.

For tests of what is reused, not of what a RUN may do: there is no sandbox, no other user and no network. Steps with
mounts or a script go to the real runner.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from bennu.build.graph import Run, Vertex
from bennu.build.running import Runner, failure
from bennu.build.trees import clamp_times, in_trees
from bennu.store.base import CommittedSnapshot
from bennu.wiring import Runtime

IN_DIRECTORY = ("/bin/busybox", "sh", "-c", 'cd "$0" && exec "$@"')


class QuickRunner(Runner):
    """Runs commands of trees with a busybox in them."""

    def run(
        self,
        vertex: Vertex,
        step: Run,
        parent: CommittedSnapshot | None,
        trees: Mapping[int, CommittedSnapshot],
        *,
        output,
        cancel: threading.Event,
        epoch: int | None,
        **options: object,
    ) -> CommittedSnapshot:
        if step.mounts or step.script:
            return super().run(vertex, step, parent, trees, output=output, cancel=cancel, epoch=epoch, **options)
        active = self._snapshots.prepare(parent)

        def execute(roots: tuple[Path, ...]) -> subprocess.CompletedProcess[bytes]:
            words = ["/usr/sbin/chroot", str(roots[0]), *IN_DIRECTORY, step.directory, *step.arguments]
            environ = dict(item.split("=", 1) for item in step.environment)
            return subprocess.run(words, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False)

        try:
            done = in_trees(self._settings, (self._snapshots.mounts(active),), execute)
            output("stdout", done.stdout)
            if done.returncode:
                raise failure(vertex, step, done.returncode, tuple(done.stderr.decode().splitlines()))
            if epoch is not None:
                clamp_times(self._snapshots.directory(active), epoch)
            return self._snapshots.commit(active)
        except BaseException:
            self._snapshots.discard(active)
            raise


class QuickRuntime(Runtime):
    """A root whose builds run commands the quick way."""

    def _build_runner(self) -> Runner:
        return QuickRunner(self.settings, self.snapshots, None)
