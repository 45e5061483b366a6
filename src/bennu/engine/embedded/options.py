"""A replica's options: what its service asks for, with the fleet's defaults. Pure.

Secure by default: the root is read-only unless the file says otherwise, with tmpfs on ``/tmp``, ``/run`` and
``/var/tmp`` where the file leaves ``read_only`` out, which begin with what the image has there; no new privileges;
volumes without programs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bennu.compose.model import Mount
from bennu.engine.embedded.replica_files import path_of
from bennu.engine.sets import SetSpec
from bennu.runtime import options as runtime
from bennu.runtime.options import ContainerOptions, MountOption
from bennu.runtime.spec import DEFAULT_SHM_BYTES, Limits, Rlimit

SCRATCH: Final = (("/tmp", 0o1777), ("/run", 0o755), ("/var/tmp", 0o1777))
UNLIMITED: Final = -1


def replica_name(spec: SetSpec, index: int) -> str:
    """The container's name: ``shop-web-3f2a9c1d22.1``."""
    return f"{spec.project}-{spec.id}.{index}"


def container_options(
    spec: SetSpec, index: int, *, network: str, hosts_file: str, files: Path = Path("/")
) -> ContainerOptions:
    """What the container of one replica is asked for. ``hosts_file`` is shared by all replicas of the set, and so is
    what configs and secrets hold, in the directory ``files``.
    """
    service = spec.service
    limits, around = service.deploy.limits, service.confinement
    return ContainerOptions(
        command=service.command,
        entrypoint=service.entrypoint,
        env=tuple(f"{name}={value}" for name, value in service.environment.items()),
        working_dir=service.working_dir,
        user=service.user,
        hostname=service.hostname or f"{service.name}.{index}",
        labels={**service.labels, **identity(spec, index)},
        mounts=(*_mounts(spec), *_files(spec, files)),
        network=network,
        hosts_file=hosts_file,
        readonly=service.read_only is not False,
        init=bool(service.init),
        groups=around.group_add,
        dns=around.dns,
        dns_search=around.dns_search,
        dns_options=around.dns_opt,
        sysctls=around.sysctls,
        oom_score_adj=around.oom_score_adj or 0,
        limits=Limits(
            memory_bytes=limits.memory_bytes,
            cpus=limits.cpus,
            pids=limits.pids,
            swap_bytes=around.memswap_bytes,
            reserved_bytes=around.mem_reservation_bytes or service.deploy.reservations.memory_bytes,
            cpu_shares=around.cpu_shares,
            cpuset=around.cpuset,
        ),
        rlimits=tuple(
            Rlimit(f"RLIMIT_{name.upper()}", limit.soft, limit.hard) for name, limit in sorted(service.ulimits.items())
        ),
        cap_add=service.cap_add,
        cap_drop=service.cap_drop,
        no_new_privileges=True,
        shm_bytes=service.shm_size_bytes or DEFAULT_SHM_BYTES,
        stop_signal=service.stop_signal,
        stop_timeout_seconds=service.stop_timeout_seconds,
    )


def identity(spec: SetSpec, index: int) -> dict[str, str]:
    """The labels that make a container a replica, and those of Docker Compose, which other tools look for."""
    return {
        runtime.PROJECT: spec.project,
        runtime.SERVICE: spec.service.name,
        runtime.SET: spec.id,
        runtime.REPLICA: str(index),
        "com.docker.compose.project": spec.project,
        "com.docker.compose.service": spec.service.name,
        "com.docker.compose.container-number": str(index),
    }


def _mounts(spec: SetSpec) -> tuple[MountOption, ...]:
    given = tuple(_mount(mount, spec) for mount in spec.service.mounts)
    if spec.service.read_only is not None:
        return given
    taken = {mount.target for mount in given}
    scratch = tuple(
        MountOption(type="tmpfs", target=path, mode=mode, copyup=True) for path, mode in SCRATCH if path not in taken
    )
    return (*scratch, *given)


def _files(spec: SetSpec, directory: Path) -> tuple[MountOption, ...]:
    return tuple(
        MountOption(type="bind", target=file.target, source=str(path_of(directory, file)), readonly=True)
        for file in spec.files
    )


def _mount(mount: Mount, spec: SetSpec) -> MountOption:
    source = mount.source
    if mount.type == "volume" and source is not None:
        source = spec.volumes[source].name
    return MountOption(
        type=mount.type,
        target=mount.target,
        source=source,
        readonly=mount.read_only,
        exec=mount.exec,
        create=mount.create_host_path,
        recursive=mount.recursive,
        propagation=mount.propagation,
        nocopy=mount.nocopy,
        subpath=mount.subpath,
        size_bytes=mount.size_bytes,
        mode=mount.mode,
        uid=mount.uid,
        gid=mount.gid,
    )
