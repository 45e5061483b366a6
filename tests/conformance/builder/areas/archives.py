"""ADD: archives by content, files of the same names that are none, URLs with their times and checksums."""

# ruff: noqa: E501 - a case is a line

from __future__ import annotations

import gzip
import hashlib
import tarfile
from collections.abc import Mapping
from dataclasses import replace

from tests.conformance.builder.case import Area, Dir, File, Hard, Link, Tar
from tests.conformance.builder.files import Content

AREA = Area("archives")


def builds(name: str, dockerfile: str, files: Mapping[str, Content] = {}, **options: object) -> None:
    """Archives have times of their own: BuildKit takes files that are alike in size and time for the same."""
    own = {
        path: replace(node, mtime=1_200_000_000 + len(AREA.cases)) if isinstance(node, Tar) else node
        for path, node in files.items()
    }
    AREA.builds(name, dockerfile, own, **options)


def refuses(name: str, dockerfile: str, files: Mapping[str, Content] = {}, **options: object) -> None:
    """As ``builds``, for what Docker refuses."""
    builds(name, dockerfile, files, is_refused=True, **options)


CONTENT = {
    "top": File(b"top\n", 0o640, (33, 26)), "dir": Dir(0o750, (33, 33)), "dir/in": File(b"in\n", 0o4755, (1000, 1001), 1_100_000_000.75),
    "dir/link": Link("in", (33, 33)), "dir/hard": Hard("dir/in"), "empty": Dir(0o1777), "fifo": File(mode=0o600, device=("p", 0, 0)),
}  # fmt: skip
PLAIN = Tar.of(CONTENT)
SMALL = Tar.of({"x": "x"})
TEXT = b"hello\n"
SUM = "sha256:" + hashlib.sha256(TEXT).hexdigest()

for how in ("", "gz", "bz2", "xz", "zst"):
    builds(f"kind-{how or 'plain'}", "FROM scratch\nADD t /d/\n", {"t": Tar.of(CONTENT, how)})
