"""COPY and ADD with --exclude, --link, --parents and several flags at once; heredocs of every kind; odd bytes."""

# ruff: noqa: E501 - a case is a line

from __future__ import annotations

from tests.conformance.builder.case import Area, Dir, File, Link

AREA = Area("options")
builds, refuses = AREA.builds, AREA.refuses
TREE = {
    "a.txt": "a", "b.md": "b", "d/a.txt": "da", "d/b.md": File(b"db", 0o600), "d/e/c.txt": "c", "d/e/f/x.md": "x", "d/link": Link("a.txt"), "d/empty": Dir(),
    "p/q/r.txt": "r", "p/q/s.md": "s", "p/t/u.txt": "u", ".h": "h",
}  # fmt: skip
LABS = "# syntax=docker/dockerfile:1\n"

builds("exclude-pattern", "FROM scratch\nCOPY --exclude=*.md d /o/\n", TREE)
builds("exclude-deep", "FROM scratch\nCOPY --exclude=**/*.md d /o/\n", TREE)
builds("exclude-two", "FROM scratch\nCOPY --exclude=*.md --exclude=e d /o/\n", TREE)
builds("exclude-directory", "FROM scratch\nCOPY --exclude=e/f d /o/\n", TREE)
builds("exclude-back", "FROM scratch\nCOPY --exclude=* --exclude=!a.txt d /o/\n", TREE)
builds("exclude-everything", "FROM scratch\nCOPY --exclude=** d /o/\n", TREE)
builds("exclude-slash", "FROM scratch\nCOPY --exclude=/e/ d /o/\n", TREE)
builds("exclude-variable", "FROM scratch\nARG X=*.md\nCOPY --exclude=$X d /o/\n", TREE)
builds("exclude-with-wildcard", "FROM scratch\nCOPY --exclude=b* *.* /o/\n", TREE)
builds("exclude-of-several", "FROM scratch\nCOPY --exclude=*.txt d p /o/\n", TREE)
builds(
    "exclude-by-path-of-context",
    "FROM scratch\nCOPY --exclude=d/a.txt d /o/\nCOPY --exclude=d/a.txt . /p/\n",
    {**TREE, ".dockerignore": "Dockerfile\n"},
)
builds(
    "exclude-from-stage",
    "FROM localhost/box AS s\nFROM scratch\nCOPY --from=s --exclude=sub --exclude=*ing* /data /o/\n",
)
builds("exclude-add", "FROM scratch\nADD --exclude=*.txt d /o/\n", TREE)
builds("exclude-the-file-itself", "FROM scratch\nCOPY --exclude=a.txt a.txt b.md /o/\n", TREE)
refuses("exclude-bad", "FROM scratch\nCOPY --exclude=[a d /o/\n", TREE)
builds("exclude-empty-value", "FROM scratch\nCOPY --exclude= d /o/\n", TREE)
refuses("exclude-no-value", "FROM scratch\nCOPY --exclude d /o/\n", TREE)
builds("link", "FROM localhost/box\nCOPY --link a.txt /new/a\nCOPY --link d /data/\n", TREE)
builds("link-into-link", "FROM localhost/box\nCOPY --link a.txt /opt/link/\n", TREE)
builds("link-over-file", "FROM localhost/box\nCOPY --link a.txt /data/a\n", TREE)
builds("link-over-directory-link", "FROM localhost/box\nCOPY --link a.txt /var/run/x\n", TREE)
builds("link-chown", "FROM localhost/box\nCOPY --link --chown=5:6 --chmod=640 d /o/\n", TREE)
builds("link-workdir", "FROM localhost/box\nWORKDIR /srv\nCOPY --link a.txt .\nCOPY --link d x/\n", TREE)
builds("link-false", "FROM localhost/box\nCOPY --link=false a.txt /opt/link/\n", TREE)
builds("link-scratch", "FROM scratch\nCOPY --link a.txt /x/\nCOPY --link b.md /x/\n", TREE)
builds("link-from", "FROM localhost/box AS s\nFROM scratch\nCOPY --link --from=s /data/sub /x\n")
builds("link-heredoc", "FROM localhost/box\nCOPY --link <<E /data/h\nt\nE\n")
builds("link-then-run", "FROM localhost/box\nCOPY --link a.txt /data/a\nRUN cat /data/a /data/b > /c\n", TREE)
refuses("link-chown-name", "FROM scratch\nCOPY --link --chown=web a.txt /x\n", TREE)
builds("link-chown-name-box", "FROM localhost/box\nCOPY --link --chown=web a.txt /x\n", TREE)
builds("flags-all", "FROM localhost/box\nCOPY --chown=web:tape --chmod=u=rwX,go=rX --exclude=e d /o/\n", TREE)
builds(
    "flags-order",
    "FROM localhost/box\nCOPY --chmod=600 --chown=1 a.txt /x\nCOPY --chown=1 --chmod=600 a.txt /y\n",
    TREE,
)
builds("chmod-symbolic-directory", "FROM localhost/box\nCOPY --chmod=go-rwx,u+s d /o/\n", TREE)
builds("chmod-octal-long", "FROM localhost/box\nCOPY --chmod=04755 a.txt /o/\nCOPY --chmod=1777 d /p/\n", TREE)

