"""The fleet file, resolved: what every later part of bennu reads instead of YAML.

A ``Project`` is a value: defaults are filled in where Compose fixes them, short forms are spelled out, variables are
replaced, relative host paths are absolute, and durations and sizes are numbers with their unit in the name. Where
leaving a key out means something of its own (the image decides, or bennu's policy does) the field is None. Nothing
here reads a file or knows YAML: ``reader`` makes these values, ``canonical`` hashes them, ``render`` writes them back.
"""

from __future__ import annotations

import posixpath
from typing import Any, Final, Literal

from bennu.compose.attachments import Attachment, FileMount, FileSource, Network
from bennu.compose.confinement import Confinement
from bennu.compose.extension import XBennu, XBennuProject
from bennu.compose.struct import Value

Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]
MountType = Literal["bind", "volume", "tmpfs"]
RestartCondition = Literal["no", "on-failure", "always", "unless-stopped"]

DEFAULT_NETWORK: Final = "default"
DEFAULT_STOP_GRACE_PERIOD_SECONDS: Final = 10.0


class Place(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Where something stands in a file; ``line`` and ``column`` count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Notice(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Something in the file that is accepted but has no effect, or not the effect that its author may expect."""

    message: str
    place: Place

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class Ulimit(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A soft and a hard limit; -1 is unlimited."""

    soft: int
    hard: int


class Build(Value, frozen=True, kw_only=True, omit_defaults=True):
    """How a service's image is built. ``args`` holds only arguments that have a value, in the file's order."""

    context: str
    """Absolute path of the build context; a URL or a repository as it stands."""
    dockerfile: str = "Dockerfile"
    """As written: relative to the context, or absolute."""
    dockerfile_inline: str | None = None
    """What the Dockerfile says, in the place of one."""
    args: dict[str, str] = {}
    target: str | None = None
    additional_contexts: dict[str, str] = {}
    """Named contexts: absolute paths, URLs, ``docker-image://NAME``."""
    entitlements: tuple[str, ...] = ()
    extra_hosts: dict[str, tuple[str, ...]] = {}
    labels: dict[str, str] = {}
    network: str | None = None
    no_cache: bool = False
    pull: bool = False
    """Registries are asked for newer base images."""
    no_cache_filter: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()
    """Agents, each as ``--ssh`` has it."""
    shm_size_bytes: int | None = None
    tags: tuple[str, ...] = ()
    ulimits: dict[str, Ulimit] = {}

    @property
    def is_elsewhere(self) -> bool:
        """The context is a URL or a repository."""
        return not self.context.startswith("/")

    @property
    def dockerfile_path(self) -> str:
        """Absolute path of the Dockerfile; of a context elsewhere the path in it."""
        if self.is_elsewhere:
            return self.dockerfile
        return posixpath.normpath(posixpath.join(self.context, self.dockerfile))


class Port(Value, frozen=True, kw_only=True, omit_defaults=True):
    """One published port (ranges are spelled out). ``published`` is None where any free host port will do."""

    target: int
    published: int | None = None
    host_ip: str | None = None
    protocol: Literal["tcp", "udp"] = "tcp"
    app_protocol: str | None = None
    """``http`` is HTTP mode at the switch, anything else TCP mode; None leaves it to the engine."""
    name: str | None = None
    mode: Literal["ingress", "host"] = "ingress"


class Exposed(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A port that other services of the project may reach, and no one outside it."""

    target: int
    protocol: Literal["tcp", "udp"] = "tcp"


class Mount(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Something mounted into each replica of a service.

    ``source``: of a bind mount the absolute host path; of a volume its key in ``Project.volumes``, or None for an
    anonymous one (one for each replica); of a tmpfs None.
    """

    type: MountType
    target: str
    """Absolute, normalised path inside the replica."""
    source: str | None = None
    read_only: bool = False
    exec: bool = False
    """Programs may be executed from it: always for bind mounts, for others where the file asks for it."""
    create_host_path: bool = False
    """Bind mounts: a missing source is made as a directory."""
    propagation: str | None = None
    """Bind mounts: ``rprivate`` (None), ``private``, ``rshared``, ``shared``, ``rslave`` or ``slave``."""
    recursive: bool = True
    """Bind mounts: mounts under the source come along."""
    nocopy: bool = False
    """Volumes: what the image has at ``target`` is not copied into the empty volume."""
    subpath: str | None = None
    """Volumes: the directory inside the volume that is mounted."""
    size_bytes: int | None = None
    """tmpfs: the most it may hold."""
    mode: int | None = None
    """tmpfs: permission bits of its root."""
    uid: int | None = None
    gid: int | None = None
    """tmpfs: the owner of its root."""


class Healthcheck(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A service's health check. A field that is None is the image's, and where the image has none, the default.

    ``test`` is ``("CMD", arg...)``, ``("CMD-SHELL", line)`` or ``("NONE",)``, which turns the image's check off.
    Defaults (Dockerfile reference, HEALTHCHECK): interval 30, timeout 30, start period 0, start interval 5, 3 retries.
    """

    test: tuple[str, ...] | None = None
    interval_seconds: float | None = None
    timeout_seconds: float | None = None
    retries: int | None = None
    start_period_seconds: float | None = None
    start_interval_seconds: float | None = None

    @property
    def disabled(self) -> bool:
        """The file turns health checking off for this service."""
        return self.test is not None and self.test[:1] == ("NONE",)


class DependsOn(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What a service waits for before it starts. ``required`` False: carry on with a warning when it is not there."""

    condition: Condition = "service_started"
    restart: bool = False
    required: bool = True


class Resources(Value, frozen=True, kw_only=True, omit_defaults=True):
    """An amount for each replica; None is no limit, or no reservation. ``cpus`` is in cores."""

    cpus: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None


class Restart(Value, frozen=True, kw_only=True, omit_defaults=True):
    """When a replica that ended is started again. ``max_attempts`` None is without end."""

    condition: RestartCondition
    max_attempts: int | None = None
    delay_seconds: float | None = None
    window_seconds: float | None = None


class Deploy(Value, frozen=True, kw_only=True, omit_defaults=True):
    """How many replicas and with what, wherever in the service the file says so (``scale``, ``mem_limit``, ...)."""

    replicas: int = 1
    limits: Resources = Resources()
    reservations: Resources = Resources()
    labels: dict[str, str] = {}


class Service(Value, frozen=True, kw_only=True, omit_defaults=True):
    """One service, resolved. At least one of ``image`` and ``build`` is set (see ``Project.image_name``)."""

    name: str
    image: str | None = None
    build: Build | None = None
    pull_policy: str | None = None
    """When the image is fetched: always, never, missing, build, daily, weekly, every_12h. None: where it is missing."""
    command: tuple[str, ...] | None = None
    """None: the image's. Empty: none at all."""
    entrypoint: tuple[str, ...] | None = None
    """None: the image's. Empty: none at all. Setting it drops the image's command, as in Docker."""
    environment: dict[str, str] = {}
    """From ``env_file`` and ``environment`` together, in that order; a later value has replaced an earlier one."""
    labels: dict[str, str] = {}
    ports: tuple[Port, ...] = ()
    expose: tuple[Exposed, ...] = ()
    mounts: tuple[Mount, ...] = ()
    """``volumes`` and ``tmpfs`` together; targets are unique and sorted, so that none hides one mounted before it."""
    healthcheck: Healthcheck | None = None
    depends_on: dict[str, DependsOn] = {}
    deploy: Deploy = Deploy()
    restart: Restart | None = None
    """None where the file says nothing."""
    user: str | None = None
    working_dir: str | None = None
    hostname: str | None = None
    container_name: str | None = None
    read_only: bool | None = None
    """None where the file says nothing: then the root is read-only, with tmpfs on ``/tmp``, ``/run``, ``/var/tmp``."""
    init: bool | None = None
    stop_signal: str | None = None
    """``SIGQUIT`` form, or a number as text; None: the image's."""
    stop_grace_period_seconds: float | None = None
    """None where the file says nothing; ``stop_timeout_seconds`` is what holds."""
    cap_add: tuple[str, ...] = ()
    """Names without ``CAP_``, upper case; ``ALL`` is possible."""
    cap_drop: tuple[str, ...] = ()
    extra_hosts: dict[str, tuple[str, ...]] = {}
    """Host name -> addresses; ``host-gateway`` stands for the host's address on the project's bridge."""
    ulimits: dict[str, Ulimit] = {}
    shm_size_bytes: int | None = None
    profiles: tuple[str, ...] = ()
    networks: dict[str, Attachment] = {}
    """By the networks' keys; empty: the default one alone."""
    configs: tuple[FileMount, ...] = ()
    secrets: tuple[FileMount, ...] = ()
    links: dict[str, str] = {}
    """Further names of services in this one's replicas: name -> service."""
    confinement: Confinement = Confinement()
    other: dict[str, Any] = {}
    """Keys that are understood and not carried out, as they stand: see ``Project.unserved``."""
    x_bennu: XBennu = XBennu()
    extensions: dict[str, Any] = {}
    """All other ``x-`` keys, as they stand; never part of a service's configuration."""

    @property
    def replicas(self) -> int:
        """How many replicas a set of this service has."""
        return self.deploy.replicas

    @property
    def stop_timeout_seconds(self) -> float:
        """How long a replica may take from its stop signal to its end."""
        given = self.stop_grace_period_seconds
        return DEFAULT_STOP_GRACE_PERIOD_SECONDS if given is None else given

    @property
    def writes_shared_state(self) -> bool:
        """Two sets of this service would write the same state, so that a new one is started only after the old ends.

        The file's word (``x-bennu.writes``) counts; without it, a writable bind mount or named volume says yes.
        """
        if self.x_bennu.writes is not None:
            return self.x_bennu.writes
        return any(m.type != "tmpfs" and m.source is not None and not m.read_only for m in self.mounts)


class Volume(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A named volume. ``name`` is its name in the store: the file's ``name``, or the project's and the key."""

    name: str
    external: bool = False
    labels: dict[str, str] = {}
    driver: str | None = None
    """One that bennu does not have; None: ``local``."""
    driver_opts: dict[str, str] = {}
    """Of the local driver: ``type``, ``device`` and ``o`` as mount(8) has them; empty for a directory of the store."""
    extensions: dict[str, Any] = {}


class Project(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The whole fleet file, resolved and filtered by profile."""

    name: str
    directory: str
    """Absolute; relative host paths in the file started here."""
    files: tuple[str, ...] = ()
    services: dict[str, Service] = {}
    """Those that run, in the file's order. ``inactive`` holds those that no chosen profile asks for."""
    inactive: dict[str, Service] = {}
    volumes: dict[str, Volume] = {}
    networks: dict[str, Network] = {}
    configs: dict[str, FileSource] = {}
    secrets: dict[str, FileSource] = {}
    other: dict[str, Any] = {}
    x_bennu: XBennuProject = XBennuProject()
    extensions: dict[str, Any] = {}
    notices: tuple[Notice, ...] = ()
    """What the user should be told about the file, in its order."""
    unserved: tuple[Notice, ...] = ()
    """What the file says and nothing here carries out: no reason not to read it, but one not to run it."""
    places: dict[str, Place] = {}
    """Where ``services.web``, ``services.web.image``, ``volumes.data``... stand, for errors that come up later."""

    def image_name(self, service: str) -> str:
        """The image that a service runs: the file's, or ``<project>-<service>`` for one that is only built."""
        return self.services[service].image or f"{self.name}-{service}"

    def start_order(self) -> tuple[tuple[str, ...], ...]:
        """The services in waves: each wave depends only on earlier ones. Names within a wave are in file order."""
        waves: list[tuple[str, ...]] = []
        placed: set[str] = set()
        while len(placed) < len(self.services):
            ready = tuple(
                name
                for name, service in self.services.items()
                if name not in placed and all(dep in placed or dep not in self.services for dep in service.depends_on)
            )
            assert ready, "reader refuses cycles"
            waves.append(ready)
            placed.update(ready)
        return tuple(waves)
