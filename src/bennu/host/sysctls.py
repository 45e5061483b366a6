"""Settings of the kernel below /proc/sys, read in bulk: as names with dots and their values.

What changes by itself (counters, random numbers, what the kernel tunes as it goes) is left out, and so is what cannot
be read. Those of the network and of System V's IPC are the calling thread's namespaces'.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

from bennu.host.tasks import read

TOP: Final = "/proc/sys/"
INSIDE: Final = (
    "net/core", "net/ipv4", "net/ipv6", "net/bridge", "net/unix", "fs/mqueue",
    "kernel/shmmax", "kernel/shmall", "kernel/shmmni", "kernel/shm_rmid_forced", "kernel/sem", "kernel/msgmax",
    "kernel/msgmnb", "kernel/msgmni", "kernel/domainname",
)  # fmt: skip
"""What a container has of its own."""
HOST: Final = ("kernel", "vm", "fs", "net/core", "net/ipv4", "net/ipv6/conf/all", "net/ipv6/conf/default", "net/bridge",
               "net/netfilter", "user")  # fmt: skip
_SKIPPED: Final = re.compile(
    r"/neigh/|/conf/(?!all/|default/|lo/|eth\d)|available|allowed_congestion|fastopen_key|stable_secret|_seed$"
    r"|kernel/(random|ns_last_pid|pty/|sched_domain|perf_event_max_sample|tainted|usermodehelper|keys/|cap_last"
    r"|seccomp/actions_avail|firmware_config|overflow|cad_pid|acpi_video|hostname|spl/)"
    r"|fs/(binfmt_misc|dentry-state|inode-|file-nr|aio-nr|quota|epoll|nfs|xfs/stats|fanotify|inotify)"
    r"|(_count|nf_log/.*|nf_conntrack_buckets)$|vm/(stat_|drop_caches|compact_memory)|flush$"
)


def settings(places: tuple[str, ...]) -> dict[str, str]:
    """The settings below these places (``net/ipv4``) that can be read: ``net.ipv4.ip_forward`` -> ``1``."""
    return {path.replace("/", "."): value for place in places for path, value in _walk(place)}


def _walk(place: str) -> Iterator[tuple[str, str]]:
    whole = TOP + place
    if os.path.isdir(whole):
        try:
            names = sorted(os.listdir(whole))
        except OSError:
            return
        for name in names:
            below = f"{place}/{name}"
            if not _SKIPPED.search(below):
                yield from _walk(below)
        return
    value = read(whole)
    if value:
        yield place, " ".join(value.decode(errors="replace").split())