builds("heredoc-time", "FROM scratch\nCOPY <<E /f\nx\nE\n")
builds("heredoc-variable-name", "FROM scratch\nARG N=n\nCOPY <<E /d/$N\nx $N\nE\n")
builds("heredoc-many", "FROM scratch\nCOPY <<A <<B <<-C /d/\na\nA\nb\nB\n\tc\n\tC\n")
builds("heredoc-same-name-twice", "FROM scratch\nCOPY <<A <<A /d/\none\nA\ntwo\nA\n")
builds("heredoc-name-odd", "FROM scratch\nCOPY <<a.b-c_d /d/\nx\na.b-c_d\n")
builds("heredoc-nested-run", "FROM localhost/box\nRUN <<A\ncat <<B > /b\nin b\nB\necho a > /a\nA\n")
builds("heredoc-run-two", "FROM localhost/box\nRUN cat <<A > /a && cat <<B > /b\nfirst\nA\nsecond\nB\n")
builds(
    "heredoc-run-variable",
    "FROM localhost/box\nARG X=1\nENV Y=2\nRUN <<E\necho $X $Y ${Z:-z} > /o\nE\nRUN <<\"F\"\necho $X '$Y' > /p\nF\n",
)
builds(
    "heredoc-run-python-like",
    "FROM localhost/box\nRUN <<E\n#!/bin/sh -e\necho $0 > /o\nls -l $0 | cut -c1-10 >> /o\nE\n",
)
builds("heredoc-run-hash-bang-env", 'FROM localhost/box\nRUN <<E\n#!/bin/awk -f\nBEGIN { print 1+1 > "/o" }\nE\n')
builds("heredoc-run-tabs", "FROM localhost/box\nRUN <<-E\n\tif true; then\n\t\techo yes > /o\n\tfi\n\tE\n")
builds("heredoc-run-redirect", "FROM localhost/box\nRUN <<E cat > /o\nx $HOME y\nE\n")
builds("heredoc-run-pipe", "FROM localhost/box\nRUN <<E tr a-z A-Z | tee /o\nabc\nE\n")
builds("heredoc-run-sh", "FROM localhost/box\nRUN sh -e <<E\necho 1 > /o\nE\n")
builds("heredoc-run-number", "FROM localhost/box\nRUN cat 3<<E <&3 > /o\nthree\nE\n")
builds("heredoc-continuation", "FROM localhost/box\nRUN <<E cat > /o && \\\n  echo two > /t\nbody \\\n  more\nE\n")
builds(
    "heredoc-comment-lines",
    "FROM localhost/box\nRUN <<E\n# comment\necho '# not' > /o\n\n  # indented\nE\nCOPY <<F /f\n# kept\n\n  kept too\nF\n",
)
builds("heredoc-crlf", "FROM localhost/box\r\nCOPY <<E /f\r\nx\r\ny\r\nE\r\nRUN <<F\r\necho 1 > /o\r\nF\r\n")
builds("heredoc-exec-form", 'FROM localhost/box\nSHELL ["/bin/sh", "-xc"]\nRUN <<E\necho s > /o\nE\n')
builds(
    "heredoc-user",
    "FROM localhost/box\nUSER web\nRUN <<E\nid > /tmp/o\nE\nCOPY --chown=web --chmod=755 <<F /tmp/f\n#!/bin/sh\nF\n",
)
builds("heredoc-escape-backtick", "# escape=`\nFROM localhost/box\nCOPY <<E /f\na ` b `$HOME \\$x $y\nE\n")
builds(
    "heredoc-dollar",
    "FROM localhost/box\nARG A=v\nCOPY <<E /f\n$A ${A} \\$A '$A' \"$A\" $ $$ \\\\ \\n ${B:-d} ${A:+p}\nE\n",
)
builds("heredoc-quotes-name", "FROM localhost/box\nARG A=v\nCOPY <<'E' <<\"F\" <<G /d/\n$A\nE\n$A\nF\n$A\nG\n")
builds("heredoc-no-final-newline-body", "FROM localhost/box\nCOPY <<E /f\n\n\nE\n")
builds("heredoc-add", "FROM scratch\nADD <<E /f\nx\nE\nADD --chmod=700 <<E /g/\ny\nE\n")
builds("heredoc-label-not", "FROM localhost/data\nLABEL a=<<E\nENV B=<<F\n")
builds("heredoc-cmd-not", "FROM localhost/data\nCMD echo <<E\n")
refuses("heredoc-unclosed-run", "FROM localhost/box\nRUN <<E\necho 1\n")
refuses("heredoc-copy-no-destination", "FROM scratch\nCOPY <<E\nx\nE\n")
refuses("heredoc-blank-before-name", "FROM localhost/box\nCOPY << E /o\nx\nE\n")
builds("heredoc-lt-quoted", "FROM localhost/box\nRUN echo \"<<E\" > /o\nRUN echo '<<E' >> /o\nRUN echo \\<\\<E >> /o\n")
builds("here-string", "FROM localhost/box\nRUN echo $((1<<3)) > /o\n")

