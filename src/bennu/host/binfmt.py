"""Which machines' programs this host runs besides its own: the kernel's table of interpreters (binfmt_misc).

Source: the kernel's admin-guide/binfmt-misc.rst, and the ELF specification for the head of a program. An interpreter
counts only if the kernel holds it open (flag F): another one would have to be in every container.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

TABLE: Final = Path("/proc/sys/fs/binfmt_misc")
_NO_ENTRIES: Final = frozenset({"register", "status"})
_EXECUTABLE: Final = 2


class Machine(NamedTuple):
    """How an ELF file says what it runs on: 64 or 32 bits, byte order, and the number of the machine."""

    bits: int
    is_little: bool
    number: int


_MACHINES: Final = {
    "386": Machine(32, True, 3),
    "amd64": Machine(64, True, 62),
    "arm": Machine(32, True, 40),
    "arm64": Machine(64, True, 183),
    "loong64": Machine(64, True, 258),
    "mips64le": Machine(64, True, 8),
    "ppc64le": Machine(64, True, 21),
    "riscv64": Machine(64, True, 243),
    "s390x": Machine(64, False, 22),
}
_NATIVE: Final = {"amd64": frozenset({"386"}), "arm64": frozenset({"arm"})}


class Interpreter(NamedTuple):
    """An entry of the table: bytes that a program begins with, under a mask."""

    magic: bytes
    mask: bytes
    is_held: bool

    def runs(self, head: bytes) -> bool:
        """Whether a file with this head is given to it."""
        start = head[: len(self.magic)]
        return len(start) == len(self.magic) and all(
            (mine ^ theirs) & mask == 0 for mine, theirs, mask in zip(self.magic, start, self.mask, strict=True)
        )


def can_run(architecture: str, host: str, table: Path = TABLE) -> bool:
    """Whether programs for an architecture run on this host (both by Go's names): itself, or by an interpreter."""
    if architecture == host or architecture in _NATIVE.get(host, ()):
        return True
    machine = _MACHINES.get(architecture)
    return machine is not None and any(each.is_held and each.runs(_head(machine)) for each in _interpreters(table))


def parse_interpreter(text: str) -> Interpreter | None:
    """An entry of the table; None for one that is off, or that goes by names."""
    lines = text.splitlines()
    fields = dict(line.partition(" ")[::2] for line in lines)
    if not lines or lines[0] != "enabled" or "magic" not in fields or fields.get("offset", "0") != "0":
        return None
    magic = bytes.fromhex(fields["magic"])
    mask = bytes.fromhex(fields["mask"]) if "mask" in fields else b"\xff" * len(magic)
    return Interpreter(magic, mask, "F" in fields.get("flags:", ""))


def _interpreters(table: Path) -> Iterator[Interpreter]:
    try:
        names = sorted(set(os.listdir(table)) - _NO_ENTRIES)
    except OSError:
        return
    for name in names:
        try:
            found = parse_interpreter((table / name).read_text())
        except (OSError, ValueError):
            continue
        if found is not None:
            yield found


def _head(machine: Machine) -> bytes:
    """The head of an ELF program: up to and including its machine."""
    order: Literal["little", "big"] = "little" if machine.is_little else "big"
    ident = b"\x7fELF" + bytes((machine.bits // 32, 1 if machine.is_little else 2, 1)) + bytes(9)
    return ident + _EXECUTABLE.to_bytes(2, order) + machine.number.to_bytes(2, order)
