"""ONBUILD, WORKDIR and USER together: what is kept for the next build, and where things then happen."""

# ruff: noqa: E501 - a case is a line

from __future__ import annotations

from tests.conformance.builder.case import Area

AREA = Area("triggers")
builds, refuses = AREA.builds, AREA.refuses
TREE = {"a.txt": "a", "b": "b", "d/c": "c"}

builds("image", "FROM localhost/onbuild\n", TREE)
builds("image-args", "FROM localhost/onbuild\nENV AFTER=$TRIGGERED\n", TREE, args={"TRIGGER": "given"})
builds(
    "image-own-arg-after", "FROM localhost/onbuild\nARG TRIGGER\nENV AFTER=$TRIGGER\n", TREE, args={"TRIGGER": "given"}
)
refuses("image-missing-file", "FROM localhost/onbuild\n", {"b": "b"})
builds("recorded", "FROM localhost/box\nONBUILD RUN echo hi\nONBUILD COPY a /a\nONBUILD ENV A=$B\n")
builds("recorded-heredoc", "FROM localhost/box\nONBUILD RUN <<E\necho 1\nE\nONBUILD COPY <<F /f\ntext\nF\n")
builds("recorded-case", "FROM localhost/box\nonbuild   env   A=1\nOnBuild Label x=y\n")
builds("recorded-continued", "FROM localhost/box\nONBUILD RUN echo a && \\\n    echo b \\\n# comment\n  && echo c\n")
builds("recorded-over-triggers", "FROM localhost/onbuild\nONBUILD ENV NEW=1\n", TREE)
builds(
    "recorded-with-flags",
    "FROM localhost/box\nONBUILD COPY --chown=1:2 --from=x a /a\nONBUILD RUN --mount=type=cache,target=/c true\nONBUILD HEALTHCHECK --interval=5s CMD true\n",
)
builds("stage-run", "FROM localhost/box AS s\nONBUILD RUN echo $X > /x\nONBUILD ARG X=1\nFROM s\n")
builds("stage-arg-run", "FROM localhost/box AS s\nONBUILD ARG X=1\nONBUILD RUN echo $X > /x\nFROM s\n", args={"X": "7"})
builds("stage-workdir-user", "FROM localhost/box AS s\nONBUILD WORKDIR w\nONBUILD USER web\nFROM s\nWORKDIR v\n")
builds("stage-heredoc", "FROM localhost/box AS s\nONBUILD COPY <<F /f\nhello $X\nF\nFROM s\n")
builds("stage-heredoc-run", "FROM localhost/box AS s\nONBUILD RUN <<F\necho 1 > /one\necho 2 > /two\nF\nFROM s\n")
builds(
    "stage-copy-from",
    "FROM localhost/box AS o\nRUN echo o > /o\nFROM localhost/box AS s\nONBUILD COPY --from=o /o /p\nFROM s\n",
)
builds(
    "stage-shell",
    'FROM localhost/box AS s\nSHELL ["/bin/sh", "-ec"]\nONBUILD CMD x y\nONBUILD SHELL ["/bin/sh", "-xc"]\nFROM s\nENTRYPOINT z\n',
)
builds(
    "stage-labels-expose",
    "FROM localhost/box AS s\nONBUILD LABEL a=$B\nONBUILD EXPOSE 80\nONBUILD VOLUME /v\nONBUILD STOPSIGNAL 9\nARG B=1\nFROM s\n",
)
builds("stage-order", "FROM localhost/box AS s\nONBUILD ENV A=1\nONBUILD ENV B=${A}2\nENV A=0\nFROM s\nENV C=$B\n")
builds("stage-two-levels", "FROM localhost/box AS s\nONBUILD ENV A=1\nFROM s AS t\nONBUILD ENV B=2\nFROM t\n")
builds("stage-of-onbuild-image", "FROM localhost/onbuild AS s\nFROM s\nRUN ls > /ls\n", TREE)
refuses("from", "FROM localhost/box\nONBUILD FROM x\n")
refuses("maintainer", "FROM localhost/box\nONBUILD MAINTAINER x\n")
refuses("onbuild", "FROM localhost/box\nONBUILD ONBUILD ENV A=1\n")
refuses("alone", "FROM localhost/box\nONBUILD\n")
builds("unknown", "FROM localhost/box\nONBUILD NOTHING x\n")
refuses("stage-fails", "FROM localhost/box AS s\nONBUILD COPY nothing /\nFROM s\n", TREE)
builds("unused-trigger-is-not-checked", "FROM localhost/box\nONBUILD COPY nothing-there /x\n")

