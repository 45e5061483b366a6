"""Processes as /proc shows them: who they are, whose children, how confined, in which namespaces. Read in bulk.

Every process is a few files, each read with one system call; one that ends meanwhile is None or left out. The texts
are taken apart by functions of their own, which tests call with other kernels' words. Source: proc(5).
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cache
from typing import Final, NamedTuple

READ_BYTES: Final = 1 << 16
_OCTAL: Final = re.compile(rb"\\([0-7]{3})")
_NAMESPACES: Final = ("mnt", "net", "pid")


class Task(NamedTuple):
    """A process. ``started`` in clock ticks since the boot; capabilities are the kernel's bit sets.

    ``outside``: its session was begun by a process outside its own pid namespace, which can only have come in.
    ``groups`` are the supplementary ones.
    """

    pid: int
    parent: int
    name: str
    started: int
    outside: bool
    uid: int
    gid: int
    groups: tuple[int, ...]
    bounding: int
    effective: int
    no_new_privileges: bool
    seccomp: int


class Namespaces(NamedTuple):
    """The identities of a process's namespaces."""

    mount: int
    network: int
    pid: int


class MountEntry(NamedTuple):
    """One line of mountinfo. ``root`` is what of the file system is mounted; ``source`` as it was given."""

    device: str
    root: str
    target: str
    options: tuple[str, ...]
    kind: str
    source: str
    is_readonly_below: bool


def read(path: str) -> bytes:
    """What a file of /proc, /sys or the control groups says; empty where it is not (any more)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    chunks = []
    try:
        while chunk := os.read(fd, READ_BYTES):
            chunks.append(chunk)
            if len(chunk) < 4096 and len(chunks) == 1 and not path.endswith("mountinfo"):
                break  # these files give all they have at once
    except OSError:
        return b"".join(chunks)
    finally:
        os.close(fd)
    return b"".join(chunks)


def all_pids() -> list[int]:
    """The pids of all processes of the host."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def namespaces(pid: int) -> Namespaces | None:
    """The namespaces of a process; None where it has ended."""
    try:
        return Namespaces(*(os.stat(f"/proc/{pid}/ns/{kind}").st_ino for kind in _NAMESPACES))
    except OSError:
        return None


def look(pid: int) -> Task | None:
    """A process; None where it has ended (a zombie has)."""
    return parse_task(pid, read(f"/proc/{pid}/stat"), read(f"/proc/{pid}/status"))


def parse_task(pid: int, stat: bytes, status: bytes) -> Task | None:
    """A process from the texts of ``stat`` and ``status``."""
    words = stat.rpartition(b")")[2].split()
    fields = dict(line.split(b":", 1) for line in status.splitlines() if b":" in line)
    if len(words) < 20 or words[0] in {b"Z", b"X"} or b"CapBnd" not in fields:
        return None
    session = fields.get(b"NSsid", b"").split()
    return Task(
        pid=pid,
        parent=int(words[1]),
        name=fields[b"Name"].strip().decode(errors="replace"),
        started=int(words[19]),
        outside=len(session) > 1 and session[-1] == b"0",
        uid=int(fields[b"Uid"].split()[1]),
        gid=int(fields[b"Gid"].split()[1]),
        groups=tuple(map(int, fields.get(b"Groups", b"").split())),
        bounding=int(fields[b"CapBnd"], 16),
        effective=int(fields[b"CapEff"], 16),
        no_new_privileges=fields.get(b"NoNewPrivs", b"0").strip() == b"1",
        seccomp=int(fields.get(b"Seccomp", b"0")),
    )


def parent_of(pid: int) -> int:
    """The parent's pid; 0 where there is none."""
    words = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(words[1]) if len(words) > 1 else 0


def command_line(pid: int) -> tuple[str, ...]:
    """The words that a process shows; its name in brackets where it shows none."""
    words = read(f"/proc/{pid}/cmdline").rstrip(b"\0").split(b"\0")
    if words == [b""]:
        return (f"[{read(f'/proc/{pid}/comm').strip().decode(errors='replace')}]",)
    return tuple(word.decode(errors="replace") for word in words)


def environment(pid: int) -> dict[str, str] | None:
    """What a process was given as its environment; None where it has written over it (as nginx does, for its title)."""
    return parse_environment(read(f"/proc/{pid}/environ"))


def parse_environment(data: bytes) -> dict[str, str] | None:
    """The variables of ``environ``; None where it does not hold variables any more."""
    found: dict[str, str] = {}
    if not data.endswith(b"\0"):
        return None
    for item in data[:-1].split(b"\0"):
        name, equals, value = item.partition(b"=")
        if not equals or not name:
            return None
        found[name.decode(errors="replace")] = value.decode(errors="replace")
    return found


def limits(pid: int) -> dict[str, tuple[str, str]]:
    """The resource limits of a process: soft and hard, by the kernel's names (``Max open files``)."""
    return parse_limits(read(f"/proc/{pid}/limits"))


def parse_limits(data: bytes) -> dict[str, tuple[str, str]]:
    """As ``limits``."""
    found = {}
    for line in data.decode(errors="replace").splitlines()[1:]:
        words = line[26:].split()
        if len(words) >= 2:
            found[line[:26].strip()] = (words[0], words[1])
    return found


def oom_score_adj(pid: int) -> str:
    """How much sooner or later the kernel ends it for want of memory."""
    return read(f"/proc/{pid}/oom_score_adj").strip().decode()


def mount_table(pid: int) -> tuple[MountEntry, ...]:
    """Everything that is mounted where a process is."""
    return parse_mounts(read(f"/proc/{pid}/mountinfo"))


def parse_mounts(data: bytes) -> tuple[MountEntry, ...]:
    """As ``mount_table``."""
    found = []
    for line in data.splitlines():
        before, _, after = line.partition(b" - ")
        words, rest = before.split(b" "), after.split(b" ")
        if len(words) < 6 or len(rest) < 3:
            continue
        found.append(
            MountEntry(
                device=words[2].decode(),
                root=_plain(words[3]),
                target=_plain(words[4]),
                options=tuple(words[5].decode().split(",")),
                kind=rest[0].decode(),
                source=_plain(rest[1]),
                is_readonly_below=b"ro" in rest[2].split(b","),
            )
        )
    return tuple(found)


def _plain(word: bytes) -> str:
    return _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), word).decode(errors="surrogateescape")


@cache
def booted() -> float:
    """When the host was started, in Unix seconds."""
    for line in read("/proc/stat").splitlines():
        if line.startswith(b"btime "):
            return float(line.split()[1])
    return 0.0


def start_of(task: Task) -> float:
    """When a process was started, in Unix seconds."""
    return booted() + task.started / os.sysconf("SC_CLK_TCK")


def tree(pids: list[int]) -> dict[int, Task]:
    """These processes, without those that have ended."""
    found = {}
    for pid in pids:
        task = look(pid)
        if task is not None:
            found[pid] = task
    return found


def executable(pid: int) -> str:
    """The program that a process executes; with `` (deleted)`` where its file is not there any more."""
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/exe")
    return ""
