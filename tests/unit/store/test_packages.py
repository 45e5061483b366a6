"""The records of package managers, whole and damaged."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.store.packages import Package, PackageChange, apk, changes, dpkg, dpkg_list, rpm

STATUS = b"""\
Package: libc6
Status: install ok installed
Multi-Arch: same
Architecture: amd64
Version: 2.36-9
Description: a library
 Version: 9 is no field, as it is indented

Package: gone
Status: deinstall ok config-files
Version: 1

Package: held
Status: hold ok installed
Architecture: all
Version: 3
"""

INSTALLED = b"""\
C:Q1abc=
P:musl
V:1.2.4-r2
A:x86_64
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
F:
R:top

P:busybox
V:1.36.1-r5
"""


def header(tags: dict[int, tuple[int, list[bytes] | list[int]]]) -> bytes:
    index, store = b"", b""
    for tag, (kind, values) in tags.items():
        index += struct.pack(">IIII", tag, kind, len(store), len(values))
        packed = [struct.pack(">I", one) if isinstance(one, int) else one + b"\0" for one in values]
        store += b"".join(packed)
    return struct.pack(">II", len(tags), len(store)) + index + store


BASH = header(
    {
        1000: (6, [b"bash"]), 1001: (6, [b"5.2"]), 1002: (6, [b"1.fc39"]), 1003: (4, [2]), 1022: (6, [b"x86_64"]),
        1116: (4, [0, 1, 0]), 1117: (8, [b"bash", b"x.txt", b"sh"]), 1118: (8, [b"/usr/bin/", b"/usr/share/"]),
    }
)  # fmt: skip


def test_dpkg():
    assert dpkg(STATUS) == (Package("libc6", "2.36-9", "amd64"), Package("held", "3", "all"))
    assert dpkg_list(b"/.\n/usr/bin/x\n/etc\n") == ("usr/bin/x", "etc")


def test_apk():
    assert apk(INSTALLED) == (
        Package("musl", "1.2.4-r2", "x86_64", ("lib/ld-musl-x86_64.so.1", "top")),
        Package("busybox", "1.36.1-r5"),
    )


def test_rpm():
    files = ("usr/bin/bash", "usr/share/x.txt", "usr/bin/sh")
    assert rpm([BASH]) == (Package("bash", "2:5.2-1.fc39", "x86_64", files),)


@pytest.mark.parametrize("cut", [0, 7, 9, 40, len(BASH) - 30])
def test_a_damaged_header_hides_no_other(cut: int):
    assert [one.name for one in rpm([BASH[:cut], BASH])][-1:] == ["bash"]


@given(st.binary())
def test_whatever_bytes(data: bytes):
    dpkg(data), apk(data), rpm([data]), dpkg_list(data)


def test_changes():
    before = [Package("a", "1"), Package("b", "1"), Package("both", "1", "amd64"), Package("both", "1", "i386")]
    after = [Package("b", "2"), Package("c", "1"), Package("both", "1", "amd64"), Package("both", "2", "i386")]
    assert changes(before, after) == (
        PackageChange("a", "1", None),
        PackageChange("b", "1", "2"),
        PackageChange("both:i386", "1", "2"),
        PackageChange("c", None, "1"),
    )
    assert changes(after, after) == ()
    kernels = changes([Package("kernel", "5")], [Package("kernel", "5"), Package("kernel", "6")])
    assert kernels == (PackageChange("kernel", "5", "5, 6"),)
