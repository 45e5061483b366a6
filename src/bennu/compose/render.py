"""A ``Project`` written back as a fleet file, in long forms: what ``bennu config`` prints.

Reading the result gives the same project again (a test holds that), so literal dollar signs are doubled. Keys are
sorted and the text is the same for the same project, whoever writes it and wherever.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
import yaml as pyyaml

from bennu.compose.attachments import FileMount, FileSource, Network
from bennu.compose.canonical import plain
from bennu.compose.confining import rendered
from bennu.compose.extension import (
    Canary,
    Given,
    Hook,
    Quiesce,
    Tolerance,
    Validation,
    Watch,
    XBennu,
    XBennuProject,
)
from bennu.compose.model import (
    Build,
    DependsOn,
    Deploy,
    Healthcheck,
    Mount,
    Port,
    Project,
    Resources,
    Restart,
    Service,
    Volume,
)
from bennu.compose.nodes import core_kind
from bennu.compose.values import duration_text
from bennu.compose.windows import window_text

_POLICY_CONDITIONS: Final = {"no": "none", "on-failure": "on-failure", "always": "any"}
_PLAIN: Final = ("image", "user", "working_dir", "hostname", "container_name", "read_only", "init", "stop_signal")


def compose_document(project: Project) -> dict[str, Any]:
    """The project as a Compose file's mappings and lists: JSON-ready, keys sorted, ``name`` first."""
    services = {name: _service(service) for name, service in project.services.items()}
    rest = {
        "services": services,
        "networks": {key: _network(network) for key, network in project.networks.items()},
        "configs": {key: _source(source) for key, source in project.configs.items()},
        "secrets": {key: _source(source) for key, source in project.secrets.items()},
        **project.other,
        "volumes": {key: _volume(volume) for key, volume in project.volumes.items()},
        "x-bennu": _x_bennu_project(project.x_bennu),
        **project.extensions,
    }
    escaped = _sorted(_escaped({key: value for key, value in rest.items() if value}))
    return {"name": project.name, **escaped}


def yaml_text(document: dict[str, Any]) -> str:
    """YAML that reads the same under YAML 1.1 and 1.2, with a line break at the end."""
    return str(pyyaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20))


def _without_none(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value is not None}


def _service(service: Service) -> dict[str, Any]:
    check, grace, shm = service.healthcheck, service.stop_grace_period_seconds, service.shm_size_bytes
    found = {
        **{key: getattr(service, key) for key in _PLAIN},
        "build": _build(service.build) if service.build else None,
        "command": _words(service.command),
        "entrypoint": _words(service.entrypoint),
        "environment": service.environment or None,
        "labels": service.labels or None,
        "ports": [_port(port) for port in service.ports] or None,
        "expose": [f"{port.target}/{port.protocol}" for port in service.expose] or None,
        "volumes": [_mount(mount) for mount in service.mounts if not _is_short_tmpfs(mount)] or None,
        "tmpfs": [_tmpfs(mount) for mount in service.mounts if _is_short_tmpfs(mount)] or None,
        "healthcheck": _healthcheck(check) if check else None,
        "depends_on": {name: _dependency(each) for name, each in service.depends_on.items()} or None,
        "deploy": _deploy(service.deploy, service.restart) or None,
        "pull_policy": service.pull_policy,
        "restart": _short_restart(service.restart),
        "stop_grace_period": duration_text(grace) if grace is not None else None,
        "cap_add": list(service.cap_add) or None,
        "cap_drop": list(service.cap_drop) or None,
        "extra_hosts": {name: list(addresses) for name, addresses in service.extra_hosts.items()} or None,
        "ulimits": plain(service.ulimits) or None,
        "shm_size": str(shm) if shm is not None else None,
        "profiles": list(service.profiles) or None,
        "links": [f"{target}:{name}" for name, target in service.links.items()] or None,
        **rendered(service.confinement),
        "networks": _attachments(service),
        "configs": [_file_mount(mount) for mount in service.configs] or None,
        "secrets": [_file_mount(mount) for mount in service.secrets] or None,
        **service.other,
        "x-bennu": _x_bennu(service.x_bennu) or None,
    }
    return {**_without_none(found), **service.extensions}


