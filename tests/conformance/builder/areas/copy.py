"""COPY from the context: what goes where, with which name, mode, owner and time."""

from __future__ import annotations

from tests.conformance.builder.case import Area, Dir, File, Hard, Link

AREA = Area("copy")
builds, refuses = AREA.builds, AREA.refuses

TREE = {
    "a.txt": "a\n",
    "b.txt": File(b"b\n", 0o600, mtime=1_100_000_000.5),
    "run.sh": File(b"#!/bin/sh\necho run\n", 0o755),
    "empty": "",
    "dir/one": "1",
    "dir/.hidden": "h",
    "dir/sub": Dir(0o711, mtime=1_050_000_000),
    "dir/sub/two": File(b"2", 0o400),
    "dir/hollow": Dir(0o700),
    ".dot/file": "dot",
}
LINKS = {
    **TREE,
    "to-file": Link("a.txt"),
    "to-dir": Link("dir"),
    "to-nothing": Link("nowhere"),
    "to-root": Link("/dir"),
    "to-up": Link("../../dir"),
    "dir/to-one": Link("one"),
    "dir/to-a": Link("../a.txt"),
    "dir/to-etc": Link("/etc/passwd"),
}


def copies(name: str, lines: str, files=TREE, base: str = "box", **options: object) -> None:
    builds(name, f"FROM localhost/{base}\n{lines}\n", files, **options)


def fails(name: str, lines: str, files=TREE, base: str = "box", **options: object) -> None:
    refuses(name, f"FROM localhost/{base}\n{lines}\n", files, **options)


# names and destinations
copies("file-to-name", "COPY a.txt /x")
copies("file-into-directory", "COPY a.txt /opt")
copies("file-into-directory-slash", "COPY a.txt /opt/")
copies("file-into-new-directory", "COPY a.txt /new/deep/dir/")
copies("file-to-new-path", "COPY a.txt /new/deep/name")
copies("file-to-root", "COPY a.txt /")
copies("file-over-file", "COPY a.txt /srv/file")
copies("file-relative", "WORKDIR /srv\nCOPY a.txt x\nCOPY a.txt ./y\nCOPY a.txt ../z\nCOPY a.txt .")
copies("file-relative-no-workdir", "COPY a.txt x\nCOPY b.txt .\nCOPY run.sh ./")
copies("file-to-dots", "WORKDIR /srv/deep\nCOPY a.txt ..\nCOPY a.txt ../../top.txt\nCOPY a.txt ../../../../../far.txt")
copies("destination-unclean", "COPY a.txt //opt///x/./y/../z\nCOPY a.txt /opt/.\nCOPY b.txt /opt/../srv/")
copies("destination-dot-slash-at-end", "COPY a.txt /fresh/.\nCOPY a.txt /other/./")
copies("source-unclean", "COPY ./dir/../a.txt //run.sh dir//sub/./two /x/")
copies("source-absolute", "COPY /a.txt /dir/one /x/")
copies("source-leaves-root", "COPY ../../a.txt /../b.txt /x/")
copies("several-files", "COPY a.txt b.txt run.sh empty /x/")
copies("several-with-directory", "COPY a.txt dir .dot /x/")
copies("several-same-name", "COPY a.txt dir/../a.txt /x/")
copies("directory-contents", "COPY dir /x")
copies("directory-contents-slash", "COPY dir/ /x/")
copies("directory-into-existing", "COPY dir /data")
copies("directory-into-root", "COPY dir /")
copies("directory-mode-of-destination", "COPY dir/sub /fresh\nCOPY dir/sub /data")
copies("directory-dot-file", "COPY .dot /x\nCOPY .dot/file /y/")
copies("whole-context", "COPY . /x")
copies("whole-context-slash", "COPY / /x\nCOPY ./ /y/")
copies("whole-context-twice", "COPY . /x\nCOPY . /x")
copies("hollow-directory", "COPY dir/hollow /x")
copies("empty-file", "COPY empty /x")
copies("case-of-keyword", "copy a.txt /x\nCoPy a.txt /y")
copies("chain-of-layers", "COPY a.txt /x/\nCOPY b.txt /x/\nCOPY dir /x/\nCOPY a.txt /x/one")
copies("no-base-directory", "COPY a.txt /x", base="bare")
builds("into-scratch", "FROM scratch\nCOPY a.txt /\nCOPY dir /d/\nCOPY run.sh /deep/er/\n", TREE)
builds("into-scratch-relative", "FROM scratch\nCOPY a.txt .\nCOPY dir d\n", TREE)
copies("workdir-with-user", "USER web\nWORKDIR /w\nCOPY a.txt .\nCOPY dir sub/")
copies("workdir-of-base", "COPY a.txt .\nCOPY a.txt deep/er/", base="rich")
copies("long-name", "COPY " + "n" * 200 + " /x/", {"n" * 200: "long"})
copies("many-files", "COPY d /x/", {f"d/{number}/{name}": f"{number}{name}" for number in range(12) for name in "abcd"})
copies("big-file", "COPY big /x", {"big": File(bytes(range(256)) * 4096)})

