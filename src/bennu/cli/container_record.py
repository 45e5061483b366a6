"""Containers as records, with the field names of ``docker ps`` and ``docker inspect``. Time is an argument.

Templates that people bring along work on them. What Docker shows and bennu has no word for is left out of ``inspect``,
rather than filled with something that looks like an answer.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from bennu.cli import human
from bennu.cli.image_record import container_config, shown_time

if TYPE_CHECKING:
    from bennu.runtime.containers import Container, Containers
    from bennu.runtime.networks import Attachment
    from bennu.runtime.options import MountOption
    from bennu.runtime.status import Status

SHORT: Final = 12
NEVER: Final = "0001-01-01T00:00:00Z"


def status_text(status: Status, now: float) -> str:
    """``Up 5 minutes``, ``Exited (0) 3 minutes ago``, ``Created``."""
    if status.is_alive:
        text = f"Up {human.duration(now - (status.started or now))}"
        return f"{text} (Paused)" if status.state == "paused" else text
    if status.state == "exited":
        ended = status.finished or status.started or now
        return f"Exited ({status.exit_status}) {human.ago(ended, now)}"
    return status.state.capitalize()


def listed(container: Container, now: float, *, in_full: bool = False) -> dict[str, Any]:
    """The record of a container in ``ps``."""
    from bennu.runtime.resolve import command_of

    record, status = container.record, container.status
    command = " ".join(command_of(record.config, record.options))
    shown = command if in_full or len(command) <= 20 else command[:19] + "…"
    return {
        "ID": record.id if in_full else record.short,
        "Image": record.image_name,
        "Command": f'"{shown}"',
        "CreatedAt": shown_time(record.created),
        "RunningFor": human.ago(record.created, now),
        "State": status.state,
        "Status": status_text(status, now),
        "Ports": ", ".join(record.config.exposed_ports) if status.is_alive else "",
        "Names": record.name,
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(record.labels.items())),
        "Mounts": ",".join(mount.source or mount.target for mount in record.mounts if mount.type != "tmpfs"),
        "Networks": record.options.network or "bridge",
        "LocalVolumes": str(sum(mount.type == "volume" for mount in record.mounts)),
        "Size": "N/A",
    }


def inspected(containers: Containers, container: Container) -> dict[str, Any]:
    """The document of one container."""
    from bennu.runtime.resolve import command_of

    record, options = container.record, container.record.options
    place = containers.place(record)
    path, *arguments = command_of(record.config, options)
    return {
        "Id": record.id,
        "Created": _moment(record.created),
        "Path": path,
        "Args": arguments,
        "State": _state(container.status),
        "Image": record.manifest or "",
        "ResolvConfPath": str(place.bundle / "resolv.conf"),
        "HostnamePath": str(place.bundle / "hostname"),
        "HostsPath": options.hosts_file or str(place.bundle / "hosts"),
        "LogPath": str(place.log),
        "Name": f"/{record.name}",
        "RestartCount": container.status.restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "HostConfig": _host_config(container),
        "GraphDriver": {
            "Name": "overlay2",
            "Data": {"UpperDir": str(place.upper), "WorkDir": str(place.work), "MergedDir": str(place.rootfs)},
        },
        "Mounts": [_mount(containers, mount) for mount in record.mounts],
        "Config": _config(container),
        "NetworkSettings": _network(containers.networks.attachments(record.id), options.network),
    }


def _state(status: Status) -> dict[str, Any]:
    return {
        "Status": status.state,
        "Running": status.is_alive,
        "Paused": status.state == "paused",
        "Restarting": False,
        "OOMKilled": status.oom_killed,
        "Dead": status.state == "dead",
        "Pid": status.pid,
        "ConmonPid": status.conmon_pid,
        "ExitCode": status.exit_status,
        "Error": status.error,
        "StartedAt": _moment(status.started),
        "FinishedAt": _moment(status.finished),
    }


def _host_config(container: Container) -> dict[str, Any]:
    options = container.record.options
    return {
        "Binds": [_bind(mount) for mount in options.mounts if mount.type != "tmpfs" and mount.source] or None,
        "LogConfig": {"Type": "k8s-file", "Config": {"max-size": str(options.log_bytes)}},
        "NetworkMode": options.network or "bridge",
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": options.auto_remove,
        "CapAdd": list(options.cap_add) or None,
        "CapDrop": list(options.cap_drop) or None,
        "Dns": list(options.dns),
        "ExtraHosts": [f"{name}:{one}" for name, found in options.extra_hosts.items() for one in found] or None,
        "GroupAdd": list(options.groups) or None,
        "OomScoreAdj": options.oom_score_adj,
        "Privileged": False,
        "ReadonlyRootfs": options.readonly,
        "SecurityOpt": _security(container) or None,
        "Tmpfs": {mount.target: "" for mount in options.mounts if mount.type == "tmpfs"} or None,
        "ShmSize": options.shm_bytes,
        "Sysctls": options.sysctls or None,
        "Memory": options.limits.memory_bytes or 0,
        "NanoCpus": round((options.limits.cpus or 0) * 1_000_000_000),
        "PidsLimit": options.limits.pids,
        "Ulimits": [
            {"Name": limit.kind.removeprefix("RLIMIT_").lower(), "Soft": limit.soft, "Hard": limit.hard}
            for limit in options.rlimits
        ]
        or None,
        "Init": options.init,
    }


def _security(container: Container) -> list[str]:
    options = container.record.options
    found = ["no-new-privileges"] if options.no_new_privileges else []
    return found if options.confined else [*found, "seccomp=unconfined"]


def _bind(mount: MountOption) -> str:
    return f"{mount.source}:{mount.target}" + (":ro" if mount.readonly else "")


def _mount(containers: Containers, mount: MountOption) -> dict[str, Any]:
    found: dict[str, Any] = {"Type": mount.type}
    if mount.type == "volume" and mount.source is not None:
        volume = containers.volumes.get(mount.source)
        found |= {"Name": mount.source, "Source": str(volume.path) if volume else "", "Driver": "local"}
    else:
        found["Source"] = mount.source or ""
    return found | {
        "Destination": mount.target,
        "Mode": "",
        "RW": not mount.readonly,
        "Propagation": (mount.propagation or "rprivate") if mount.type == "bind" else "",
    }


def _config(container: Container) -> dict[str, Any]:
    from bennu.runtime.resolve import environment, working_directory

    record, options = container.record, container.record.options
    merged = {
        "Hostname": record.hostname,
        "User": record.config.user if options.user is None else options.user,
        "Tty": options.terminal,
        "OpenStdin": options.interactive,
        "Env": [
            item
            for item in environment(record.config.env, options.env, hostname="", home="", terminal=False)
            if item != "HOME="
        ],
        "Cmd": list(options.command if options.command is not None else record.config.cmd) or None,
        "Image": record.image_name,
        "WorkingDir": working_directory(record.config, options),
        "Entrypoint": list(record.config.entrypoint if options.entrypoint is None else options.entrypoint) or None,
        "Labels": dict(record.labels),
        "StopSignal": options.stop_signal or record.config.stop_signal or signal.SIGTERM.name,
        "StopTimeout": options.stop_timeout_seconds,
    }
    return container_config(record.config) | merged


def _network(attachments: tuple[Attachment, ...], network: str | None) -> dict[str, Any]:
    networks: Mapping[str, Any] = {
        each.network: {"IPAddress": each.address, "IPPrefixLen": each.prefix, "Gateway": each.gateway}
        for each in attachments
    } or {network or "bridge": {"IPAddress": "", "IPPrefixLen": 0, "Gateway": ""}}
    first = attachments[0] if attachments else None
    return {
        "SandboxKey": str(first.netns) if first else "",
        "IPAddress": first.address if first else "",
        "IPPrefixLen": first.prefix if first else 0,
        "Gateway": first.gateway if first else "",
        "Ports": {},
        "Networks": networks,
    }


def _moment(seconds: float | None) -> str:
    from bennu.oci.image_config import rfc3339

    return NEVER if seconds is None else rfc3339(seconds)
