"""The seccomp profile of the distribution, as the OCI runtime specification's ``linux.seccomp``.

``convert`` (pure) resolves a profile in the containers format (``containers/common``, pkg/seccomp: ``archMap``, and
rules with conditions on architecture, capabilities and kernel) for one machine and one set of capabilities. ``load``
reads the profile that the distribution installs and keeps the result, compiled too, under the run directory, named by
a digest of all that it depends on. A host without a profile is refused: nothing runs unconfined because a package is
missing.
"""

from __future__ import annotations

import os
import re
from binascii import b2a_base64
from pathlib import Path
from typing import Any, Final

import msgspec

from bennu.digest import sha256_hex
from bennu.errors import Corrupt, Unavailable
from bennu.host.files import write_atomic
from bennu.runtime.spec import Filter

PROFILES: Final = (Path("/etc/containers/seccomp.json"), Path("/usr/share/containers/seccomp.json"))

_GO_NAMES: Final = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "i686": "x86",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}
_SCMP_NAMES: Final = {
    "x86_64": "SCMP_ARCH_X86_64",
    "aarch64": "SCMP_ARCH_AARCH64",
    "armv7l": "SCMP_ARCH_ARM",
    "i686": "SCMP_ARCH_X86",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "s390x": "SCMP_ARCH_S390X",
    "riscv64": "SCMP_ARCH_RISCV64",
}
_FORMAT: Final = 2


def load(cache: Path, capabilities: tuple[str, ...], machine: str, kernel: str) -> Filter:
    """The filter for ``capabilities`` (``CAP_…``) on ``machine`` (uname's) under ``kernel``.

    ``Unavailable`` if no profile is installed, ``Corrupt`` if it is not one.
    """
    for path in PROFILES:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        break
    else:
        raise Unavailable(
            f"no seccomp profile in {' or '.join(map(str, PROFILES))}",
            "install the package golang-github-containers-common",
        )
    inputs = (str(_FORMAT).encode(), data, " ".join(sorted(capabilities)).encode(), machine.encode(), kernel.encode())
    name = sha256_hex(" ".join(map(sha256_hex, inputs)).encode("ascii"))[:32]
    kept = cache / f"seccomp-{name}.json"
    try:
        return msgspec.json.decode(kept.read_bytes(), type=Filter)
    except FileNotFoundError:
        pass
    try:
        converted = convert(msgspec.json.decode(data), capabilities, machine, kernel)
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"seccomp profile {str(path)!r}: {error!r}") from error
    found = _compiled(converted)
    os.makedirs(cache, exist_ok=True)
    write_atomic(kept, msgspec.json.encode(found), durable=False)
    return found


def _compiled(profile: dict[str, Any]) -> Filter:
    from bennu.host.libseccomp import compile_filter

    program = compile_filter(profile)
    text = None if program is None else b2a_base64(program, newline=False).decode("ascii")
    return Filter(msgspec.Raw(msgspec.json.encode(profile)), text)


def convert(profile: dict[str, Any], capabilities: tuple[str, ...], machine: str, kernel: str) -> dict[str, Any]:
    """The OCI form of a profile. Rules whose conditions do not hold here are left out."""
    holds = frozenset(capabilities)
    rules = [
        _rule(rule)
        for rule in profile.get("syscalls") or ()
        if _applies(rule.get("includes") or {}, rule.get("excludes") or {}, holds, machine, kernel)
    ]
    result: dict[str, Any] = {
        "defaultAction": profile["defaultAction"],
        "architectures": _architectures(profile, machine),
        "syscalls": rules,
    }
    if profile.get("defaultErrnoRet") is not None:
        result["defaultErrnoRet"] = profile["defaultErrnoRet"]
    return result


def _architectures(profile: dict[str, Any], machine: str) -> list[str]:
    native = _SCMP_NAMES.get(machine)
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == native:
            return [native, *(entry.get("subArchitectures") or ())]
    return [native] if native else []


def _applies(
    includes: dict[str, Any], excludes: dict[str, Any], holds: frozenset[str], machine: str, kernel: str
) -> bool:
    go_name = _GO_NAMES.get(machine, machine)
    arches = includes.get("arches") or ()
    return (
        (not arches or go_name in arches)
        and holds.issuperset(includes.get("caps") or ())
        and not (includes.get("minKernel") and _is_older(kernel, includes["minKernel"]))
        and go_name not in (excludes.get("arches") or ())
        and holds.isdisjoint(excludes.get("caps") or ())
        and not (excludes.get("minKernel") and not _is_older(kernel, excludes["minKernel"]))
    )


def _is_older(kernel: str, than: str) -> bool:
    return _numbers(kernel) < _numbers(than)


def _numbers(release: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    names = rule.get("names") or [rule["name"]]
    result: dict[str, Any] = {"names": names, "action": rule["action"]}
    if rule.get("errnoRet") is not None:
        result["errnoRet"] = rule["errnoRet"]
    if rule.get("args"):
        result["args"] = [
            {key: arg[key] for key in ("index", "value", "valueTwo", "op") if key in arg} for arg in rule["args"]
        ]
    return result