builds("workdir-relative", "FROM localhost/box\nWORKDIR a\nWORKDIR b/c\nWORKDIR ../d\n")
builds("workdir-dots", "FROM localhost/box\nWORKDIR /x/../y/./z//w/\n")
builds("workdir-above-root", "FROM localhost/box\nWORKDIR ../../..\nWORKDIR x\n")
builds("workdir-variable", "FROM localhost/box\nENV D=/v W=$D/w\nWORKDIR $W/${X:-y}\nWORKDIR $D\n")
builds("workdir-user", "FROM localhost/box\nUSER app\nWORKDIR /home/app/x/y\nWORKDIR z\n")
builds("workdir-user-group", "FROM localhost/box\nUSER web:tape\nWORKDIR /w\n")
builds(
    "workdir-user-number", "FROM localhost/box\nUSER 1234\nWORKDIR /w\nUSER 1000:7\nWORKDIR /v\nUSER app\nWORKDIR /u\n"
)
builds("workdir-user-unknown", "FROM localhost/box\nUSER nosuch\nWORKDIR /w\n")
builds("workdir-through-link", "FROM localhost/box\nWORKDIR /opt/link/new\nWORKDIR /var/run/x\n")
builds("workdir-link-itself", "FROM localhost/box\nWORKDIR /opt/link\nWORKDIR sub\n")
refuses("workdir-over-file", "FROM localhost/box\nWORKDIR /data/a\n")
refuses("workdir-below-file", "FROM localhost/box\nWORKDIR /data/a/b\n")
builds("workdir-exists", "FROM localhost/box\nWORKDIR /data/closed\nWORKDIR /tmp\n")
builds("workdir-blanks", "FROM localhost/box\nWORKDIR  /a b/c  \n")
builds("workdir-quoted", "FROM localhost/box\nWORKDIR \"/a b\"\nWORKDIR 'c d'\nWORKDIR /e\\ f\n")
builds("workdir-root", "FROM localhost/box\nWORKDIR /\nWORKDIR x\nWORKDIR /\n")
builds("workdir-scratch", "FROM scratch\nWORKDIR /a/b\nCOPY b c\n", TREE)
builds("workdir-of-rich", "FROM localhost/rich\nWORKDIR new\nCOPY b .\nUSER root\nWORKDIR newer\n", TREE)
builds("workdir-tilde", "FROM localhost/box\nWORKDIR ~/x\nWORKDIR $HOME/y\n")
builds("workdir-empty-variable", "FROM localhost/box\nWORKDIR /x\nWORKDIR $NOTHING\n")
refuses("workdir-alone", "FROM localhost/box\nWORKDIR\n")
builds("workdir-windows", "FROM localhost/box\nWORKDIR C:\\\\x\\\\y\nWORKDIR c:/z\n")
builds("workdir-unicode", "FROM localhost/box\nWORKDIR /\u00e9t\u00e9/\u65e5\u672c\n")
builds(
    "workdir-copy-run",
    "FROM localhost/box\nWORKDIR /w\nCOPY b .\nRUN cat b > c && pwd > p\nWORKDIR d\nCOPY d .\nRUN ls > ../l\n",
    TREE,
)
builds(
    "user-run",
    "FROM localhost/box\nUSER app\nRUN id > /tmp/id; touch /tmp/f; echo $HOME > /tmp/home\nUSER web:staff\nRUN id > /tmp/id2\nUSER 5:6\nRUN id > /tmp/id3\n",
)
builds(
    "user-copy", "FROM localhost/box\nUSER app\nCOPY b /home/app/\nCOPY --chown=app b /home/app/c\nADD d /x/\n", TREE
)
builds("user-add-heredoc", "FROM localhost/box\nUSER app\nCOPY <<E /x/y\nt\nE\nRUN cat /x/y > /tmp/z\n")
builds("user-group-number", "FROM localhost/box\nUSER :9000\nUSER 9000:9000\nRUN id > /tmp/id\n")
builds("user-expanded", "FROM localhost/box\nARG U=web\nENV G=tape\nUSER ${U}:${G:-x}\nRUN id > /tmp/id\n")
builds("user-then-root", "FROM localhost/box\nUSER app\nUSER root\nRUN id > /id\n")
builds("user-quoted-run", 'FROM localhost/box\nUSER "app"\nRUN id -un > /tmp/id\n')
refuses("user-run-unknown-group", "FROM localhost/box\nUSER app:nosuch\nRUN true\n")

for number, text in enumerate(
    (
        "RUN --mount=type=x a",
        "COPY x",
        "COPY --nope=1 a b",
        "EXPOSE",
        "WORKDIR ${x",
        "ARG a b=c",
        "HEALTHCHECK --interval=x CMD y",
    )
):
    builds(f"unread-{number}", f"FROM localhost/box\nONBUILD {text}\n")
for number, text in enumerate(("ENV a", "LABEL a", "CMD [1]", "VOLUME [1]", "ENV a=b c")):
    refuses(f"unreadable-{number}", f"FROM localhost/box\nONBUILD {text}\n")
refuses("unread-done", "FROM localhost/box AS s\nONBUILD COPY x\nFROM s\n")
builds(
    "user-number-that-is-a-name",
    "FROM localhost/box\nUSER 7000\nWORKDIR /w\nRUN id > /tmp/a\nUSER 7000:9000\nWORKDIR /v\nRUN id > /tmp/b\nUSER 1000\nRUN id > /tmp/c\n",
)
