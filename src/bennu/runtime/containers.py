"""Containers: create, start, stop, remove, wait, find. The one door to them for the engine and the command line.

A container is a row (``records``), a directory (``places``) and, while it lives, processes in a control group of its
own (``status`` asks for them). Each change of one container holds that container's lock, which the kernel frees with
its holder; whatever a killed bennu left is either not there, or completed by the next ``start`` or ``remove``, or
swept. Safe to call from several threads and processes at once.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from bennu.config import Settings
from bennu.errors import AlreadyExists, Conflict, Failed, NotFound
from bennu.host import cgroups, locks, mounts
from bennu.host.files import remove_tree
from bennu.runtime import bundles, exits
from bennu.runtime.mount_points import complete
from bennu.runtime.naming import numbered_name, random_name
from bennu.runtime.oci_runtime import state_root
from bennu.runtime.options import SHARED_NETWORK, ContainerImage, ContainerOptions, MountOption
from bennu.runtime.places import Place, cgroup_prefix
from bennu.runtime.records import ID_BYTES, SHORT, Record, Records, check_name
from bennu.runtime.resolve import command_of, working_directory
from bennu.runtime.signals import signal_number
from bennu.runtime.starting import BeforeStart, Starter, clear
from bennu.runtime.status import Status, look
from bennu.runtime.volumes import Volumes
from bennu.store.database import Database
from bennu.store.snapshots import Snapshots

if TYPE_CHECKING:
    from bennu.runtime.networks import Networks

NAME_ATTEMPTS: Final = 6
KILL_SECONDS: Final = 10.0


class Container(msgspec.Struct, frozen=True):
    """A container: what was asked for, and what is."""

    record: Record
    status: Status

    @property
    def id(self) -> str:
        """Its ID in full."""
        return self.record.id

    @property
    def name(self) -> str:
        """Its name."""
        return self.record.name


class Containers:
    """The containers of one root."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        snapshots: Snapshots | None = None,
        *,
        volumes: Volumes | None = None,
        networks: Networks | None = None,
    ) -> None:
        self.settings = settings
        self.snapshots = snapshots or Snapshots(settings, database)
        self.volumes = volumes or Volumes(settings, database)
        self._database = database
        self._networks = networks
        self.records = Records(database, self.volumes)
        self._starter = Starter(settings, self.snapshots, self.volumes, lambda: self.networks, self._exit_command)

    @property
    def networks(self) -> Networks:
        """The networks; made at first use, since a container without one need not wait for their modules."""
        if self._networks is None:
            from bennu.runtime.networks import Networks

            self._networks = Networks(self.settings, self._database)
        return self._networks

    def place(self, record: Record) -> Place:
        """Where a container's files are."""
        return Place(self.settings, record.id)

    def create(self, image: ContainerImage, options: ContainerOptions, name: str | None = None) -> Record:
        """Record a container. ``AlreadyExists`` for a name in use; ``Invalid`` for options that cannot be met."""
        command_of(image.config, options)
        working_directory(image.config, options)
        if options.stop_signal is not None:
            signal_number(options.stop_signal)
        if options.auto_remove:
            self._sweep_transient()
        wanted = complete(options.mounts, tuple(image.config.volumes))
        named = tuple(self._with_volume(mount, options.labels) for mount in wanted)
        options = msgspec.structs.replace(options, mounts=named)
        try:
            return self._add(image, options, name)
        except BaseException:
            for mount, asked in zip(named, wanted, strict=True):
                if mount.type == "volume" and asked.source is None and mount.source is not None:
                    self.volumes.remove(mount.source)
            raise

    def _with_volume(self, mount: MountOption, labels: Mapping[str, str]) -> MountOption:
        if mount.type != "volume":
            return mount
        volume = self.volumes.create(labels=dict(labels)) if mount.source is None else self.volumes.ensure(mount.source)
        return msgspec.structs.replace(mount, source=volume.name)

    def _add(self, image: ContainerImage, options: ContainerOptions, name: str | None) -> Record:
        if name is not None:
            check_name(name)
        for attempt in range(NAME_ATTEMPTS):
            record = Record(
                id=os.urandom(ID_BYTES).hex(),
                name=name or (random_name() if attempt < NAME_ATTEMPTS // 2 else numbered_name()),
                image_name=image.name,
                manifest=image.manifest,
                snapshot=image.snapshot,
                config=image.config,
                options=options,
                created=time.time(),
            )
            try:
                self.records.add(record)
            except AlreadyExists:
                if name is not None:
                    raise
                continue
            self._make_directory(record)
            return record
        raise Conflict("no free name was found for the container", "give it one with --name")

    def _make_directory(self, record: Record) -> None:
        # setuid programs and secrets come to lie in here: no other user of the host may come near them
        self.settings.containers.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.place(record).directory.mkdir(mode=0o700, exist_ok=True)

    def resolve(self, reference: str) -> Record:
        """The container of a name, an ID or the beginning of one. ``NotFound``; ``Conflict`` if it could be several."""
        return self.records.resolve(reference)

    def inspect(self, reference: str) -> Container:
        """A container as it is."""
        record = self.resolve(reference)
        return Container(record, self.status(record))

    def status(self, record: Record) -> Status:
        """What a container does now."""
        return look(self.place(record))

    def revise(self, reference: str, options: ContainerOptions, name: str | None = None) -> Record:
        """Change what a container is asked to be, mounts excepted. What runs stays as it is; the next start obeys."""
        with self._locked(reference) as record:
            return self.records.revise(record.id, name or record.name, options)

    def make_writable(self, reference: str) -> None:
        """Take the read-only flag off a running container's root. Nothing happens to one that does not run."""
        with self._locked(reference) as record:
            status = self.status(record)
            if not status.is_alive:
                return
            try:
                mounts.make_root_writable(status.pid)
            except (FileNotFoundError, ProcessLookupError):
                return  # it has ended just now
            except OSError as error:
                what = f"the root of container {record.name!r} cannot be made writable"
                raise Failed(f"{what}: {error.strerror}") from error

    def list(self, labels: Mapping[str, str] | None = None, *, ended: bool = True) -> tuple[Container, ...]:
        """The containers that have all these labels, the oldest first; with ``ended`` off, those that live."""
        found = (Container(record, self.status(record)) for record in self.records.walk(labels))
        return tuple(each for each in found if ended or each.status.is_alive)

    def start(self, reference: str, before_start: BeforeStart | None = None) -> Record:
        """Start a container; nothing happens to one that runs. ``Failed`` with Docker's status if it cannot be."""
        with self._locked(reference) as record:
            status = self.status(record)
            if status.state == "paused":
                raise Conflict(f"container {record.name!r} is paused")
            if status.state != "running":
                self._make_directory(record)
                self._starter.start(record, before_start)
            return record

    def stop(self, reference: str, *, timeout_seconds: float | None = None, signal_name: str | None = None) -> Record:
        """Send the stop signal, wait, then SIGKILL. Not an error where it does not run. Negative: wait for ever."""
        with self._locked(reference) as record:
            status = self.status(record)
            if not status.is_alive:
                return record
            wanted = signal_name or record.options.stop_signal or record.config.stop_signal or "SIGTERM"
            patience = record.options.stop_timeout_seconds if timeout_seconds is None else timeout_seconds
            self._signal(record, status, signal_number(wanted))
            cgroups.thaw(self.place(record).cgroup)
            if not self._ended(record, None if patience < 0 else patience):
                self._kill(record)
            return record

    def kill(self, reference: str, signal_name: str = "SIGKILL") -> Record:
        """Send a signal to the first process. ``Conflict`` where the container does not run."""
        record = self.resolve(reference)
        number = signal_number(signal_name)
        status = self.status(record)
        if not status.is_alive:
            raise Conflict(f"container {record.name!r} is not running", "`bennu ps --all` shows its state")
        self._signal(record, status, number)
        if number == signal.SIGKILL:
            cgroups.thaw(self.place(record).cgroup)
        return record

    def pause(self, reference: str) -> Record:
        """Freeze a container's processes. ``Conflict`` where it does not run. Nothing happens to a frozen one."""
        with self._locked(reference) as record:
            if not self.status(record).is_alive:
                raise Conflict(f"container {record.name!r} is not running")
            cgroups.freeze(self.place(record).cgroup)
            return record

    def unpause(self, reference: str) -> Record:
        """Let a frozen container run on. Nothing happens to one that is not frozen."""
        with self._locked(reference) as record:
            cgroups.thaw(self.place(record).cgroup)
            return record

    def wait(self, reference: str) -> int:
        """Wait until a container has ended; its exit status. One that was never started is waited for too."""
        record = self.resolve(reference)
        while (status := self.status(record)).state not in {"exited", "dead"}:
            if status.conmon_pid:
                self.wait_any([record.id])
            else:
                time.sleep(0.05)  # created and not started: there is no process yet to wait for
                record = self.resolve(record.id)
        return status.exit_status

    def wait_any(
        self, ids: Iterable[str], *, timeout_seconds: float | None = None, wake: int | None = None
    ) -> frozenset[str]:
        """The IDs of those containers that have ended, as soon as there is one; see ``exits.wait_any``."""
        places = [Place(self.settings, one) for one in ids]
        return frozenset(exits.wait_any(places, timeout_seconds=timeout_seconds, wake=wake))

    def remove(self, reference: str, *, force: bool = False, volumes: bool = False) -> Record:
        """Remove a container with all that is its own, with ``volumes`` its anonymous volumes too.

        Those of a transient container always go. ``Conflict`` while it lives, unless ``force``. A removal that was
        killed is finished by the next one.
        """
        with self._locked(reference) as record:
            status = self.status(record)
            if status.is_alive and not force:
                raise Conflict(
                    f"container {record.name!r} is {status.state}",
                    f"`bennu stop {record.name}` first, or `bennu rm --force {record.name}`",
                )
            self._remove(record, volumes=volumes or record.options.auto_remove)
            return record

    def _remove(self, record: Record, *, volumes: bool) -> None:
        place = self.place(record)
        clear(place)
        anonymous = self.volumes.anonymous_of(record.id) if volumes and record.mounts else ()
        if self._is_networked(record):
            self.networks.detach(record.id)
        self.records.forget(record.id)
        self._remove_files(place)
        for name in anonymous:
            with suppress(Conflict, NotFound):
                self.volumes.remove(name)

    @staticmethod
    def _is_networked(record: Record) -> bool:
        network = record.options.network
        return network not in {"none", "host"} and not (network or "").startswith(SHARED_NETWORK)

    @staticmethod
    def _remove_files(place: Place) -> None:
        mounts.detach(place.rootfs)  # only where this is the exit command, inside conmon's own namespace
        (place.exits / place.id).unlink(missing_ok=True)
        remove_tree(place.bundle)
        remove_tree(place.directory)

    def sweep(self) -> int:
        """Remove what kills left behind: rubbish without a row, transient containers that ended unattended.

        Returns how many containers' rests went. Safe beside everything else at any time.
        """
        bundles.sweep(self.settings)
        count = self._sweep_transient()
        stray = self._stray_ids()
        for found in stray:
            place = Place(self.settings, found)
            clear(place)
            self._remove_files(place)
            self._lock_path(found).unlink(missing_ok=True)
        for owner in self.networks.owners() - self.records.ids():
            if len(owner) == 2 * ID_BYTES:
                self.networks.detach(owner)
        return count + len(stray)

    def _stray_ids(self) -> set[str]:
        present = set(_entries(self.settings.containers))
        running = {name.removesuffix(".lock") for name in _entries(self.settings.run / "containers")}
        present |= {one for one in running if len(one) == 2 * ID_BYTES}
        for runtime in _entries(self.settings.run / "oci"):
            present |= {one for one in _entries(state_root(self.settings, runtime)) if len(one) == 2 * ID_BYTES}
        prefix = cgroup_prefix(self.settings)
        groups = {name.removeprefix(prefix).removesuffix("-conmon") for name in cgroups.named(prefix)}
        known = self.records.ids()  # read last: what was there before its row was not there then
        shorts = {one[:SHORT] for one in known}
        # a group without a directory is known by its short name alone, which is all that is needed to clear it
        rest = {one for one in groups if len(one) == SHORT and one not in shorts}
        return {one for one in present if one not in known} | {
            one for one in rest if not any(other.startswith(one) for other in present)
        }

    def _sweep_transient(self) -> int:
        count = 0
        for record in self.records.transient():
            if self.status(record).state in {"exited", "dead"} and not is_attended(self.place(record)):
                with suppress(NotFound, Conflict):
                    self.remove(record.id, volumes=True)
                    count += 1
        return count

    def _signal(self, record: Record, status: Status, number: int) -> None:
        """Send a signal through a pidfd, after making sure that the process is the container's."""
        with suppress(ProcessLookupError):
            fd = os.pidfd_open(status.pid)
            try:
                if status.pid in cgroups.members(self.place(record).cgroup):
                    signal.pidfd_send_signal(fd, number)
            finally:
                os.close(fd)

    def _ended(self, record: Record, timeout_seconds: float | None) -> bool:
        return bool(self.wait_any([record.id], timeout_seconds=timeout_seconds))

    def _kill(self, record: Record) -> None:
        status = self.status(record)
        if status.is_alive:
            self._signal(record, status, signal.SIGKILL)
            if not self._ended(record, KILL_SECONDS):
                cgroups.remove(self.place(record).cgroup, kill=True)

    def _exit_command(self, record: Record) -> tuple[str, ...]:
        """What conmon runs at the end: the removal of a transient container that nobody attends."""
        if not record.options.auto_remove or record.options.attended:
            return ()
        return (sys.executable, "-m", "bennu", "--root", str(self.settings.root), "rm", "--volumes", record.id)

    def _lock_path(self, container_id: str) -> Path:
        return self.settings.run / "containers" / f"{container_id}.lock"

    @contextmanager
    def _locked(self, reference: str) -> Iterator[Record]:
        record = self.resolve(reference)
        path = self._lock_path(record.id)
        with locks.held(path, subject=f"container {record.name!r}"):
            current = self.records.get(record.id)  # it may have been removed while this waited
            if current is None:
                path.unlink(missing_ok=True)
                raise NotFound(f"container {reference!r} does not exist", "`bennu ps --all` lists the containers")
            try:
                yield current
            finally:
                if self.records.get(record.id) is None:
                    path.unlink(missing_ok=True)


def _entries(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []


@contextmanager
def attending(place: Place) -> Iterator[None]:
    """Say, for the block, that somebody waits for this container and removes it: a sweep leaves it alone."""
    fd = os.open(place.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def is_attended(place: Place) -> bool:
    """Whether somebody is ``attending``."""
    try:
        fd = os.open(place.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)
