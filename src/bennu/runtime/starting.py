"""Starting a container: from its record to a process that runs.

All of it happens in one private mount namespace: the root file system is mounted there, conmon and the runtime start
there, and it is gone with them, even after kill -9, so that nothing needs to be unmounted, ever. Before anything is
made, whatever an earlier start left half-done is cleared. ``containers`` holds the container's lock around this.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from bennu.config import Settings
from bennu.errors import BennuError, Conflict, Invalid, Unavailable
from bennu.host import cgroups, process
from bennu.host.files import directory, make_directories_in_root, read_in_root, remove_tree, write_atomic
from bennu.host.mounts import Overlay, attach
from bennu.runtime import conmon, etc_files, interior, oci_runtime, resolve, seccomp, users
from bennu.runtime.mount_points import point
from bennu.runtime.oci_runtime import OciRuntime
from bennu.runtime.options import SET, SHARED_NETWORK
from bennu.runtime.places import Place
from bennu.runtime.records import Record
from bennu.runtime.spec import MountPoint, Process, Sandbox, oci_spec
from bennu.runtime.status import Started, read_started
from bennu.runtime.volumes import Volumes
from bennu.store.base import CommittedSnapshot
from bennu.store.snapshots import Snapshots

if TYPE_CHECKING:
    from bennu.runtime.networks import Networks

INITS: Final = ("catatonit", "tini-static", "docker-init")
_INIT_DIRECTORIES: Final = "/usr/libexec/podman:/usr/libexec/docker:/usr/local/bin:/usr/bin:/bin"
_STALE: Final = ("exit", "oom", "started.json")

BeforeStart = Callable[[Place], None]
"""Called when the container exists and its process has not been let go: the moment to attach and miss nothing."""


class Starter(msgspec.Struct, frozen=True):
    """What a start needs of the store and of the host."""

    settings: Settings
    snapshots: Snapshots
    volumes: Volumes
    networks: Callable[[], Networks]
    exit_command: Callable[[Record], tuple[str, ...]]

    def start(self, record: Record, before_start: BeforeStart | None = None) -> None:
        """Start a container that does not run. What fails leaves it as it was, with the reason in its ``error`` file.

        ``Failed`` with status 125, 126 or 127 as Docker has them; ``Conflict`` if its snapshot is gone.
        """
        place = Place(self.settings, record.id)
        runtime = oci_runtime.find(self.settings)
        base = self._snapshot(record)  # the thread below must not open the database anew
        before = read_started(place)
        self._prepare(record, place, before)
        try:
            network, address = self._connect(record)
            call = _Start(self, record, base, place, runtime, network, address, before, before_start)
            runtime.isolated(call.run)
        except (BennuError, OSError) as error:
            clear(place)
            with suppress(OSError):
                place.error.write_text(str(error), encoding="utf-8")
            raise

    def _prepare(self, record: Record, place: Place, before: Started | None) -> None:
        if place.bundle.exists():  # it is the first thing that a start makes
            clear(place)
            remove_tree(place.bundle)
        if record.is_volatile and before is not None and before.boot != process.boot_id():
            remove_tree(place.upper)  # written without a sync before the host went down
            remove_tree(place.work)
        if not record.is_volatile:  # it may have been when it was started last: a hold is what changes that
            remove_tree(place.work / "work" / "incompat")
        place.bundle.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.bundle.mkdir(mode=0o700)  # the environment, with what is secret in it, is in config.json
        for path in (place.rootfs, place.upper, place.work):
            path.mkdir(exist_ok=True)
        place.exits.mkdir(parents=True, exist_ok=True)
        for name in _STALE:
            (place.directory / name).unlink(missing_ok=True)
        (place.exits / record.id).unlink(missing_ok=True)

    def _connect(self, record: Record) -> tuple[str, str | None]:
        """The network as ``spec.Sandbox`` takes it, and the address there."""
        network = record.options.network
        if network in {"none", "host"}:
            return network, None
        if network is not None and network.startswith(SHARED_NETWORK):
            return self._share(record, network.removeprefix(SHARED_NETWORK))
        from bennu.runtime.networks import DEFAULT

        attachment = self.networks().attach(network or DEFAULT, record.id)
        return str(attachment.netns), attachment.address

    def _share(self, record: Record, other: str) -> tuple[str, str | None]:
        plugs = self.networks().attachments(other)
        if not plugs:
            raise Conflict(f"container {record.name!r}: {other[:12]!r} has no network that it could share")
        return str(plugs[0].netns), plugs[0].address

    def _snapshot(self, record: Record) -> CommittedSnapshot:
        """The tree that a container stands on; ``Conflict`` if it is gone."""
        found = self.snapshots.stat(record.snapshot)
        if found is None:
            raise Conflict(f"container {record.name!r}: the image {record.image_name!r} is not whole any more")
        return found


class _Start(msgspec.Struct, frozen=True):
    """One start; ``run`` is executed in the private mount namespace."""

    starter: Starter
    record: Record
    base: CommittedSnapshot
    place: Place
    runtime: OciRuntime
    network: str
    address: str | None
    before: Started | None
    before_start: BeforeStart | None

    def run(self) -> None:
        self._mount()
        self._write_bundle()
        pid = conmon.spawn(self._monitor(), self.place.conmon_cgroup)
        if SET in self.record.labels:  # what nobody looks at later need not be kept
            interior.take(self.place, pid)
        if self.before_start is not None:
            self.before_start(self.place)
        restarts = 0 if self.before is None else self.before.restarts + 1
        started = Started(time.time(), process.boot_id(), restarts)
        write_atomic(self.place.started, msgspec.json.encode(started), durable=False)
        self.runtime.start(self.record.id)

    def _mount(self) -> None:
        top = self.starter.snapshots.directory(self.base)
        status = os.stat(top)
        os.chown(self.place.upper, status.st_uid, status.st_gid)
        os.chmod(self.place.upper, status.st_mode & 0o7777)
        overlay = self.starter.snapshots.writable(self.base, str(self.place.upper), str(self.place.work))
        assert isinstance(overlay, Overlay)
        volatile = Overlay(overlay.lowers, overlay.upper, overlay.work, volatile=self.record.is_volatile)
        attach(volatile, self.place.rootfs)

    def _write_bundle(self) -> None:
        record, rootfs = self.record, self.place.rootfs
        user = self._user()
        what = resolve.process_of(record.config, record.options, user, record.hostname)
        self._make_working_directory(what.cwd)
        self.starter.volumes.mount_devices(one.source for one in record.mounts if one.type == "volume" and one.source)
        for mount in record.mounts:
            if mount.type == "volume" and not mount.nocopy and mount.subpath is None:
                assert mount.source is not None
                self.starter.volumes.fill(mount.source, rootfs, mount.target)
        host = oci_runtime.facts()
        document = oci_spec(what, self._sandbox(what), host)
        (self.place.bundle / "config.json").write_bytes(msgspec.json.encode(document))

    def _make_working_directory(self, path: str) -> None:
        try:
            with directory(self.place.rootfs) as root:
                os.close(make_directories_in_root(root, path))
        except OSError as error:
            raise Invalid(f"working directory {path!r} cannot be made in the image: {error.strerror}") from error

    def _user(self) -> users.User:
        options, rootfs = self.record.options, self.place.rootfs
        spec = self.record.config.user if options.user is None else options.user
        passwd, group = (
            (read_in_root(rootfs, path) or b"").decode(errors="replace") for path in ("/etc/passwd", "/etc/group")
        )
        user = users.resolve_user(spec, passwd, group)
        extra = users.resolve_groups(options.groups, group)
        return msgspec.structs.replace(user, additional_gids=tuple(dict.fromkeys((*user.additional_gids, *extra))))

    def _sandbox(self, what: Process) -> Sandbox:
        options, host = self.record.options, oci_runtime.facts()
        return Sandbox(
            cgroup=self.place.cgroup,
            network=self.network,
            readonly=options.readonly,
            hostname=self.record.hostname,
            mounts=self._mounts(),
            limits=options.limits,
            seccomp=seccomp.load(self.starter.settings.run, what.capabilities, host.machine, host.kernel)
            if options.confined
            else None,
            shm_bytes=options.shm_bytes,
            sysctls=options.sysctls,
        )

    def _mounts(self) -> tuple[MountPoint, ...]:
        record, options = self.record, self.record.options
        files = etc_files.write(
            self.place.bundle,
            hostname=record.hostname,
            network=self.network,
            address=self.address,
            extra_hosts=options.extra_hosts,
            resolver=etc_files.Resolver(options.dns, options.dns_search, options.dns_options),
        )
        if options.hosts_file is not None:
            files = tuple(
                msgspec.structs.replace(each, source=options.hosts_file) if each.target == "/etc/hosts" else each
                for each in files
            )
        wanted = tuple(point(self.starter.volumes, mount) for mount in record.mounts)
        covered = {mount.target for mount in wanted}
        init = (_init_program(),) if options.init else ()
        return (*(each for each in files if each.target not in covered), *wanted, *init)

    def _monitor(self) -> conmon.Monitor:
        options, place = self.record.options, self.place
        return conmon.Monitor(
            runtime=self.runtime,
            id=self.record.id,
            bundle=place.bundle,
            log=place.log,
            pidfile=place.pidfile,
            conmon_pidfile=place.conmon_pidfile,
            exits=place.exits,
            persist=place.directory,
            terminal=options.terminal,
            stdin=options.interactive,
            # on a terminal the end of input is typed; elsewhere it is the end of the one who runs it in the foreground
            leave_stdin_open=options.interactive and (options.terminal or not options.attended),
            log_bytes=options.log_bytes,
            exit_command=self.starter.exit_command(self.record),
        )


def _init_program() -> MountPoint:
    for name in INITS:
        found = process.which(name, _INIT_DIRECTORIES)
        if found is not None:
            return MountPoint(target=resolve.INIT_TARGET, source=str(found), options=("bind", "ro", "nosuid", "nodev"))
    raise Unavailable(f"--init needs one of the programs {', '.join(INITS)}", "install the package catatonit")


def clear(place: Place) -> None:
    """End every process of a container and take away all that the kernel and the runtime hold for it. Idempotent.

    The runtime's own ``delete`` would do the same by reading its state back, at many times the cost.
    """
    cgroups.leave(place.conmon_cgroup)  # conmon's exit command, which removes the container, is in it
    for name in (place.cgroup, place.conmon_cgroup):
        cgroups.remove(name, kill=True)
    for state in place.runtime_state():
        remove_tree(state)