# quoting and forms
ODD = {
    "sp ace.txt": "s",
    "gr\u00fc\u00df.txt": "u",
    "-dash": "d",
    "quote'd": "q",
    'dou"ble': "D",
    "back\\slash": "b",
    "#hash": "h",
    "$dollar": "S",
    "a[b].txt": "br",
    "star*": "st",
    "tab\there": "t",
    "~": "tilde",
    "a=b": "eq",
    "trailing.": "tr",
}
copies("json-form", 'COPY ["sp ace.txt", "/x y/"]\nCOPY [ "a=b" , "/z" ]', ODD)
fails("quoted-words", "COPY \"sp ace.txt\" /a\nCOPY 'sp ace.txt' /b\nCOPY sp\\ ace.txt /c", ODD)
copies("odd-names-whole", "COPY . /x", ODD)
fails("odd-names-apart", 'COPY ["quote\'d", "-dash", "#hash", "a=b", "~", "trailing.", "/x/"]', ODD)
copies("unicode-name", "COPY gr\u00fc\u00df.txt /\u65e5\u672c/", ODD)
copies("dollar-name", 'COPY \\$dollar /x\nCOPY \'$dollar\' /y\nCOPY ["\\\\$dollar", "/z"]', ODD)
copies("bracket-name-escaped", "COPY a[[]b].txt /x/", ODD)
copies("bracket-name-json", 'COPY ["a[[]b].txt", "/x/"]', ODD)
copies("star-name", "COPY star* /x/", ODD)
fails("escaped-star", "COPY star\\\\* /x/", ODD)
fails("destination-odd", 'COPY -- -dash "/a b"/c\nCOPY -- -dash /#x', ODD)
fails("json-bad", "COPY ['a.txt', '/x']")
copies("tabs-between", "COPY\ta.txt\t\t/x")
copies("continued", "COPY a.txt \\\n  # comment\n\n  b.txt \\\n /x/")

# variables
copies("variables", "ARG F=a.txt\nENV D=/opt/x\nCOPY $F ${D}/\nCOPY ${F%.txt}.txt ${D}2\nCOPY ${NONE:-b.txt} /y")
copies("variable-with-blank", 'ENV F="sp ace.txt"\nCOPY $F /x\nCOPY ["$F", "/y/"]', ODD)
copies("variable-with-star", "ENV F=*.txt\nCOPY $F /x/")
copies("variable-empty-source", "COPY $NONE /x/")
copies("variable-empty-destination", "WORKDIR /w\nCOPY a.txt $NONE")
copies("variable-single-quotes", "ENV F=a.txt\nCOPY \"$F\" '/$F'")