builds("name-says-nothing", "FROM scratch\nADD picture.png /d/\n", {"picture.png": PLAIN})
builds("name-lies", "FROM scratch\nADD x.tar.gz /d/\n", {"x.tar.gz": "no archive\n"})
builds("gzip-of-no-tar", "FROM scratch\nADD x.gz /d/\n", {"x.gz": File(gzip.compress(b"text", mtime=0))})
builds("empty-file", "FROM scratch\nADD x.tar /d/\n", {"x.tar": ""})
builds("zeros", "FROM scratch\nADD x.tar /d/\n", {"x.tar": File(bytes(10240))})
builds("empty-archive", "FROM scratch\nADD x.tar /d/\n", {"x.tar": Tar(())})
builds("destination-without-slash", "FROM scratch\nADD t /d\n", {"t": PLAIN})
builds("destination-root", "FROM scratch\nADD t /\n", {"t": PLAIN})
builds("destination-there", "FROM localhost/box\nADD t /data\n", {"t": SMALL})
builds("destination-relative", "FROM localhost/box\nWORKDIR /srv/target\nADD t sub/\nADD t .\n", {"t": SMALL})
builds("destination-through-link", "FROM localhost/box\nADD t /opt/link\nADD t /var/run/x/\n", {"t": SMALL})
refuses("destination-file", "FROM localhost/box\nADD t /data/a\n", {"t": SMALL})
builds("copy-does-not", "FROM scratch\nCOPY t /d/\n", {"t": PLAIN})
builds("among-others", "FROM scratch\nADD a t b /d/\n", {"a": "a", "b": "b", "t": SMALL})
builds("by-star", "FROM scratch\nADD * /d/\n", {"a": "a", "t": SMALL}, file="f/Dockerfile")
builds("in-a-directory-stays", "FROM scratch\nADD dir /d/\n", {"dir/t": SMALL, "dir/a": "a"})
builds("by-link", "FROM scratch\nADD link /d/\n", {"t": SMALL, "link": Link("t")})
builds("chown", "FROM localhost/box\nADD --chown=web:tape t /new/d/\n", {"t": PLAIN})
builds("chown-number", "FROM scratch\nADD --chown=7:8 t /d/\n", {"t": PLAIN})
builds("chmod", "FROM localhost/box\nADD --chmod=600 t /d/\n", {"t": SMALL})
builds("unpack-false", "FROM scratch\nADD --unpack=false t /d/\n", {"t": SMALL})
builds("unpack-true", "FROM scratch\nADD --unpack=true t /d/\n", {"t": SMALL})
builds("unpack-alone", "FROM scratch\nADD --unpack t /d/\n", {"t": SMALL})
builds("unpack-true-of-text", "FROM scratch\nADD --unpack=true a /d/\n", {"a": "a"})
refuses("copy-unpack", "FROM scratch\nCOPY --unpack t /d/\n", {"t": SMALL})
builds("exclude-of-archive", "FROM scratch\nADD --exclude=top t /d/\n", {"t": PLAIN})
builds(
    "over-files", "FROM localhost/box\nADD t /data/\n", {"t": Tar.of({"a": "new\n", "sub/c": "new\n", "fresh": "f"})}
)
builds("over-link", "FROM localhost/box\nADD t /data/\n", {"t": Tar.of({"link": "now a file\n"})})
builds("through-link-inside", "FROM localhost/box\nADD t /data/\n", {"t": Tar.of({"link/new": "n"})})
builds("through-absolute-link-inside", "FROM localhost/box\nADD t /data/\n", {"t": Tar.of({"absolute/new": "n"})})
builds("directory-over-link", "FROM localhost/box\nADD t /data/\n", {"t": Tar.of({"link": Dir(), "link/x": "x"})})
builds("directory-over-file", "FROM localhost/box\nADD t /data/\n", {"t": Tar.of({"a": Dir(), "a/x": "x"})})
builds("file-over-directory", "FROM localhost/box\nADD t /data/\n", {"t": Tar.of({"sub": "file now\n"})})
builds("link-over-file", "FROM localhost/box\nADD t /data/\n", {"t": Tar.of({"a": Link("b")})})
builds("mode-of-there", "FROM localhost/box\nADD t /data/\n", {"t": Tar.of({"sub": Dir(0o700, (5, 5))})})
builds("mode-of-top", "FROM localhost/box\nADD t /data/\n", {"t": Tar.of({"./": Dir(0o711, (5, 5)), "./x": "x"})})
builds("dots", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"./a": "a", "b/./c": "c", "b/../e": "e", "//f": "f"})})
builds("absolute", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"/etc/x": "x", "/y": "y"})})
refuses("up", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"../x": "x"})})
refuses("up-further", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"a/../../../x": "x"})})
builds("link-absolute", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"l": Link("/etc/passwd"), "a": "a"})})
builds("link-out", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"l": Link("../../../etc/passwd"), "a": "a"})})
builds("link-up-inside", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"a": "a", "s/l": Link("../a")})})
builds("through-link-out", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"l": Link("/"), "l/evil": "e"})})
refuses("hard-link-missing", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"h": Hard("nothing")})})
refuses("hard-link-out", "FROM localhost/box\nADD t /d/\n", {"t": Tar.of({"h": Hard("../data/a")})})
builds("hard-link-to-there", "FROM localhost/box\nADD t /data/\n", {"t": Tar.of({"h": Hard("a")})})
builds("twice-the-same", "FROM scratch\nADD t /d/\n", {"t": Tar((("a", File(b"1")), ("a", File(b"2"))))})
builds("parents-missing", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"p/q/r": "r"})})
builds("directory-later", "FROM scratch\nADD t /d/\n", {"t": Tar((("p/f", File(b"f")), ("p", Dir(0o700, (3, 3)))))})
builds(
    "capability",
    "FROM scratch\nADD t /d/\n",
    {
        "t": Tar.of(
            {"x": File(b"x", 0o755, xattrs=(("security.capability", b"\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),))}
        )
    },
)
builds(
    "gnu-long-names",
    "FROM scratch\nADD t /d/\n",
    {"t": Tar.of({"n" * 150: "1", "d/" + "m" * 120: Link("k" * 130)}, format=tarfile.GNU_FORMAT)},
)
builds("ustar", "FROM scratch\nADD t /d/\n", {"t": Tar.of(CONTENT, format=tarfile.USTAR_FORMAT)})
builds("pax-long-names", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"p/" * 80 + "x": "1", "\u00e9t\u00e9": "2"})})
builds(
    "odd-names",
    "FROM scratch\nADD t /d/\n",
    {"t": Tar.of({"a b": "1", "c\\d": "2", "e*f": "3", ".h": "4", "g\nh": "5"})},
)
builds(
    "device",
    "FROM scratch\nADD t /d/\n",
    {"t": Tar.of({"null": File(mode=0o666, device=("c", 1, 3)), "disk": File(mode=0o660, device=("b", 7, 0))})},
)
builds(
    "times",
    "FROM scratch\nADD t /d/\n",
    {
        "t": Tar.of(
            {
                "old": File(b"o", mtime=-86400),
                "zero": File(b"z", mtime=0),
                "far": File(b"f", mtime=4_000_000_000),
                "half": File(b"h", mtime=1_000_000_000.5),
            }
        )
    },
)
builds(
    "setuid-chown", "FROM scratch\nADD --chown=1 t /d/\n", {"t": Tar.of({"s": File(b"s", 0o6755), "d": Dir(0o2775)})}
)
builds("big-owner", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"x": File(b"x", 0o644, (3_000_000, 4_000_000))})})
builds("trailing-garbage", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"x": "x"}, tail=b"garbage" * 200)})
builds("concatenated", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"x": "x"}, tail=Tar.of({"y": "y"}).bytes())})
refuses("cut", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"x": File(b"x" * 30000)}, cut=20000)})
refuses("cut-gz", "FROM scratch\nADD t /d/\n", {"t": Tar.of({"x": File(bytes(range(256)) * 200)}, "gz", cut=30)})
builds("two", "FROM scratch\nADD t t2 /d/\n", {"t": SMALL, "t2": Tar.of({"y": "y"}, "xz")})
refuses("add-from", "FROM localhost/box AS s\nFROM scratch\nADD --from=s /data/a /d/\n")
builds("add-link-flag", "FROM localhost/box\nADD --link t /data/\n", {"t": SMALL})
builds("add-directory", "FROM scratch\nADD d /x\n", {"d/a": "a", "d/t": SMALL})
builds("add-file-rename", "FROM scratch\nADD a /x/b\n", {"a": "a"})

