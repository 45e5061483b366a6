"""What the kernel, nft and package managers say, taken apart: texts in, values out."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from bennu.host import installed, listing, network_state, nftables, sysctls, tasks

STATUS = b"""\
Name:\thttpd
Uid:\t0\t33\t33\t33
Gid:\t0\t34\t34\t34
Groups:\t26 27
NSpid:\t15243\t%d
NSsid:\t15243%s
CapEff:\t0000000000000400
CapBnd:\t00000000a80425fb
NoNewPrivs:\t1
Seccomp:\t2
"""
STAT = b"15243 (a ) b) %s 15239 15243 15243 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 102973 2 3"


def test_a_process():
    found = tasks.parse_task(15243, STAT % b"S", STATUS % (1, b"\t1"))
    assert found is not None
    assert (found.parent, found.started, found.name) == (15239, 102973, "httpd")
    assert (found.uid, found.gid, found.groups) == (33, 34, (26, 27))
    assert (found.bounding, found.effective) == (0xA80425FB, 0x400)
    assert (found.no_new_privileges, found.seccomp, found.outside) == (True, 2, False)


def test_a_session_from_outside():
    found = tasks.parse_task(15243, STAT % b"S", STATUS % (9, b"\t0"))
    assert found is not None
    assert found.outside
    # a process of the host has one number only
    found = tasks.parse_task(15243, STAT % b"S", STATUS % (9, b""))
    assert found is not None
    assert not found.outside


@pytest.mark.parametrize(
    ("stat", "status"), [(b"", b""), (STAT % b"Z", STATUS % (1, b"")), (STAT % b"S", b"Name:\tx\n")]
)
def test_a_process_that_has_ended(stat, status):
    assert tasks.parse_task(15243, stat, status) is None


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"A=1\0B=x=y\0C=\0", {"A": "1", "B": "x=y", "C": ""}),
        (b"", None),
        (b"nginx: master process\0\0\0\0", None),  # its title, over the words and what follows them
        (b"ess nginx\0A=1\0", None),
        (b"A=1", None),
        (b"\0\0A=1\0", None),
    ],
)
def test_environments(data, wanted):
    assert tasks.parse_environment(data) == wanted


def test_limits():
    text = (
        b"Limit                     Soft Limit           Hard Limit           Units     \n"
        b"Max open files            1000                 2000                 files     \n"
        b"Max nice priority         0                    0                    \n"
        b"Max cpu time              unlimited            unlimited            seconds   \n"
    )
    assert tasks.parse_limits(text) == {
        "Max open files": ("1000", "2000"),
        "Max nice priority": ("0", "0"),
        "Max cpu time": ("unlimited", "unlimited"),
    }


def test_mounts():
    text = (
        b"321 278 0:50 / / ro,relatime - overlay none rw,lowerdir+=/a\n"
        b"340 321 254:0 /v/a\\040b//deleted /da\\011ta rw,nosuid shared:4 master:1 - ext4 /dev/vda ro,discard\n"
        b"nonsense\n"
    )
    root, data = tasks.parse_mounts(text)
    assert (root.target, root.kind, root.options, root.is_readonly_below) == ("/", "overlay", ("ro", "relatime"), False)
    assert (data.root, data.target, data.is_readonly_below) == ("/v/a b//deleted", "/da\tta", True)


def test_this_process():
    me = tasks.look(os.getpid())
    assert me is not None
    assert me.parent == os.getppid()
    assert os.getpid() in tasks.all_pids()
    assert tasks.namespaces(os.getpid()) is not None
    assert tasks.mount_table(os.getpid())
    assert tasks.command_line(os.getpid())
    assert tasks.executable(os.getpid()).startswith("/")
    assert abs(tasks.start_of(me) - os.stat(f"/proc/{os.getpid()}").st_ctime) < 10
    assert tasks.tree([os.getpid(), 1 << 30]) == {os.getpid(): me}
    assert tasks.look(1 << 30) is None
    assert tasks.namespaces(1 << 30) is None


def test_this_network():
    links = network_state.links()
    assert links.texts["lo"].startswith("up ")
    assert links.name(1) == "lo"
    assert any(name.endswith(" lo") for name in network_state.addresses(links))
    assert network_state.routes(links) is not None


def test_a_route():
    header = struct.pack("=BBBBBBBBI", socket.AF_INET, 16, 0, 0, 254, 3, 0, 1, 0)

    def attribute(kind: int, data: bytes) -> bytes:
        return struct.pack("=HH", len(data) + 4, kind) + data

    links = network_state.Links({7: ("eth0", "up", 0)})
    way = attribute(1, socket.inet_aton("10.98.0.0")) + attribute(5, socket.inet_aton("10.1.0.1"))
    key, text = network_state._route(header + way + attribute(4, struct.pack("=I", 7)), links)
    assert (key, text) == ("10.98.0.0/16", "via 10.1.0.1 dev eth0")
    local = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, 255, 3, 0, 2, 0)
    assert network_state._route(local + way, links) == (None, "")


LISTING = """\
table ip one {
\tset bridges {
\t\ttype ifname
\t\telements = { "b",
\t\t\t     "a" }
\t}

\tchain forward {
\t\ttype filter hook forward priority filter; policy accept;
\t\tct state { related, established } accept
\t\tnumgen random mod 2 map { 1 : 10.0.0.2 . 80, 0 : 10.0.0.1 . 80 }
\t}
}
table ip two {
}
"""


def test_rules_in_one_form():
    assert nftables.parse_listing(LISTING) == {
        "one": (
            "set bridges: type ifname",
            'set bridges: elements = { "a", "b" }',
            "chain forward: type filter hook forward priority filter; policy accept;",
            "chain forward: ct state { established, related } accept",
            "chain forward: numgen random mod 2 map { 0 : 10.0.0.1 . 80, 1 : 10.0.0.2 . 80 }",
        ),
        "two": (),
    }


def test_packages():
    dpkg = (
        b"Package: crun\nStatus: install ok installed\nVersion: 1.8.1-1\n\n"
        b"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
    )
    assert installed.parse_dpkg(dpkg) == {"crun": "1.8.1-1"}
    assert installed.parse_apk(b"C:x\nP:musl\nV:1.2\n\nP:busybox\nV:1.36\n") == {"musl": "1.2", "busybox": "1.36"}
    assert installed.program("no-such-program") is None
    assert "/sh, " in str(installed.program("sh"))


def test_settings():
    found = sysctls.settings(("net/ipv4", "kernel"))
    assert found["net.ipv4.ip_forward"] in {"0", "1"}
    assert not any(".random." in name or "fastopen_key" in name for name in found)
    assert sysctls.settings(("net/no/such",)) == {}
    assert sysctls.settings(("kernel",)) == {name: text for name, text in found.items() if name.startswith("kernel.")}


def test_what_lies_in_a_directory(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/tool").write_text("x")
    (tmp_path / "sub/tool").chmod(0o4755)
    (tmp_path / "link").symlink_to("/etc")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = {entry.path: entry for entry in listing.walk(fd)}
        assert list(found) == ["/link", "/sub", "/sub/tool"]
        assert found["/sub/tool"].is_program
        assert not found["/link"].is_program
        assert listing.words(found["/link"].status).startswith("link 0777")
        assert listing.words(found["/sub/tool"].status).startswith(f"file 4755 {os.getuid()}:{os.getgid()}, 1 bytes, w")
        assert len(list(listing.walk(fd, limit=1))) == 1
    finally:
        os.close(fd)


def test_an_inventory_knows_what_was_changed(tmp_path):
    (tmp_path / "sub").mkdir()
    file = tmp_path / "sub/file"
    file.write_text("one")
    before = listing.inventory(tmp_path)
    assert [item.path for item in before] == ["/", "/sub", "/sub/file"]
    assert listing.inventory(tmp_path) == before
    status = file.stat()
    file.write_text("two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = listing.inventory(tmp_path)
    assert [item.path for item, was in zip(after, before, strict=True) if item != was] == ["/sub/file"]
    assert str(after[2]) == str(before[2])  # for people it is the same: only the kernel's own time is another