builds("latin-1-label", b'FROM localhost/data\nLABEL a="caf\xe9"\n')
builds("latin-1-comment", b"# caf\xe9\nFROM localhost/data\nLABEL a=b\n# \xe9\n")
refuses("latin-1-run", b"FROM localhost/box\nRUN echo caf\xe9 | od -c > /o\n")
builds(
    "latin-1-env", b'FROM localhost/box\nENV A=\xe9 B=x\xff\nRUN env | grep -c . > /dev/null; echo "$A" | od -c > /o\n'
)
builds("latin-1-cmd", b'FROM localhost/data\nCMD echo \xe9\nENTRYPOINT ["\xe9"]\n')
builds("latin-1-heredoc", b"FROM scratch\nCOPY <<E /f\ncaf\xe9\nE\n")
builds("latin-1-workdir", b"FROM scratch\nWORKDIR /caf\xe9\n")
builds("latin-1-arg-default", b"FROM localhost/data\nARG A=\xe9\nLABEL a=$A\n")
builds("latin-1-expansion", b"FROM localhost/data\nARG A=\xe9x\nENV B=${A#\xe9} C=${A%x}\n")
refuses("latin-1-copy", b"FROM scratch\nCOPY caf\xe9 /x\n", {"caf\udce9": "c"})
refuses("latin-1-copy-missing", b"FROM scratch\nCOPY caf\xe9 /x\n", {"a": "c"})
refuses("latin-1-stage", b"FROM scratch AS caf\xe9\nLABEL a=b\n")
builds("half-utf-8", b"FROM localhost/data\nLABEL a=\xe2\x82 b=\xf0\x9f\x98 c=\xed\xa0\x80\n")
builds("nul-label", b'FROM localhost/data\nLABEL a="x\x01y"\n')
builds("latin-1-user-volume", b"FROM localhost/data\nUSER \xe9\nVOLUME /\xe9\nEXPOSE 80\n")
builds(
    "latin-1-healthcheck", b'FROM localhost/data\nHEALTHCHECK CMD echo \xe9\nSHELL ["/\xe9"]\nONBUILD RUN echo \xe9\n'
)
builds("latin-1-maintainer", b"FROM localhost/data\nMAINTAINER Jos\xe9\n")
builds(
    "user-xattrs",
    "FROM scratch\nCOPY x d /o/\n",
    {
        "x": File(b"x", xattrs=(("user.test", b"1"),)),
        "d/y": File(b"y", xattrs=(("user.test", b"2"),)),
        "d": Dir(xattrs=(("user.dir", b"3"),)),
    },
)