def _attachments(service: Service) -> dict[str, Any] | None:
    if "network_mode" in service.other:
        return None
    return {name: plain(each) or None for name, each in service.networks.items()} or {"default": None}


def _file_mount(mount: FileMount) -> dict[str, Any]:
    owner = {"uid": mount.uid, "gid": mount.gid}
    numbers = {key: str(number) for key, number in owner.items() if number is not None}
    return {"source": mount.source, "target": mount.target, **numbers, "mode": f"0{mount.mode:o}"}


def _source(source: FileSource) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(source, extensions={}, other={}))
    return {**found, **source.other, **source.extensions}


def _network(network: Network) -> dict[str, Any]:
    bare = msgspec.structs.replace(network, extensions={}, subnets=(), ipam_driver=None, ipam_options={})
    found: dict[str, Any] = msgspec.to_builtins(bare)
    ipam = {
        "driver": network.ipam_driver,
        "options": network.ipam_options or None,
        "config": [plain(subnet) for subnet in network.subnets] or None,
    }
    return _without_none({**found, "ipam": _without_none(ipam) or None, **network.extensions})


def _words(words: tuple[str, ...] | None) -> list[str] | None:
    return None if words is None else list(words)


def _build(build: Build) -> dict[str, Any]:
    found = {
        "context": build.context,
        "dockerfile": build.dockerfile if build.dockerfile_inline is None else None,
        "dockerfile_inline": build.dockerfile_inline,
        "target": build.target,
        "network": build.network,
        "shm_size": build.shm_size_bytes,
        "no_cache": build.no_cache or None,
        "pull": build.pull or None,
    }
    several = {
        "args": build.args,
        "additional_contexts": build.additional_contexts,
        "entitlements": list(build.entitlements),
        "extra_hosts": {name: list(each) for name, each in build.extra_hosts.items()},
        "labels": build.labels,
        "no_cache_filter": list(build.no_cache_filter),
        "platforms": list(build.platforms),
        "ssh": list(build.ssh),
        "tags": list(build.tags),
        "ulimits": {name: {"soft": each.soft, "hard": each.hard} for name, each in build.ulimits.items()},
    }
    return {**_without_none(found), **{key: value for key, value in several.items() if value}}


def _port(port: Port) -> dict[str, Any]:
    return _without_none(
        {
            "mode": port.mode,
            "host_ip": port.host_ip,
            "target": port.target,
            "published": str(port.published) if port.published is not None else None,
            "protocol": port.protocol,
            "app_protocol": port.app_protocol,
            "name": port.name,
        }
    )


def _is_short_tmpfs(mount: Mount) -> bool:
    """Only the short form of a tmpfs knows owner and exec; the long one in ``volumes`` does for all others."""
    return mount.type == "tmpfs" and (mount.exec or mount.uid is not None or mount.gid is not None)


def _tmpfs(mount: Mount) -> str:
    options = {
        "ro": mount.read_only,
        "exec": mount.exec,
        f"size={mount.size_bytes}": mount.size_bytes is not None,
        f"mode={mount.mode or 0:o}": mount.mode is not None,
        f"uid={mount.uid}": mount.uid is not None,
        f"gid={mount.gid}": mount.gid is not None,
    }
    return f"{mount.target}:" + ",".join(option for option, wanted in options.items() if wanted)


