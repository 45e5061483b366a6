"""What surrounds a replica's processes besides its limits: resolver, groups, kernel parameters, shares. Values.

Pure. ``confining`` reads and renders them.
"""

from __future__ import annotations

from bennu.compose.struct import Value


class Confinement(Value, frozen=True, kw_only=True, omit_defaults=True):
    """All of it; what is None or empty is the default. Sizes in bytes, ``memswap_bytes`` of memory and swap together,
    -1 for no limit.
    """

    cpu_shares: int | None = None
    cpuset: str | None = None
    dns: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()
    mem_reservation_bytes: int | None = None
    memswap_bytes: int | None = None
    oom_score_adj: int | None = None
    sysctls: dict[str, str] = {}
