"""Every key of the Compose Specification, and what bennu makes of it: one table a kind of mapping.

A key is supported; or stated (it is understood, kept and printed, and refused for the reason given when the file is to
run, since leaving it out would change what runs); or refused at once; or warned about (it is accepted and has no
effect, for the reason given). ``check`` reports each key that is not supported, and each that is not known, at its own
place. To support a key, move it up here and read it in ``reader``; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from bennu.compose import shapes
from bennu.compose.fields import Field
from bennu.compose.nodes import plain
from bennu.compose.problems import did_you_mean

Standing = Literal["supported", "stated", "refused", "warned"]


@dataclass(frozen=True, slots=True)
class Key:
    """What bennu makes of one key; ``reason`` completes the message, and is empty for a supported key. ``shape``: what
    the value of a stated key looks like.
    """

    standing: Standing
    reason: str = ""
    shape: str = ""


Section = Mapping[str, Key]

NOT_BUILT: Final = "is not supported by this version"


def _section(
    supported: str,
    *,
    stated: dict[str, str] | None = None,
    reasons: dict[str, str] | None = None,
    refused: dict[str, str] | None = None,
    warned: dict[str, str] | None = None,
) -> Section:
    """Keys by standing; a left side may name several keys. ``stated`` gives shapes, ``reasons`` why some of these are
    not carried out; that of the others is that nobody has built it.
    """
    table = {name: Key("supported") for name in supported.split()}
    why = {name: reason for names, reason in (reasons or {}).items() for name in names.split()}
    for names, shape in (stated or {}).items():
        table.update({name: Key("stated", why.get(name, NOT_BUILT), shape) for name in names.split()})
    for names, reason in (refused or {}).items():
        table.update({name: Key("refused", reason) for name in names.split()})
    for names, reason in (warned or {}).items():
        table.update({name: Key("warned", reason) for name in names.split()})
    return table


_FIXED_BY_BENNU: Final = "is not supported: bennu's default confinement holds for every replica"

PROJECT: Final = _section(
    "name include services volumes networks configs secrets x-bennu",
    stated={"models": "mapping"},
    warned={"version": "is obsolete and has no effect"},
)

SERVICE: Final = _section(
    "build cap_add cap_drop command configs container_name cpu_shares cpus cpuset depends_on deploy dns dns_opt "
    "dns_search entrypoint env_file environment expose extends extra_hosts group_add healthcheck hostname image init "
    "label_file labels links mem_limit mem_reservation memswap_limit networks oom_score_adj pids_limit ports profiles "
    "pull_policy read_only restart scale secrets security_opt shm_size stop_grace_period stop_signal sysctls tmpfs "
    "ulimits user volumes working_dir x-bennu",
    stated={
        "annotations": "pairs",
        "blkio_config credential_spec provider storage_opt": "mapping",
        "cgroup cgroup_parent domainname ipc isolation mac_address network_mode pid platform runtime "
        "userns_mode uts": "text",
        "cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime": "text",
        "mem_swappiness": "whole",
        "device_cgroup_rules external_links volumes_from": "list",
        "devices": "list|mappings",
        "gpus": "text|mappings",
        "models": "list|mapping",
        "oom_kill_disable privileged use_api_socket": "flag",
        "post_start pre_start pre_stop": "mappings",
    },
    reasons={
        "privileged userns_mode": _FIXED_BY_BENNU,
        "credential_spec isolation cpu_count cpu_percent": "is not supported: it is for Windows only",
        "runtime": "is not supported: bennu chooses the runtime by a probe",
        "platform": "is not supported: images are of the host's platform",
        "use_api_socket": "is not supported: there is no daemon and so no API socket",
        "external_links": "is not supported: services of a project reach each other by their names",
        "provider models gpus": "is not supported: there is nothing on this host to provide it",
    },
    warned={
        "attach": "has no effect: bennu never attaches to a fleet's output; see bennu logs",
        "develop": "has no effect: what runs is never changed; see bennu apply",
        "logging": "has no effect: output is kept by bennu; see bennu logs",
        "pull_refresh_after": "has no effect: write pull_policy: every_12h",
        "stdin_open tty": "has no effect: a replica has no terminal",
    },
)

BUILD: Final = _section(
    "additional_contexts args context dockerfile dockerfile_inline entitlements extra_hosts labels network no_cache "
    "no_cache_filter platforms privileged pull shm_size ssh tags target ulimits",
    refused={
        "isolation": "is not supported: it is for Windows only",
        "secrets": "is not supported here: `bennu build --secret id=NAME,src=FILE` gives secrets to all services",
    },
    warned={
        "cache_from cache_to": "has no effect: the store's own cache is used",
        "provenance sbom": "has no effect: no attestation is made",
    },
)

PORT: Final = _section("app_protocol host_ip mode name protocol published target")

MOUNT: Final = _section(
    "bind read_only source target tmpfs type volume", warned={"consistency": "has no effect on Linux"}
)
MOUNT_BIND: Final = _section(
    "create_host_path propagation recursive",
    warned={"selinux": "has no effect: files are not relabelled"},
)
MOUNT_VOLUME: Final = _section("nocopy subpath", refused={"labels": NOT_BUILT})
MOUNT_TMPFS: Final = _section("mode size")

HEALTHCHECK: Final = _section("disable interval retries start_interval start_period test timeout")

DEPENDENCY: Final = _section("condition required restart")

DEPLOY: Final = _section(
    "labels mode replicas resources restart_policy",
    stated={"placement": "mapping"},
    reasons={"placement": "is not supported: the embedded engine has one host"},
    warned={
        "endpoint_mode": "has no effect: every service has one stable address",
        "update_config rollback_config": "has no effect: bennu brings up a whole new set beside the old and switches",
    },
)
RESOURCES: Final = _section("limits reservations")
LIMITS: Final = _section("cpus memory pids")
RESERVATIONS: Final = _section("cpus memory", stated={"devices generic_resources": "mappings"})
RESTART_POLICY: Final = _section("condition delay max_attempts window")

ENV_FILE: Final = _section("format path required")
EXTENDS: Final = _section("file service")
INCLUDE: Final = _section("env_file path project_directory")
FILE_SOURCE: Final = _section(
    "content environment external file labels name template_driver",
    stated={"driver": "text", "driver_opts": "mapping"},
)
"""A config or a secret at the top level."""
FILE_MOUNT: Final = _section("gid mode source target uid")
"""A config or a secret of a service."""
ULIMIT: Final = _section("hard soft")

SERVICE_NETWORK: Final = _section(
    "aliases driver_opts gw_priority interface_name ipv4_address ipv6_address link_local_ips mac_address priority"
)
NETWORK: Final = _section(
    "attachable driver driver_opts enable_ipv4 enable_ipv6 external internal ipam labels name",
)
IPAM: Final = _section("config driver options")
IPAM_CONFIG: Final = _section("aux_addresses gateway ip_range subnet")
VOLUME: Final = _section("driver driver_opts external labels name")
DRIVER_OPTS: Final = _section("device o type")

X_BENNU_PROJECT: Final = _section(
    "hooks jitter keep keep_frozen keep_warm max_age rebuild snapshot windows",
    refused={"engine host policy registry": NOT_BUILT},
)
X_BENNU: Final = _section(
    "canary exec probe quiesce validate watch writes",
    refused={"flight_recorder max_age userns": NOT_BUILT},
)
VALIDATION: Final = _section("body command contains headers http image method retries script status timeout")
HOOKS: Final = _section("drift_found failed hold_expiring post_switch post_validate pre_build pre_switch rolled_back")
HOOK: Final = _section("blocking command headers retries sign timeout url")
WATCH: Final = _section("compare for max_errors max_p99")
CANARY: Final = _section("compare for max_errors max_p99 min_requests weight")
COMPARISON: Final = _section("errors p99")
QUIESCE: Final = _section("command resume timeout")


def check(field: Field, section: Section, what: str) -> bool:
    """Report what is not supported in this mapping; False where it is no mapping. ``what`` names its kind."""
    if not field.expect_mapping():
        return False
    for name, value in field.entries():
        key = section.get(name)
        if key is None:
            if name.startswith("x-") and not what.startswith("x-"):
                continue
            known = [known for known, entry in section.items() if entry.standing != "refused"]
            message = f"{field.path or what}: key {name!r} is not known in {what}"
            field.problems.add(message, value.key_place, did_you_mean(name, known))
        elif key.standing == "stated" and not value.is_null:
            if shapes.check(value, key.shape):
                field.problems.stated(f"{value.path}: {key.reason}", value.key_place)
        elif key.standing == "refused" and not value.is_null:
            field.problems.unsupported(f"{value.path}: {key.reason}", value.key_place)
        elif key.standing == "warned":
            field.problems.notice(f"{value.path}: {key.reason}", value.key_place)
    return True


def stated(field: Field, section: Section) -> dict[str, Any]:
    """The values of the stated keys of a mapping, as they stand."""
    return {
        name: plain(value.node)
        for name, value in field.entries()
        if not value.is_null and (key := section.get(name)) is not None and key.standing == "stated"
    }
