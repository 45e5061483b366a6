"""Every key of the Compose Specification, and what bennu makes of it: one table a kind of mapping.

A key is supported, refused with a reason (leaving it out would change what runs), or warned about (it is accepted and
has no effect, for the reason given). ``check`` reports each key that is not supported, and each that is not known, at
its own place. To support a key, move it up here and read it in ``reader``; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from bennu.compose.fields import Field
from bennu.compose.problems import did_you_mean

Standing = Literal["supported", "refused", "warned"]


@dataclass(frozen=True, slots=True)
class Key:
    """What bennu makes of one key; ``reason`` completes the message, and is empty for a supported key."""

    standing: Standing
    reason: str = ""


Section = Mapping[str, Key]


def _section(supported: str, *, refused: dict[str, str] | None = None, warned: dict[str, str] | None = None) -> Section:
    """Keys by standing; a left side of ``refused`` or ``warned`` may name several keys."""
    table = {name: Key("supported") for name in supported.split()}
    for names, reason in (refused or {}).items():
        table.update({name: Key("refused", reason) for name in names.split()})
    for names, reason in (warned or {}).items():
        table.update({name: Key("warned", reason) for name in names.split()})
    return table


NOT_BUILT: Final = "is not supported by this version"
_FIXED_BY_BENNU: Final = "is not supported: bennu's default confinement holds for every replica"

PROJECT: Final = _section(
    "name services volumes networks x-bennu",
    refused={"include configs secrets models": NOT_BUILT},
    warned={"version": "is obsolete and has no effect"},
)

SERVICE: Final = _section(
    "build cap_add cap_drop command container_name cpus depends_on deploy entrypoint env_file environment expose "
    "extra_hosts healthcheck hostname image init labels mem_limit networks pids_limit ports profiles pull_policy "
    "read_only restart scale shm_size stop_grace_period stop_signal tmpfs ulimits user volumes working_dir x-bennu",
    refused={
        "annotations blkio_config cgroup cgroup_parent configs cpu_count cpu_percent cpu_period cpu_quota "
        "cpu_rt_period cpu_rt_runtime cpu_shares cpuset device_cgroup_rules devices dns dns_opt dns_search "
        "domainname extends external_links gpus group_add ipc label_file links mac_address mem_reservation "
        "mem_swappiness memswap_limit models network_mode oom_kill_disable oom_score_adj pid post_start "
        "pre_start pre_stop provider secrets storage_opt sysctls uts volumes_from": NOT_BUILT,
        "privileged userns_mode security_opt": _FIXED_BY_BENNU,
        "credential_spec isolation": "is not supported: it is for Windows only",
        "runtime": "is not supported: bennu chooses the runtime by a probe",
        "platform": "is not supported: images are of the host's platform",
        "use_api_socket": "is not supported: there is no daemon and so no API socket",
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
    "args context dockerfile target",
    refused={
        "additional_contexts dockerfile_inline entitlements extra_hosts isolation labels network no_cache "
        "platforms privileged secrets shm_size ssh tags ulimits": NOT_BUILT,
    },
    warned={
        "cache_from cache_to": "has no effect: the store's own cache is used",
        "provenance sbom": "has no effect: no attestation is made",
        "pull": "has no effect: base images are taken from the local store",
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
    refused={"placement": "is not supported: the embedded engine has one host"},
    warned={
        "endpoint_mode": "has no effect: every service has one stable address",
        "update_config rollback_config": "has no effect: bennu brings up a whole new set beside the old and switches",
    },
)
RESOURCES: Final = _section("limits reservations")
LIMITS: Final = _section("cpus memory pids")
RESERVATIONS: Final = _section("cpus memory", refused={"devices generic_resources": NOT_BUILT})
RESTART_POLICY: Final = _section("condition delay max_attempts window")

ENV_FILE: Final = _section("path required", refused={"format": NOT_BUILT})
ULIMIT: Final = _section("hard soft")

SERVICE_NETWORK: Final = _section(
    "",
    refused={
        "aliases driver_opts gw_priority interface_name ipv4_address ipv6_address link_local_ips mac_address "
        "priority": NOT_BUILT,
    },
)
NETWORK: Final = _section(
    "driver name",
    refused={"attachable driver_opts enable_ipv4 enable_ipv6 external internal ipam labels": NOT_BUILT},
)
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
        elif key.standing == "refused" and not value.is_null:
            field.problems.unsupported(f"{value.path}: {key.reason}", value.key_place)
        elif key.standing == "warned":
            field.problems.notice(f"{value.path}: {key.reason}", value.key_place)
    return True