URL = "http://@server@"
R = {
    "f.txt": TEXT,
    "dir/deep.txt": b"deep\n",
    "t.tar": SMALL.bytes(),
    "t.tar.gz": Tar.of({"x": "x"}, "gz").bytes(),
    "undated.txt": b"u",
    "named": b"n",
    "a b.txt": b"blank",
}
builds("url", f"FROM scratch\nADD {URL}/f.txt /d/\n", remote=R)
builds("url-name", f"FROM scratch\nADD {URL}/f.txt /d\n", remote=R)
builds("url-deep", f"FROM scratch\nADD {URL}/dir/deep.txt /x/y/z/\n", remote=R)
builds("url-tar-stays", f"FROM scratch\nADD {URL}/t.tar {URL}/t.tar.gz /d/\n", remote=R)
builds("url-unpack", f"FROM scratch\nADD --unpack=true {URL}/t.tar.gz /d/\n", remote=R)
builds("url-undated", f"FROM scratch\nADD {URL}/undated.txt /d/\n", remote=R)
builds("url-chmod-chown", f"FROM localhost/box\nADD --chown=web --chmod=644 {URL}/f.txt /d/\n", remote=R)
builds("url-and-file", f"FROM scratch\nADD {URL}/f.txt a /d/\n", {"a": "a"}, remote=R)
builds("url-checksum", f"FROM scratch\nADD --checksum={SUM} {URL}/f.txt /d/\n", remote=R)
builds("url-variable", f"FROM scratch\nARG N=f\nADD {URL}/$N.txt /d/\n", remote=R)
builds("url-checksum-variable", f"FROM scratch\nARG S={SUM}\nADD --checksum=$S {URL}/f.txt /d/\n", remote=R)
builds("url-query", f"FROM scratch\nADD {URL}/f.txt?x=1 /d/\n", remote={**R, "f.txt?x=1": b"q"})
builds("url-escaped", f"FROM scratch\nADD {URL}/a%20b.txt /d/\n", remote=R)
builds("url-redirect", f"FROM scratch\nADD {URL}/go /d/\n", remote={**R, "go -> f.txt": b""})
builds("url-named", f"FROM scratch\nADD {URL}/named /d/\n", remote=R)
refuses("url-checksum-wrong", f"FROM scratch\nADD --checksum=sha256:{'0' * 64} {URL}/f.txt /d/\n", remote=R)
refuses("url-checksum-malformed", f"FROM scratch\nADD --checksum=md5:abc {URL}/f.txt /d/\n", remote=R)
refuses("url-missing", f"FROM scratch\nADD {URL}/nothing /d/\n", remote=R)
builds("url-without-name", f"FROM scratch\nADD {URL}/ /d/\n", remote={**R, "": b"root"})
refuses("checksum-of-file", f"FROM scratch\nADD --checksum={SUM} a /d/\n", {"a": TEXT})
refuses("copy-checksum", f"FROM scratch\nCOPY --checksum={SUM} a /d/\n", {"a": TEXT})