def _mount(mount: Mount) -> dict[str, Any]:
    found: dict[str, Any] = {"type": mount.type, "source": mount.source, "target": mount.target}
    found["read_only"] = True if mount.read_only else None
    if mount.type == "bind":
        found["bind"] = _without_none(
            {
                "create_host_path": mount.create_host_path,
                "propagation": mount.propagation,
                "recursive": None if mount.recursive else "disabled",
            }
        )
    elif mount.type == "volume":
        found["volume"] = _without_none({"nocopy": mount.nocopy or None, "subpath": mount.subpath}) or None
    else:
        size = str(mount.size_bytes) if mount.size_bytes is not None else None
        mode = f"0o{mount.mode:o}" if mount.mode is not None else None
        found["tmpfs"] = _without_none({"size": size, "mode": mode}) or None
    return _without_none(found)


def _healthcheck(check: Healthcheck) -> dict[str, Any]:
    if check.disabled:
        return {"disable": True}
    seconds = {
        "interval": check.interval_seconds,
        "timeout": check.timeout_seconds,
        "start_period": check.start_period_seconds,
        "start_interval": check.start_interval_seconds,
    }
    found = {key: duration_text(value) if value is not None else None for key, value in seconds.items()}
    return _without_none({"test": _words(check.test), "retries": check.retries, **found})


def _dependency(dependency: DependsOn) -> dict[str, Any]:
    restart = {"restart": True} if dependency.restart else {}
    return {"condition": dependency.condition, "required": dependency.required, **restart}


def _amounts(amounts: Resources) -> dict[str, Any] | None:
    memory = amounts.memory_bytes
    found = {"cpus": amounts.cpus, "memory": str(memory) if memory is not None else None, "pids": amounts.pids}
    return _without_none(found) or None


def _deploy(deploy: Deploy, restart: Restart | None) -> dict[str, Any]:
    resources = {"limits": _amounts(deploy.limits), "reservations": _amounts(deploy.reservations)}
    found = {
        "replicas": deploy.replicas if deploy.replicas != 1 else None,
        "labels": deploy.labels or None,
        "resources": _without_none(resources) or None,
        "restart_policy": _restart_policy(restart) if _needs_policy(restart) and restart else None,
    }
    return _without_none(found)


def _needs_policy(restart: Restart | None) -> bool:
    """``restart`` alone cannot say delays, nor how often for any condition but on-failure."""
    if restart is None:
        return False
    counted = restart.max_attempts is not None and restart.condition != "on-failure"
    return counted or restart.delay_seconds is not None or restart.window_seconds is not None


def _restart_policy(restart: Restart) -> dict[str, Any]:
    delay, window = restart.delay_seconds, restart.window_seconds
    return _without_none(
        {
            "condition": _POLICY_CONDITIONS[restart.condition],
            "max_attempts": restart.max_attempts,
            "delay": duration_text(delay) if delay is not None else None,
            "window": duration_text(window) if window is not None else None,
        }
    )


def _short_restart(restart: Restart | None) -> str | None:
    if restart is None or _needs_policy(restart):
        return None
    times = "" if restart.max_attempts is None else f":{restart.max_attempts}"
    return f"{restart.condition}{times}"


def _volume(volume: Volume) -> dict[str, Any]:
    found = {
        "name": volume.name,
        "external": volume.external or None,
        "labels": volume.labels or None,
        "driver": volume.driver,
        "driver_opts": volume.driver_opts or None,
    }
    return {**_without_none(found), **volume.extensions}


def _x_bennu(settings: XBennu) -> dict[str, Any]:
    probe = settings.probe
    path = probe.path if probe and probe.kind == "http" else ""
    written = f"{probe.kind}://:{probe.port}{path}" if probe else None
    found = {
        "exec": settings.exec or None,
        "probe": written,
        "writes": settings.writes,
        "validate": [_validation(one) for one in settings.validate] or None,
        "canary": _canary(settings.canary) if settings.canary else None,
        "watch": _watch(settings.watch) if settings.watch else None,
        "quiesce": _quiesce(settings.quiesce) if settings.quiesce else None,
    }
    return _without_none(found)