# wildcards
WILD = {
    "a1.txt": "1",
    "a2.txt": "2",
    "b1.txt": "3",
    "a.md": "4",
    ".a3.txt": "5",
    "d1/a1.txt": "6",
    "d1/x/a2.txt": "7",
    "d2/a1.txt": "8",
    "d2/y.md": "9",
    "d2/e/deep/f.txt": "10",
    "a-dir/in": "11",
}
copies("star", "COPY *.txt /x/", WILD)
copies("star-all", "COPY * /x/", WILD)
copies("star-prefix", "COPY a* /x/", WILD)
copies("question", "COPY a?.txt /x/", WILD)
copies("class", "COPY [ab]1.txt /x/", WILD)
copies("class-negated", "COPY [^a]1.txt /x/", WILD)
copies("class-range", "COPY a[1-1].txt /x/", WILD)
copies("star-one-match-to-name", "COPY b*.txt /x", WILD)
copies("star-in-directory", "COPY d*/a1.txt /x/", WILD)
copies("star-directory-contents", "COPY d? /x/", WILD)
copies("star-two-levels", "COPY d*/*/*.txt /x/", WILD)
copies("double-star", "COPY **/*.txt /x/", WILD)
copies("double-star-alone", "COPY ** /x/", WILD)
copies("double-star-inside", "COPY d2/**/f.txt /x/", WILD)
copies("star-hidden", "COPY .*.txt /x/", WILD)
copies("star-and-plain", "COPY a.md *1.txt /x/", WILD)
copies("star-slash-at-end", "COPY d*/ /x/", WILD)
copies("star-no-match", "COPY *.none /x/", WILD)
copies("star-no-match-among", "COPY *.none a.md /x/", WILD)
copies("star-many-to-file", "COPY *.txt /x", WILD)
fails("class-unclosed", "COPY [a.txt /x/", WILD)
fails("class-backwards", "COPY a[2-1].txt /x/", WILD)

# links
copies("link-itself", "COPY to-file /x", LINKS)
copies("link-to-directory", "COPY to-dir /x", LINKS)
copies("link-to-directory-slash", "COPY to-dir/ /x/", LINKS)
copies("link-through", "COPY to-dir/one /x", LINKS)
copies("link-absolute-target", "COPY to-root /x", LINKS)
copies("link-up-target", "COPY to-up /x", LINKS)
copies("links-inside", "COPY dir /x", LINKS)
copies("links-whole", "COPY . /x", LINKS)
copies("link-by-star", "COPY to-f* /x/", LINKS)
copies("link-to-directory-by-star", "COPY to-d* /x/", LINKS)
fails("link-dangling", "COPY to-nothing /x", LINKS)
copies("link-dangling-in-directory", "COPY d /x", {"d/l": Link("nowhere"), "d/m": Link("/also/nowhere")})
fails("link-loop", "COPY loop /x", {"loop": Link("loop")})
copies("link-loop-in-directory", "COPY d /x", {"d/l": Link("l")})
copies("link-chain", "COPY one /x", {"one": Link("two"), "two": Link("three/four"), "three/four": "end"})
copies("link-time-and-mode", "COPY d /x", {"d/l": Link("t", mtime=1_200_000_000), "d/t": "t"})

# destinations that are links
copies("onto-link-to-directory", "COPY a.txt /opt/link\nCOPY a.txt /opt/link/")
copies("onto-link-to-directory-directory", "COPY dir /opt/link")
copies("through-link", "COPY a.txt /opt/link/new/x")
copies("onto-link-to-file", "COPY a.txt /data/to-file")
copies("onto-dangling-link", "COPY a.txt /data/dangling")
copies("onto-dangling-link-slash", "COPY a.txt /data/dangling/")
copies("directory-onto-dangling-link", "COPY dir /data/dangling")
copies("onto-link-that-leaves-root", "COPY a.txt /data/up/x")
copies("onto-absolute-link", "COPY a.txt /data/absolute/")
copies("through-lib64", "COPY a.txt /lib64/x\nCOPY dir /lib64/d")
copies("through-var-run", "COPY a.txt /var/run/x/y")
fails("onto-loop", "COPY a.txt /data/loop")
fails("directory-with-link-in-the-way", "COPY d /data", {"d/link/in": "in"})
copies("file-replaces-link-inside", "COPY d /data", {"d/link": "now a file", "d/to-file": "x"})
copies("link-replaces-file-inside", "COPY d /data", {"d/a": Link("b"), "d/b": "b"})
fails("link-replaces-directory-inside", "COPY d /data", {"d/sub": Link("b")})
fails("file-replaces-directory-inside", "COPY d /data", {"d/sub": "file"})
fails("directory-replaces-file-inside", "COPY d /data", {"d/a/in": "in"})
fails("file-onto-path-below-file", "COPY a.txt /srv/file/x")
fails("directory-onto-file", "COPY dir /srv/file")
copies("file-over-special", "COPY a.txt /data/pipe\nCOPY a.txt /data/null")
copies("file-over-hard-link", "COPY a.txt /data/a")
copies("file-over-capable", "COPY a.txt /data/capable\nCOPY a.txt /data/setuid")
copies("file-over-owned", "COPY a.txt /data/b")

