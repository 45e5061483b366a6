"""The keys of a service that make its ``Confinement``, read and written.

Source: the Compose Specification, 05-services.md. ``security_opt`` may ask for what every replica has anyway; what
would weaken it is not carried out.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

import msgspec

from bennu.compose import values
from bennu.compose.confinement import Confinement
from bennu.compose.fields import Field

_CPUSET: Final = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_NAMESPACED: Final = ("net.", "kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")
_ALWAYS: Final = frozenset(
    {"no-new-privileges", "no-new-privileges:true", "no-new-privileges=true", "label:disable", "label=disable"}
)
"""What every replica has, and what means nothing where there is no SELinux."""


def read_confinement(service: Field) -> Confinement:
    """The keys of a service; what is wrong is reported."""
    shares, score = service.get("cpu_shares"), service.get("oom_score_adj")
    reserved, swap = service.get("mem_reservation"), service.get("memswap_limit")
    return Confinement(
        cpu_shares=shares.integer(0) or None if shares else None,
        cpuset=_cpuset(service.get("cpuset")),
        dns=_servers(service.get("dns")),
        dns_opt=_words(service.get("dns_opt")),
        dns_search=_words(service.get("dns_search")),
        group_add=_words(service.get("group_add")),
        mem_reservation_bytes=reserved.read(values.size_bytes) or None if reserved else None,
        memswap_bytes=_swap(swap),
        oom_score_adj=_score(score),
        sysctls=_sysctls(service.get("sysctls")),
    )


def check_security(field: Field | None) -> None:
    """Say which options of ``security_opt`` would weaken what holds for every replica."""
    for item in field.items() if field else ():
        text = item.text()
        if text is not None and text not in _ALWAYS:
            reason = "is not supported: bennu's default confinement holds for every replica"
            item.problems.stated(f"{item.path}: {text!r} {reason}", item.place)


def rendered(found: Confinement) -> dict[str, Any]:
    """The keys as a fleet file has them."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    reserved, swap = plain.pop("mem_reservation_bytes", None), plain.pop("memswap_bytes", None)
    sizes = {"mem_reservation": reserved, "memswap_limit": swap}
    return {**plain, **{name: str(size) for name, size in sizes.items() if size is not None}}


def _words(field: Field | None) -> tuple[str, ...]:
    texts = (item.filled() for item in field.items_or_one()) if field else ()
    return tuple(dict.fromkeys(text for text in texts if text is not None))


def _servers(field: Field | None) -> tuple[str, ...]:
    found = []
    for item in field.items_or_one() if field else ():
        text = item.filled()
        try:
            found.append(str(ipaddress.ip_address(text or "")))
        except ValueError:
            item.fail(f"{text!r} is no address of a name server")
    return tuple(found)


def _cpuset(field: Field | None) -> str | None:
    text = field.filled() if field else None
    if field is not None and text is not None and not _CPUSET.fullmatch(text):
        field.fail(f"{text!r} is no set of processors", "write 0-3 or 0,2")
        return None
    return text


def _swap(field: Field | None) -> int | None:
    if field is None or field.text() in {"0", None}:
        return None
    return -1 if field.text() == "-1" else field.read(values.size_bytes)


def _score(field: Field | None) -> int | None:
    value = field.integer() if field else None
    if field is not None and value is not None and not -1000 <= value <= 1000:
        field.fail(f"{value} is not between -1000 and 1000")
        return None
    return value


def _sysctls(field: Field | None) -> dict[str, str]:
    found = {}
    for name, value, place in field.pairs() if field else ():
        if not name.startswith(_NAMESPACED):
            place.fail(f"{name!r} is the whole host's, not a replica's", "set it on the host")
        else:
            found[name] = value or ""
    return found
