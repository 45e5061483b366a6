"""Settings of the kernel below /proc/sys, read in bulk: as names with dots and their values.

What changes by itself (counters, random numbers, what the kernel tunes as it goes) is left out, and so is what cannot
be read. Those of the network and of System V's IPC are the calling thread's namespaces'.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

TOP: Final = "/proc/sys/"
_READ: Final = os.O_RDONLY | os.O_CLOEXEC
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
    return read_all(names(places))


def names(places: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """What there is below these places: path and name. It takes longer than to read them, and holds for every network
    with the same interfaces.
    """
    return tuple((path, path.replace("/", ".")) for place in places for path in _below(place))


def read_all(wanted: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """These settings; what cannot be read is left out."""
    found: dict[str, str] = {}
    top = os.open(TOP, os.O_PATH | os.O_CLOEXEC)
    try:
        for path, name in wanted:
            try:
                fd = os.open(path, _READ, dir_fd=top)
            except OSError:
                continue
            try:
                value = os.read(fd, 4096)
            except OSError:
                continue
            finally:
                os.close(fd)
            if value:
                found[name] = " ".join(value.decode(errors="replace").split())
    finally:
        os.close(top)
    return found


def _below(place: str) -> Iterator[str]:
    whole = TOP + place
    if not os.path.isdir(whole):
        yield place
        return
    try:
        entries = sorted(os.listdir(whole))
    except OSError:
        return
    for name in entries:
        below = f"{place}/{name}"
        if not _SKIPPED.search(below):
            yield from _below(below)