# hard links and special modes in the context
copies("hard-links", "COPY d /x", {"d/a": "same", "d/b": Hard("d/a"), "d/s/c": Hard("d/a")})
copies("hard-links-apart", "COPY a /x/\nCOPY b /x/", {"a": "same", "b": Hard("a")})
copies("hard-links-two-sources", "COPY a b /x/", {"a": "same", "b": Hard("a")})
copies("hard-links-two-directories", "COPY d e /x/", {"d/a": "same", "e/b": Hard("d/a")})
copies("hard-links-one-only", "COPY d/a /x", {"d/a": "same", "d/b": Hard("d/a")})
copies("hard-links-of-link", "COPY d /x", {"d/a": Link("t"), "d/b": Hard("d/a")})
SPECIAL = {
    "d/setuid": File(b"u", 0o4755),
    "d/setgid": File(b"g", 0o2755),
    "d/sticky": File(b"t", 0o1644),
    "d/none": File(b"n", 0o000),
    "d/all": File(b"x", 0o777),
    "d/sdir": Dir(0o1777),
    "d/gdir": Dir(0o2775),
    "d/gdir/in": "in",
    "d/ndir": Dir(0o000),
}
copies("special-modes", "COPY d /x", SPECIAL)
copies("special-modes-apart", "COPY d/setuid d/setgid d/sticky d/none /x/", SPECIAL)
copies(
    "owners-of-context",
    "COPY d /x",
    {"d/a": File(b"a", owner=(33, 26)), "d/s": Dir(owner=(1000, 1001)), "d/l": Link("a", (5, 5))},
)
copies("into-setgid-directory", "COPY a.txt /data/sub/\nCOPY dir /data/sub/new/")
copies(
    "xattrs-of-context",
    "COPY d /x",
    {"d/a": File(b"a", xattrs=(("user.colour", b"red"),)), "d/s": Dir(xattrs=(("user.x", b"y"),))},
)
copies(
    "capabilities-of-context",
    "COPY a /x",
    {"a": File(b"a", 0o755, xattrs=(("security.capability", b"\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),))},
)
copies("pipe-in-context", "COPY d /x", {"d/p": File(mode=0o640, device=("p", 0, 0)), "d/f": "f"})
copies("device-in-context", "COPY d /x", {"d/n": File(mode=0o660, device=("c", 1, 3)), "d/f": "f"})
copies(
    "times",
    "COPY d /x",
    {
        "d/a": File(b"a", mtime=0),
        "d/b": File(b"b", mtime=999_999_999.999),
        "d/s": Dir(mtime=5),
        "d/s/c": File(b"c", mtime=1),
    },
)
copies("times-before-1970", "COPY d /x", {"d/a": File(b"a", mtime=-5)})
copies("sparse", "COPY f /x", {"f": File(b"\0" * 200_000)})

# refusals
fails("missing", "COPY nothing /x")
fails("missing-among", "COPY a.txt nothing /x/")
fails("missing-below-file", "COPY a.txt/x /x")
copies("several-to-file", "COPY a.txt b.txt /x")
copies("several-to-existing-directory-without-slash", "COPY a.txt b.txt /opt")
fails("one-argument", "COPY a.txt")
fails("no-argument", "COPY")
fails("json-one", 'COPY ["a.txt"]')
fails("json-empty", "COPY []")
fails("unknown-flag", "COPY --chwon=1 a.txt /x")
fails("flag-twice", "COPY --chown=1 --chown=2 a.txt /x")
fails("flag-without-value", "COPY --chown a.txt /x")
fails("url", "COPY http://example.com/x /x")
fails("git", "COPY git@github.com:a/b.git /x")
fails("unclosed-quote", 'COPY "a.txt /x')