def _validation(one: Validation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "command": list(one.command) or None,
        "script": list(one.script) or None,
        "image": one.image,
        "timeout": duration_text(one.timeout_seconds),
        "retries": one.retries or None,
    }
    if one.http is not None:
        found |= {
            "http": f"http://:{one.http.port}{one.http.path}",
            "method": one.http.method,
            "headers": one.http.headers or None,
            "body": one.http.body,
            "status": list(one.http.status) or None,
            "contains": list(one.http.contains) or None,
        }
    return _without_none(found)


def _watch(watch: Watch) -> dict[str, Any]:
    return {"for": duration_text(watch.seconds), **_tolerance(watch)}


def _canary(canary: Canary) -> dict[str, Any]:
    found = {"weight": f"{canary.percent}%", "for": duration_text(canary.seconds), "min_requests": canary.min_requests}
    return {**_without_none(found), **_tolerance(canary)}


def _tolerance(limits: Tolerance) -> dict[str, Any]:
    slower = _share(limits.more_p99_share) or _time(limits.more_p99_seconds)
    compared = _without_none({"errors": _share(limits.more_error_share), "p99": slower})
    found = {"max_errors": _share(limits.max_error_share), "max_p99": _time(limits.max_p99_seconds)}
    return _without_none({**found, "compare": compared or None})


def _share(share: float | None) -> str | None:
    if share is None:
        return None
    percent = f"{share * 100:g}%"
    return percent if float(percent[:-1]) / 100 == share else str(share)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else duration_text(seconds)


def _quiesce(quiesce: Quiesce) -> dict[str, Any]:
    found = {"command": list(quiesce.command), "resume": list(quiesce.resume) or None}
    return {**_without_none(found), "timeout": duration_text(quiesce.timeout_seconds)}


def _x_bennu_project(settings: XBennuProject) -> dict[str, Any]:
    if settings == XBennuProject():
        return {}
    age = settings.max_age_seconds
    found = {
        "keep": settings.keep,
        "keep_frozen": settings.keep_frozen,
        "keep_warm": duration_text(settings.keep_warm_seconds),
        "max_age": duration_text(age) if age is not None else None,
        "rebuild": settings.rebuild or None,
        "windows": [window_text(one) for one in settings.windows] or None,
        "jitter": duration_text(settings.jitter_seconds) if settings.jitter_seconds else None,
        "snapshot": list(settings.snapshot) or None,
        "hooks": {name: [_hook(hook) for hook in found] for name, found in settings.hooks.by_event.items()} or None,
    }
    return _without_none(found)


def _hook(hook: Hook) -> dict[str, Any]:
    found: dict[str, Any] = {
        "command": list(hook.command) or None,
        "url": hook.url,
        "headers": {name: _given(given) for name, given in hook.headers.items()} or None,
        "sign": _given(hook.sign) if hook.sign else None,
        "timeout": duration_text(hook.timeout_seconds),
        "retries": hook.retries,
        "blocking": hook.blocking or None,
    }
    return _without_none(found)


def _given(given: Given) -> Any:
    return given.text if given.text is not None else _without_none({"env": given.variable, "file": given.file})


def _escaped(value: Any) -> Any:
    """Dollar signs doubled in all values, so that reading them gives them back."""
    if isinstance(value, dict):
        return {key: _escaped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(inner) for inner in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def _sorted(value: Any) -> Any:
    """Mappings by key. ``depends_on`` and all others alike: no order within a mapping means anything."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(inner) for inner in value] if isinstance(value, list) else value


class _Dumper(pyyaml.CSafeDumper):
    """Quotes every string that either YAML would take for something else, and shows lines as lines."""

    def ignore_aliases(self, _data: object) -> bool:
        """Write equal parts out; an alias would depend on identities."""
        return True


def _represent_string(dumper: _Dumper, text: str) -> pyyaml.ScalarNode:
    style = None
    if "\n" in text and not re.search(r"[^\S\n]\n|[^\S\n]\Z|\A\s|[^\n\t\x20-\x7e\xa0-\ud7ff]", text):
        style = "|"
    elif core_kind(text) != "str":
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_string)
