"""Where the parts of one container are on the host. Pure: paths and names, nothing is looked at.

What has to survive a reboot is under the root, the runtime's own state under the run directory. Names that the whole
host sees carry the root's key.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from bennu.config import Settings
from bennu.runtime.oci_runtime import state_root
from bennu.runtime.records import SHORT


class Place(msgspec.Struct, frozen=True):
    """The files of a container, by its ID."""

    settings: Settings
    id: str

    @property
    def directory(self) -> Path:
        """What is the container's own and outlives a reboot: what it wrote, its log, its exit status."""
        return self.settings.containers / self.id

    @property
    def bundle(self) -> Path:
        """What each start makes anew: the specification, /etc files, sockets, pids. In memory, gone after a reboot."""
        return self.settings.run / "containers" / self.id

    @property
    def rootfs(self) -> Path:
        """Where the root file system is mounted, in the private mount namespace of the container's monitor only."""
        return self.bundle / "rootfs"

    @property
    def upper(self) -> Path:
        """What the container writes outside its volumes."""
        return self.directory / "upper"

    @property
    def work(self) -> Path:
        """The overlay's own."""
        return self.directory / "work"

    @property
    def log(self) -> Path:
        """Standard output and error, in the k8s-file format."""
        return self.directory / "log"

    @property
    def started(self) -> Path:
        """When and in which boot it was started last (``status.Started``)."""
        return self.directory / "started.json"

    @property
    def pidfile(self) -> Path:
        """The pid of the first process, written by conmon."""
        return self.bundle / "pid"

    @property
    def conmon_pidfile(self) -> Path:
        """The pid of the monitor, written by itself."""
        return self.bundle / "conmon.pid"

    @property
    def error(self) -> Path:
        """Why the last start failed."""
        return self.bundle / "error"

    @property
    def exit(self) -> Path:
        """The exit status in decimal, written by conmon once the container has ended."""
        return self.directory / "exit"

    @property
    def oom(self) -> Path:
        """There when the kernel ended a process for want of memory; written by conmon."""
        return self.directory / "oom"

    @property
    def attach_socket(self) -> Path:
        """The socket on which conmon relays stdio."""
        return self.bundle / "attach"

    @property
    def control(self) -> Path:
        """The fifo on which conmon hears of window sizes and rotated logs."""
        return self.bundle / "ctl"

    @property
    def exits(self) -> Path:
        """The directory, one for all containers, where conmon leaves an exit file too: one watch sees every end."""
        return self.settings.run / "exits"

    @property
    def cgroup(self) -> str:
        """The control group of the container."""
        return f"{cgroup_prefix(self.settings)}{self.id[:SHORT]}"

    @property
    def conmon_cgroup(self) -> str:
        """The control group of its monitor, so that no service manager ends it with whoever started it."""
        return f"{self.cgroup}-conmon"

    def runtime_state(self) -> tuple[Path, ...]:
        """The directories in which a runtime may keep this container's state."""
        return tuple(state_root(self.settings, name) / self.id for name in ("crun", "runc"))


def cgroup_prefix(settings: Settings) -> str:
    """What the names of all control groups of this root begin with."""
    return f"bennu-{settings.key}-"
