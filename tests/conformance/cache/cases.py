"""Edits between two builds, and what may run again after each: the data of the step cache's contract.

A case is a first build and what changes before each further one: the Dockerfile (pairs of old and new text), the
context (``Op``), or how the build is asked for. ``recorded.json`` has, for each case, the steps that Docker ran in each
build after the first; ``record.py`` writes it. Every Dockerfile begins with a line that marks its case, so that no case
finds steps of another one.
"""

# ruff: noqa: E501 - rows of tables

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

BOX: Final = "cachebox"
"""The base image; ``cachebox:relabelled`` has the same layers, ``cachebox:other`` one more."""

MARK: Final = "RUN : mark"
EPOCH: Final = 1_600_000_000

Op = tuple[str, ...]
"""``write path text`` · ``chmod path mode`` · ``touch path`` · ``remove path`` · ``rename path new`` ·
``link path target`` (symbolic) · ``hardlink path other`` · ``mkdir path`` · ``chown path uid`` · ``xattr path name
value`` · ``move``: the whole checkout goes elsewhere."""

Pairs = tuple[tuple[str, str], ...]


class Build(NamedTuple):
    """One build. ``text`` changes the Dockerfile as the build before left it; None of ``args`` leaves them as they
    were there.
    """

    text: Pairs = ()
    context: tuple[Op, ...] = ()
    args: Mapping[str, str] | None = None
    target: str | None = None
    no_cache: bool = False
    epoch: int | None = None
    fails: bool = False
    secret: str = ""


class Case(NamedTuple):
    """A Dockerfile, its context by path, the first build's arguments, and the builds that follow."""

    name: str
    text: str
    builds: tuple[Build, ...]
    first: Build = Build()
    files: Mapping[str, str] = {}


def apply(context: Path, op: Op) -> None:
    """Do one edit of a context."""
    kind, *words = op
    path = context / words[0] if words else context
    match kind:
        case "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(words[1])
        case "chmod":
            path.chmod(int(words[1], 8))
        case "touch":
            os.utime(path, (1_000_000_000, 1_000_000_000))
        case "remove":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        case "rename":
            (context / words[1]).parent.mkdir(parents=True, exist_ok=True)
            path.rename(context / words[1])
        case "link":
            path.unlink(missing_ok=True)
            path.symlink_to(words[1])
        case "hardlink":
            path.unlink(missing_ok=True)
            path.hardlink_to(context / words[1])
        case "mkdir":
            path.mkdir(parents=True)
        case "chown":
            os.chown(path, int(words[1]), int(words[1]))
        case "xattr":
            os.setxattr(path, words[1], words[2].encode())
        case _:
            raise AssertionError(op)


def arranged(context: Path, files: Mapping[str, str]) -> None:
    """A fresh context."""
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    for name, text in files.items():
        apply(context, ("write", name, text))
    for path in (context, *context.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


FILES: Final = {
    "a.txt": "a\n", "b.txt": "b\n", "dir/one": "1\n", "dir/two": "2\n", "dir/deep/three": "3\n", "same/one": "1\n",
    "same/two": "2\n", "same/deep/three": "3\n", "other/x": "x\n", "notes.md": "notes\n",
}  # fmt: skip

PLAIN: Final = f"""FROM {BOX}
{MARK}
COPY a.txt b.txt /in/
RUN cat /in/a.txt
COPY dir /dir/
RUN ls /dir
"""
WHOLE: Final = f"""FROM {BOX}
{MARK}
COPY . /all/
RUN ls /all
"""
RUNS: Final = f"""FROM {BOX}
{MARK}
RUN echo one
RUN echo two
"""
STAGES: Final = f"""FROM {BOX} AS make
{MARK}
COPY dir /src/
RUN cat /src/one > /program
FROM {BOX}
{MARK} too
RUN echo prepare
COPY --from=make /program /bin/
RUN echo finish
"""


FIRST: Final = Build()


def edited(name: str, *ops: Op, text: str = PLAIN, files: Mapping[str, str] | None = None) -> Case:
    """A case of one edit of the context."""
    return Case(f"context: {name}", text, (Build(context=ops),), files={**FILES, **(files or {})})


def written(name: str, old: str, new: str, text: str = RUNS, **build: object) -> Case:
    """A case of one edit of the Dockerfile."""
    assert old in text, (name, old)
    return Case(f"Dockerfile: {name}", text, (Build(((old, new),), **build),), files=FILES)  # type: ignore[arg-type]


def added(name: str, line: str, before: str = "RUN echo two", text: str = RUNS, **build: object) -> Case:
    """A case of one more line."""
    return written(f"{name} added", before, f"{line}\n{before}", text, **build)


def changed(name: str, line: str, new: str, before: str = "RUN echo two", text: str = RUNS, **build: object) -> Case:
    """A case of a line that is another one in the second build."""
    assert before in text
    return written(name, line, new, text.replace(before, f"{line}\n{before}"), **build)


CONTEXT: Final = (
    edited("nothing changed"),
    edited("a file touched", ("touch", "a.txt")),
    edited("a directory touched", ("touch", "dir")),
    edited("a file in a directory touched", ("touch", "dir/one")),
    edited("another mode of a file", ("chmod", "a.txt", "600")),
    edited("a file made executable", ("chmod", "dir/one", "755")),
    edited("setuid", ("chmod", "a.txt", "4755")),
    edited("another mode of a directory in the source", ("chmod", "dir/deep", "700")),
    edited("another mode of the source directory itself", ("chmod", "dir", "700")),
    edited("sticky source directory", ("chmod", "dir", "1777")),
    edited("another content of the same size", ("write", "a.txt", "z\n")),
    edited("a longer content", ("write", "b.txt", "longer\n")),
    edited("an emptied file", ("write", "b.txt", "")),
    edited("two files swap their contents", ("write", "a.txt", "b\n"), ("write", "b.txt", "a\n")),
    edited("two files in a directory swap", ("write", "dir/one", "2\n"), ("write", "dir/two", "1\n")),
    edited("a file in a directory edited", ("write", "dir/deep/three", "4\n")),
    edited("a file added to the directory", ("write", "dir/new", "")),
    edited("a file added beside", ("write", "new", "")),
    edited("a file deleted in the directory", ("remove", "dir/two")),
    edited("a file renamed in the directory", ("rename", "dir/two", "dir/zwei")),
    edited("a file moved in the directory", ("rename", "dir/two", "dir/deep/two")),
    edited("an unused file edited", ("write", "other/x", "y\n")),
    edited("an unused directory deleted", ("remove", "other")),
    edited("an empty directory added", ("mkdir", "dir/empty")),
    edited("an empty directory removed", ("mkdir", "dir/empty"), ("remove", "dir/empty")),
    edited("a file becomes a link to the same content", ("write", "dir/1", "1\n"), ("link", "dir/one", "1")),
    edited("a source becomes a link to the same content", ("write", "c.txt", "a\n"), ("link", "a.txt", "c.txt")),
    edited("a source becomes a link to another content", ("link", "a.txt", "b.txt")),
    edited("a source directory becomes a link to an equal one", ("remove", "dir"), ("link", "dir", "same")),
    edited("a source directory becomes a link to another", ("remove", "dir"), ("link", "dir", "other")),
    edited("a file becomes a hard link of an equal one", ("write", "c.txt", "a\n"), ("hardlink", "a.txt", "c.txt")),
    edited("a file becomes a directory", ("remove", "dir/two"), ("write", "dir/two/x", "2\n")),
    edited("a directory becomes a file", ("remove", "dir/deep"), ("write", "dir/deep", "3\n")),
    edited("another owner", ("chown", "a.txt", "1000")),
    edited("another owner of a directory", ("chown", "dir", "1000")),
    edited("an extended attribute", ("xattr", "a.txt", "user.note", "x")),
    edited("an extended attribute in the directory", ("xattr", "dir/one", "user.note", "x")),
    edited("an extended attribute of the directory", ("xattr", "dir", "user.note", "x")),
    edited("a capability", ("xattr", "a.txt", "security.capability", "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0")),
    edited("the checkout moved", ("move",)),
    edited("ignore rules without effect added", ("write", ".dockerignore", "*.o\n")),
    edited("ignore rules without effect on a whole context", ("write", ".dockerignore", "# none\n*.o\n"), text=WHOLE),
    edited("ignore rules that take a file away", ("write", ".dockerignore", "dir/two\n")),
    edited("ignore rules that take an unused file away", ("write", ".dockerignore", "other\n")),
    edited("a whole context, nothing changed", text=WHOLE),
    edited("a whole context, an unused-looking file edited", ("write", "notes.md", "more\n"), text=WHOLE),
    edited("a whole context touched", ("touch", "notes.md"), ("touch", "dir"), text=WHOLE),
    edited(
        "an ignored file added", ("write", "x.log", ""), text=WHOLE, files={".dockerignore": "*.log\n.dockerignore\n"}
    ),
    edited(
        "an ignored file edited",
        ("write", "x.log", "2"),
        text=WHOLE,
        files={".dockerignore": "*.log\n", "x.log": "1"},
    ),
    edited(
        "a comment in ignore rules that are no part of the context",
        ("write", ".dockerignore", "# logs\n*.log\n.dockerignore\n"),
        text=WHOLE,
        files={".dockerignore": "*.log\n.dockerignore\n"},
    ),
    edited(
        "a comment in ignore rules that are copied themselves",
        ("write", ".dockerignore", "# logs\n*.log\n"),
        text=WHOLE,
        files={".dockerignore": "*.log\n"},
    ),
    edited(
        "an exception in ignore rules brings a file back",
        ("write", ".dockerignore", "*.log\n!x.log\n"),
        text=WHOLE,
        files={".dockerignore": "*.log\n", "x.log": "1"},
    ),
    edited("a link to nowhere added", ("link", "dir/link", "nowhere")),
    edited("a link's target changed", ("link", "dir/link", "two"), files={"dir/link": ""}),
    Case(
        "context: the target of a copied link edited, outside of what is copied",
        PLAIN,
        (Build(context=(("link", "dir/link", "../notes.md"),)), Build(context=(("write", "notes.md", "new"),))),
        files=FILES,
    ),
    Case(
        "context: the target of a source that is a link edited",
        PLAIN,
        (Build(context=(("link", "a.txt", "notes.md"),)), Build(context=(("write", "notes.md", "new"),))),
        files=FILES,
    ),
    Case(
        "context: an edit taken back",
        PLAIN,
        (Build(context=(("write", "a.txt", "z\n"),)), Build(context=(("write", "a.txt", "a\n"),))),
        files=FILES,
    ),
    Case(
        "context: a mode taken back",
        PLAIN,
        (Build(context=(("chmod", "dir/one", "755"),)), Build(context=(("chmod", "dir/one", "644"),))),
        files=FILES,
    ),
    Case(
        "context: edits in turn",
        PLAIN,
        (
            Build(context=(("write", "dir/one", "x\n"),)),
            Build(context=(("write", "a.txt", "x\n"),)),
            Build(context=(("write", "dir/one", "1\n"),)),
        ),
        files=FILES,
    ),
)

_GLOB: Final = PLAIN.replace("a.txt b.txt /in/", "*.txt /in/")
_EXCLUDED: Final = PLAIN.replace("COPY dir /dir/", "COPY --exclude=t* dir /dir/")

SOURCES: Final = (
    edited("wildcard: nothing changed", text=_GLOB),
    edited("wildcard: a file that matches added", ("write", "c.txt", ""), text=_GLOB),
    edited("wildcard: a file that does not match added", ("write", "c.text", ""), text=_GLOB),
    edited("wildcard: a match renamed", ("rename", "b.txt", "c.txt"), text=_GLOB),
    edited("wildcard: a match deleted", ("remove", "b.txt"), text=_GLOB),
    written("a wildcard that means the same files", "a.txt b.txt /in/", "*.txt /in/", PLAIN),
    written("a wildcard written another way", "*.txt /in/", "?.txt /in/", _GLOB),
    edited("excluded: the excluded file edited", ("write", "dir/two", "z"), text=_EXCLUDED),
    edited("excluded: another file edited", ("write", "dir/one", "z"), text=_EXCLUDED),
    written("--exclude added that takes nothing away", "COPY dir", "COPY --exclude=*.o dir", PLAIN),
    written("--exclude written another way", "--exclude=t*", "--exclude=tw*", _EXCLUDED),
    Case(
        "context: a source moved, its name and destination the same",
        PLAIN,
        (Build((("COPY a.txt", "COPY sub/a.txt"),), (("rename", "a.txt", "sub/a.txt"),)),),
        files=FILES,
    ),
    Case(
        "context: a source renamed, destination and content the same",
        f"FROM {BOX}\n{MARK}\nCOPY a.txt /in/x\nRUN cat /in/x\n",
        (Build((("COPY a.txt", "COPY c.txt"),), (("rename", "a.txt", "c.txt"),)),),
        files=FILES,
    ),
    written("another source directory with the same content", "COPY dir /", "COPY same /", PLAIN),
    written("a source with ./ in front", "COPY a.txt", "COPY ./a.txt", PLAIN),
    written("a source with / in front", "COPY a.txt", "COPY /a.txt", PLAIN),
    written("a source directory with a slash behind", "COPY dir /", "COPY dir/ /", PLAIN),
    written("sources in another order", "a.txt b.txt", "b.txt a.txt", PLAIN),
    written("a source twice", "a.txt b.txt", "a.txt b.txt a.txt", PLAIN),
    written("a source left out", "a.txt b.txt", "a.txt", PLAIN),
    written("another destination", "/in/\nRUN cat /in/", "/inner/\nRUN cat /inner/", PLAIN),
    written("a destination without its slash", "COPY dir /dir/", "COPY dir /dir", PLAIN),
    written("a destination with double slashes", "COPY dir /dir/", "COPY dir //dir//", PLAIN),
    written("a destination relative to /", "COPY dir /dir/", "COPY dir dir/", PLAIN),
    written("COPY in the JSON form", "COPY dir /dir/", 'COPY ["dir", "/dir/"]', PLAIN),
    written("blanks in COPY", "COPY dir /dir/", "COPY   dir \t /dir/  ", PLAIN),
    written("ADD instead of COPY", "COPY dir", "ADD dir", PLAIN),
    written("ADD of one that is no archive", "ADD dir", "ADD --unpack=false dir", PLAIN.replace("COPY dir", "ADD dir")),
    written("--chown added", "COPY dir", "COPY --chown=0:0 dir", PLAIN),
    written("--chown by number instead of name", "=www-data", "=33", PLAIN.replace("COPY dir", "COPY --chown=www-data dir")),
    written("--chown with a group", "=33", "=33:33", PLAIN.replace("COPY dir", "COPY --chown=33 dir")),
    written("--chmod added that is the mode", "COPY a.txt", "COPY --chmod=644 a.txt", PLAIN),
    written("--chmod with a zero in front", "=644", "=0644", PLAIN.replace("COPY a.txt", "COPY --chmod=644 a.txt")),
    written("--chmod changed", "=644", "=600", PLAIN.replace("COPY a.txt", "COPY --chmod=644 a.txt")),
    written("COPY split into two", "a.txt b.txt /in/", "a.txt /in/\nCOPY b.txt /in/", PLAIN),
    written("an argument in place of the path", "COPY dir", "ARG D=dir\nCOPY $D", PLAIN),
    written("an environment in place of the path", "COPY dir", "ENV D=dir\nCOPY $D", PLAIN),
    written("a line before COPY", "COPY dir", "RUN echo more\nCOPY dir", PLAIN),
    written("USER before COPY", "COPY dir", "USER 33\nCOPY dir", PLAIN),
    written("SHELL before COPY only", "COPY dir", 'SHELL ["/bin/sh", "-ec"]\nCOPY dir', PLAIN),
    written("ENV before COPY only", "COPY dir", "ENV A=1\nCOPY dir", PLAIN),
)  # fmt: skip

_ENV: Final = RUNS.replace("RUN echo two", "ENV A=1 B=2\nRUN echo two")
_EXEC: Final = RUNS.replace("RUN echo two", 'RUN ["echo", "two"]')

TEXT: Final = (
    written("a comment", "RUN echo two", "# why\nRUN echo two"),
    written("a comment after the last line", "RUN echo two\n", "RUN echo two\n# end\n"),
    written("blank lines", "RUN echo one\n", "RUN echo one\n\n\n"),
    written("blanks before an instruction", "RUN echo two", "  RUN echo two"),
    written("blanks after the keyword", "RUN echo two", "RUN    echo two"),
    written("blanks behind the line", "RUN echo two", "RUN echo two   "),
    written("blanks within the command", "RUN echo two", "RUN echo  two"),
    written("a keyword in lower case", "RUN echo two", "run echo two"),
    written("FROM in lower case", "FROM", "from"),
    written("a line continued", "RUN echo two", "RUN echo \\\n two"),
    written("a line continued, the command the same", "RUN echo two", "RUN echo \\\ntwo"),
    written("a comment within a line", "RUN echo two", "RUN echo \\\n# why\ntwo"),
    written("a directive", f"FROM {BOX}", f"# check=skip=all\nFROM {BOX}"),
    written("another escape character", f"FROM {BOX}", f"# escape=`\nFROM {BOX}"),
    written("no newline at the end", "RUN echo two\n", "RUN echo two"),
    written("Windows line ends", "RUN echo one\n", "RUN echo one\r\n"),
    written("the command itself", "echo two", "echo three"),
    written("quotes in the command", "echo two", "echo 'two'"),
    written("two lines swap", "RUN echo one\nRUN echo two", "RUN echo two\nRUN echo one"),
    written("a line deleted", "RUN echo one\n", ""),
    written("the last line deleted", "RUN echo two\n", ""),
    written("the exec form of the same command", "RUN echo two", 'RUN ["/bin/sh", "-c", "echo two"]'),
    written("blanks in the exec form", '["echo", "two"]', '[ "echo" ,"two" ]', _EXEC),
    written("an argument of the exec form", '"two"', '"three"', _EXEC),
    written("a stage gets a name", f"FROM {BOX}", f"FROM {BOX} AS named"),
    written("--network=none", "RUN echo two", "RUN --network=none echo two"),
    written("--network=default", "RUN echo two", "RUN --network=default echo two"),
)

SETTINGS: Final = (
    added("LABEL", "LABEL a=1"),
    changed("LABEL changed", "LABEL a=1", "LABEL a=2"),
    added("CMD", 'CMD ["a"]'),
    added("ENTRYPOINT", "ENTRYPOINT a"),
    added("EXPOSE", "EXPOSE 80"),
    added("VOLUME", "VOLUME /data"),
    added("STOPSIGNAL", "STOPSIGNAL 9"),
    added("HEALTHCHECK", "HEALTHCHECK CMD true"),
    added("ONBUILD", "ONBUILD RUN echo later"),
    added("MAINTAINER", "MAINTAINER me"),
    added("ENV", "ENV A=1"),
    added("ENV behind the last RUN", "ENV A=1", before="RUN echo two", text=RUNS.replace("RUN echo two\n", "")
          + "RUN echo two\n"),
    written("ENV at the end", "RUN echo two\n", "RUN echo two\nENV A=1\n"),
    changed("ENV changed", "ENV A=1", "ENV A=2"),
    changed("ENV removed", "ENV A=1", "LABEL x=y"),
    changed("ENV quoted", "ENV A=1", 'ENV A="1"'),
    changed("ENV in the old form", "ENV A=1", "ENV A 1"),
    changed("ENV in another order", "ENV A=1 B=2", "ENV B=2 A=1"),
    changed("ENV on two lines", "ENV A=1 B=2", "ENV A=1\nENV B=2"),
    changed("ENV twice the same", "ENV A=1", "ENV A=1\nENV A=1"),
    changed("ENV overridden by the same value in the end", "ENV A=1", "ENV A=2\nENV A=1"),
    changed("ENV again, after another", "ENV A=1 B=2", "ENV A=1 B=2\nENV A=1"),
    changed("ENV from an ENV", "ENV A=1 B=1", "ENV A=1\nENV B=$A"),
    added("ENV that the image has", "ENV PATH=$PATH"),
    added("USER", "USER 33"),
    changed("USER by number instead of name", "USER www-data", "USER 33"),
    changed("USER twice the same", "USER 33", "USER 33\nUSER 33"),
    changed("USER with its group", "USER 33", "USER 33:33"),
    added("USER root where it is root", "USER root"),
    added("USER 0 where it is root", "USER 0"),
    added("WORKDIR", "WORKDIR /srv"),
    changed("WORKDIR changed", "WORKDIR /srv", "WORKDIR /opt"),
    changed("WORKDIR twice the same", "WORKDIR /srv", "WORKDIR /srv\nWORKDIR /srv"),
    changed("WORKDIR with a slash behind", "WORKDIR /srv", "WORKDIR /srv/"),
    changed("WORKDIR relative to the root", "WORKDIR /srv", "WORKDIR srv"),
    changed("WORKDIR there and back", "WORKDIR /srv", "WORKDIR /opt\nWORKDIR /srv"),
    changed("WORKDIR as another user", "WORKDIR /w", "USER 33\nWORKDIR /w"),
    added("WORKDIR / where it is /", "WORKDIR /"),
    changed("WORKDIR from an argument", "WORKDIR /srv", "ARG D=/srv\nWORKDIR $D"),
    added("SHELL", 'SHELL ["/bin/sh", "-ec"]'),
    added("SHELL as it is anyway", 'SHELL ["/bin/sh", "-c"]'),
    changed("SHELL before the exec form", 'SHELL ["/bin/sh", "-ec"]', "LABEL a=b", before='RUN ["echo", "two"]', text=_EXEC),
)  # fmt: skip

_ARG: Final = RUNS.replace("RUN echo two", "ARG V=1\nRUN echo two")


def argued(name: str, line: str, before: dict[str, str], after: dict[str, str], at: str = "RUN echo two") -> Case:
    """A case of a build argument that changes."""
    text = RUNS.replace(at, f"{line}\n{at}") if at and line else f"{RUNS}{line}\n"
    return Case(f"argument: {name}", text, (Build(args=after),), first=Build(args=before), files=FILES)


ARGUMENTS: Final = (
    argued("declared, the same value", "ARG V", {"V": "1"}, {"V": "1"}),
    argued("declared, another value", "ARG V", {"V": "1"}, {"V": "2"}),
    argued("declared, given now", "ARG V", {}, {"V": "1"}),
    argued("declared, given as its default", "ARG V=1", {}, {"V": "1"}),
    argued("declared, given empty", "ARG V", {}, {"V": ""}),
    argued("not declared", "", {"V": "1"}, {"V": "2"}),
    argued("declared at the end", "ARG V", {"V": "1"}, {"V": "2"}, at=""),
    argued("declared before all", "ARG V", {"V": "1"}, {"V": "2"}, at=MARK),
    argued("overridden by ENV", "ARG V\nENV V=x", {"V": "1"}, {"V": "2"}),
    argued("overrides ENV", "ENV V=x\nARG V", {"V": "1"}, {"V": "2"}),
    argued("in a LABEL only", "ARG V\nLABEL v=$V", {"V": "1"}, {"V": "2"}),
    argued("in an ENV", "ARG V\nENV W=$V", {"V": "1"}, {"V": "2"}),
    argued("a proxy", "", {"HTTP_PROXY": "http://a"}, {"HTTP_PROXY": "http://b"}),
    argued("a proxy in lower case", "", {"https_proxy": "http://a"}, {"https_proxy": "http://b"}),
    argued("a proxy, given now", "", {}, {"NO_PROXY": "local"}),
    argued("a proxy that is declared", "ARG HTTP_PROXY", {"HTTP_PROXY": "http://a"}, {"HTTP_PROXY": "http://b"}),
    argued("a platform's, which the file does not use", "", {}, {"TARGETARCH": "x"}),
    argued("the system's own names", "", {}, {"BUILDKIT_INLINE_CACHE": "1"}),
    added("ARG without a value", "ARG V"),
    added("ARG with a default", "ARG V=1"),
    changed("ARG's default changed", "ARG V=1", "ARG V=2"),
    changed("ARG becomes ENV", "ARG V=1", "ENV V=1"),
    changed("ARG's default quoted", "ARG V=1", 'ARG V="1"'),
    changed("ARGs in another order", "ARG V=1 W=2", "ARG W=2 V=1"),
    changed("ARG moved up by one line that runs nothing", "LABEL a=b\nARG V=1", "ARG V=1\nLABEL a=b"),
    written("ARG moved before another RUN", "RUN echo one\nARG V=1", "ARG V=1\nRUN echo one", _ARG),
    written("global ARG added", f"FROM {BOX}", f"ARG V=1\nFROM {BOX}"),
    written("global ARG in FROM", f"FROM {BOX}", f"ARG B={BOX}\nFROM $B"),
    changed("ARG from a global one", "ARG V=1", "ARG V", text=f"ARG V=1\n{RUNS}"),
    added("TARGETPLATFORM", "ARG TARGETPLATFORM"),
    added("TARGETSTAGE", "ARG TARGETSTAGE"),
    Case(
        "argument: TARGETSTAGE under another name of the stage",
        RUNS.replace(f"FROM {BOX}", f"FROM {BOX} AS x").replace("RUN echo two", "ARG TARGETSTAGE\nRUN echo two"),
        (Build((("AS x", "AS y"),)),),
    ),
    Case(
        "argument: of one stage only",
        STAGES.replace("RUN cat", "ARG V\nRUN cat"),
        (Build(args={"V": "2"}),),
        first=Build(args={"V": "1"}),
        files=FILES,
    ),
    Case(
        "argument: of a stage that another one stands on",
        f"FROM {BOX} AS x\n{MARK}\nARG V\nRUN echo one\nFROM x\nRUN echo two\n",
        (Build(args={"V": "2"}),),
        first=Build(args={"V": "1"}),
    ),
)

_HEREDOC: Final = RUNS.replace("RUN echo two", "RUN <<E\necho two\nE")
_SCRIPT: Final = RUNS.replace("RUN echo two", "RUN <<E\n#!/bin/sh\necho two\nE")
_INLINE: Final = RUNS.replace("RUN echo two", "COPY <<E /file\ntext\nE\nRUN echo two")

HEREDOCS: Final = (
    written("heredoc of RUN edited", "\necho two", "\necho three", _HEREDOC),
    written("heredoc of RUN under another name", "<<E\necho two\nE", "<<F\necho two\nF", _HEREDOC),
    written("heredoc of RUN quoted", "<<E", "<<'E'", _HEREDOC),
    written("heredoc of RUN with tabs", "<<E\necho", "<<-E\n\techo", _HEREDOC),
    written("heredoc of RUN instead of a line", "RUN echo two", "RUN <<E\necho two\nE"),
    written("script of RUN edited", "\necho two", "\necho three", _SCRIPT),
    written("script of RUN under another name", "<<E\n#!/bin/sh\necho two\nE", "<<F\n#!/bin/sh\necho two\nF", _SCRIPT),
    written("heredoc of a command edited", "two", "three", RUNS.replace("RUN echo two", "RUN cat <<E\ntwo\nE")),
    written("inline file edited", "text", "other", _INLINE),
    written("inline file under another name", "<<E /file\ntext\nE", "<<F /file\ntext\nF", _INLINE),
    written("inline file to another place", "/file", "/elsewhere", _INLINE),
    written("inline file with a mode", "COPY <<E", "COPY --chmod=600 <<E", _INLINE),
    written("inline file with a variable of the same value", "text", "$T", _INLINE.replace("COPY <<E", "ENV T=text\nCOPY <<E")),
    written("inline file quoted", "<<E", "<<'E'", _INLINE),
)  # fmt: skip

_MADE: Final = STAGES.replace("FROM " + BOX + "\n", "FROM " + BOX + " AS final\n", 1)
_TWICE: Final = STAGES.replace(MARK + " too", MARK).replace("RUN echo prepare\n", "")

STAGED: Final = (
    Case("stages: nothing changed", STAGES, (Build(),), files=FILES),
    Case(
        "stages: built again with another content", STAGES, (Build(context=(("write", "dir/one", "z\n"),)),),
        files=FILES,
    ),
    Case(
        "stages: built again with the same content", STAGES, (Build(context=(("write", "dir/two", "z\n"),)), Build()),
        files=FILES,
    ),
    Case(
        "stages: built again with the same content, then more behind it",
        STAGES,
        (Build(context=(("write", "dir/two", "z\n"),)), Build((("echo finish", "echo end"),))),
        files=FILES,
    ),
    Case(
        "stages: a line that changes nothing added to the first", STAGES,
        (Build((("RUN cat", "RUN echo more\nRUN cat"),)),), files=FILES,
    ),
    Case(
        "stages: a line that changes nothing added behind what is copied", STAGES,
        (Build((("> /program", "> /program\nRUN echo more"),)),), files=FILES,
    ),
    Case(
        "stages: another file of the first stage changed", STAGES,
        (Build((("> /program", "> /program\nRUN echo x > /elsewhere"),)),), files=FILES,
    ),
    Case("stages: LABEL in the first", STAGES, (Build((("RUN cat", "LABEL a=b\nRUN cat"),)),), files=FILES),
    Case("stages: ENV at the first one's end", STAGES, (Build((("> /program", "> /program\nENV A=1"),)),), files=FILES),
    Case("stages: renamed", STAGES, (Build((("AS make", "AS made"), ("=make", "=made"))),), files=FILES),
    Case("stages: by number instead of name", STAGES, (Build((("=make", "=0"),)),), files=FILES),
    Case(
        "stages: one that nobody needs edited",
        STAGES.replace(f"FROM {BOX}\n", f"FROM {BOX} AS idle\nRUN echo idle\nFROM {BOX}\n"),
        (Build((("echo idle", "echo lazy"),)),),
        files=FILES,
    ),
    Case(
        "stages: one that nobody needs added", STAGES,
        (Build(((f"FROM {BOX}\n", f"FROM {BOX} AS idle\nRUN echo idle\nFROM {BOX}\n"),)),), files=FILES,
    ),
    Case(
        "stages: what is copied moved within the first, its name the same", STAGES,
        (Build((("> /program", "> /srv/program"), ("make /program", "make /srv/program"))),), files=FILES,
    ),
    Case(
        "stages: the copying stage gets a line before", STAGES, (Build((("RUN echo prepare", "RUN echo prepared"),)),),
        files=FILES,
    ),
    Case("stages: the destination changed", STAGES, (Build((("/program /bin/", "/program /srv/"),)),), files=FILES),
    Case("stages: a target, then the whole", STAGES, (Build(), Build()), Build(target="make"), files=FILES),
    Case("stages: the whole, then a target", STAGES, (Build(target="make"),), files=FILES),
    Case(
        "stages: FROM a stage instead of doing the same",
        f"FROM {BOX} AS x\n{MARK}\nRUN echo one\nFROM {BOX}\n{MARK}\nRUN echo one\nRUN echo two\n",
        (Build(((f"FROM {BOX}\n{MARK}\nRUN echo one\nRUN", "FROM x\nRUN"),)),),
    ),
    Case(
        "stages: mode of the program changed",
        STAGES,
        (Build((("> /program", "> /program; chmod 700 /program"),)),),
        files=FILES,
    ),
    Case(
        "stages: owner of the program changed",
        STAGES,
        (Build((("> /program", "> /program; busybox chown 33 /program"),)),),
        files=FILES,
    ),
    Case(
        "stages: only the time of the program changed",
        STAGES,
        (Build((("> /program", "> /program; touch -d @1000000000 /program"),)),),
        files=FILES,
    ),
    Case(
        "stages: two copies, one of them of another content",
        STAGES.replace("> /program", "> /program; cat /src/two > /two").replace("RUN echo finish", "COPY --from=make /two /\nRUN echo finish"),
        (Build(context=(("write", "dir/two", "z\n"),)),),
        files=FILES,
    ),
    Case("stages: three in a row, the middle one the same", f"""FROM {BOX} AS a
{MARK}
COPY dir /src/
FROM {BOX} AS b
{MARK} b
COPY --from=a /src/one /
RUN cat /one > /out
FROM {BOX}
{MARK} c
COPY --from=b /out /
RUN cat /out
""", (Build(context=(("write", "dir/two", "z\n"),)), Build(context=(("write", "dir/one", "z\n"),))), files=FILES),
)  # fmt: skip

BASES: Final = (
    written("base with the same layers and another LABEL", f"FROM {BOX}", f"FROM {BOX}:relabelled"),
    written("base with another layer", f"FROM {BOX}", f"FROM {BOX}:other"),
    written("base with the same layers and another ENV", f"FROM {BOX}", f"FROM {BOX}:environment"),
    written("base with another ENV before COPY only", f"FROM {BOX}", f"FROM {BOX}:environment",
            f"FROM {BOX}\nWORKDIR /mark\nCOPY a.txt /\n"),
    written("base with tag in full", f"FROM {BOX}\n", f"FROM docker.io/library/{BOX}:latest\n"),
    Case(
        "base: COPY --from an image with the same file",
        f"FROM {BOX}\n{MARK}\nCOPY --from={BOX} /etc/passwd /here/\nRUN echo one\n",
        (Build(((f"--from={BOX}", f"--from={BOX}:other"),)), Build(((f"--from={BOX}:other", f"--from={BOX}:relabelled"),))),
    ),
    Case(
        "base: COPY --from an image with another file",
        f"FROM {BOX}\n{MARK}\nCOPY --from={BOX} /etc /here/\nRUN echo one\n",
        (Build(((f"--from={BOX}", f"--from={BOX}:other"),)),),
    ),
)  # fmt: skip

ASKED: Final = (
    Case("asked: --no-cache", PLAIN, (Build(no_cache=True), Build()), files=FILES),
    Case(
        "asked: --no-cache, then an edit", PLAIN, (Build(no_cache=True), Build(context=(("write", "dir/one", "z"),))),
        files=FILES,
    ),
    Case("asked: --no-cache of stages", STAGES, (Build(no_cache=True), Build()), files=FILES),
    Case(
        "asked: another epoch", PLAIN, (Build(epoch=EPOCH + 1),), Build(epoch=EPOCH), files=FILES,
    ),
    Case("asked: an epoch now", PLAIN, (Build(epoch=EPOCH), Build()), files=FILES),
    Case(
        "asked: another epoch, WORKDIR first",
        PLAIN.replace("COPY a", "WORKDIR /w\nCOPY a"),
        (Build(epoch=EPOCH + 1), Build(epoch=EPOCH)),
        Build(epoch=EPOCH),
        files=FILES,
    ),
    Case(
        "asked: an epoch now, WORKDIR last", PLAIN + "WORKDIR /w\nRUN echo end\n", (Build(epoch=EPOCH), Build()),
        files=FILES,
    ),
    Case(
        "asked: another epoch, an inline file", _INLINE, (Build(epoch=EPOCH + 1),), Build(epoch=EPOCH),
    ),
    Case(
        "asked: another epoch that a stage declares",
        RUNS.replace("RUN echo two", "ARG SOURCE_DATE_EPOCH\nRUN echo two"),
        (Build(epoch=EPOCH + 1),),
        Build(epoch=EPOCH),
    ),
    Case(
        "asked: another epoch, WORKDIR in a stage that is copied from",
        STAGES.replace("COPY dir", "WORKDIR /w\nCOPY dir"),
        (Build(epoch=EPOCH + 1),),
        Build(epoch=EPOCH),
        files=FILES,
    ),
    Case(
        "asked: a step that failed, mended",
        RUNS.replace("echo two", "false"),
        (Build((("RUN false", "RUN true"),)),),
        Build(fails=True),
    ),
    Case(
        "asked: a step that failed, again",
        RUNS.replace("echo two", "false"),
        (Build(fails=True),),
        Build(fails=True),
    ),
)  # fmt: skip


def mounted(name: str, mount: str, *builds: Build, first: Build = FIRST) -> Case:
    """A case of a RUN with a mount."""
    return Case(f"mount: {name}", RUNS.replace("RUN echo two", f"RUN --mount={mount} echo two"), builds, first, FILES)


def _remounted(old: str, new: str) -> Build:
    return Build(((f"--mount={old}", f"--mount={new}"),))


MOUNTS: Final = (
    mounted("cache, nothing changed", "type=cache,target=/c", Build()),
    mounted("cache added", "type=tmpfs,target=/c", _remounted("type=tmpfs", "type=cache")),
    mounted("cache under another id", "type=cache,target=/c,id=a", _remounted("type=cache,target=/c,id=a", "type=cache,target=/c,id=b")),
    mounted("cache gets an id", "type=cache,target=/c", _remounted("type=cache,target=/c", "type=cache,target=/c,id=b")),
    mounted("cache shared in another way", "type=cache,target=/c", _remounted("type=cache,target=/c", "type=cache,target=/c,sharing=locked")),
    mounted("cache at another place", "type=cache,target=/c", _remounted("type=cache,target=/c", "type=cache,target=/d")),
    mounted("cache read-only", "type=cache,target=/c", _remounted("type=cache,target=/c", "type=cache,target=/c,ro")),
    mounted("cache with a mode", "type=cache,target=/c", _remounted("type=cache,target=/c", "type=cache,target=/c,mode=0700")),
    mounted("tmpfs, nothing changed", "type=tmpfs,target=/t", Build()),
    mounted("tmpfs of another size", "type=tmpfs,target=/t,size=1m", _remounted("type=tmpfs,target=/t,size=1m", "type=tmpfs,target=/t,size=2m")),
    mounted("bind, nothing changed", "target=/m", Build()),
    mounted("bind of the whole context, a file edited", "target=/m", Build(context=(("write", "notes.md", "z"),))),
    mounted("bind of the whole context, a file touched", "target=/m", Build(context=(("touch", "notes.md"),))),
    mounted("bind of a directory, a file in it edited", "source=dir,target=/m", Build(context=(("write", "dir/one", "z"),))),
    mounted("bind of a directory, another file edited", "source=dir,target=/m", Build(context=(("write", "notes.md", "z"),))),
    mounted("bind of a directory, a mode changed", "source=dir,target=/m", Build(context=(("chmod", "dir/one", "600"),))),
    mounted("bind of a file edited", "source=a.txt,target=/m", Build(context=(("write", "a.txt", "z"),))),
    mounted("bind of another directory with the same content", "source=dir,target=/m", _remounted("source=dir", "source=same")),
    mounted("bind at another place", "source=dir,target=/m", _remounted("source=dir,target=/m", "source=dir,target=/n")),
    mounted("bind that can be written", "source=dir,target=/m", _remounted("source=dir,target=/m", "source=dir,target=/m,rw")),
    mounted("bind that can be written, the file edited", "source=dir,target=/m,rw", Build(context=(("write", "dir/one", "z"),))),
    mounted("bind that can be written, another file edited", "source=dir,target=/m,rw", Build(context=(("write", "notes.md", "z"),))),
    mounted("secret, another value", "type=secret,id=s", Build(secret="two"), first=Build(secret="one")),
    mounted("secret, given now", "type=secret,id=s", Build(secret="one")),
    mounted("secret at another place", "type=secret,id=s", _remounted("type=secret,id=s", "type=secret,id=s,target=/s")),
    mounted("secret under another id", "type=secret,id=s,target=/s", _remounted("type=secret,id=s,target=/s", "type=secret,id=t,target=/s")),
    mounted("secret required now", "type=secret,id=s", Build((("--mount=type=secret,id=s", "--mount=type=secret,id=s,required"),), secret="x"), first=Build(secret="x")),
    mounted("mount added", "type=tmpfs,target=/t", _remounted("type=tmpfs,target=/t", "type=tmpfs,target=/t --mount=type=tmpfs,target=/u")),
    Case(
        "mount: bind of a stage that is built again with the same content",
        STAGES.replace("COPY --from=make /program /bin/\nRUN", "RUN --mount=from=make,source=/program,target=/p"),
        (Build(context=(("write", "dir/two", "z\n"),)), Build(context=(("write", "dir/one", "z\n"),))),
        files=FILES,
    ),
    Case(
        "mount: bind of a whole stage with another file",
        STAGES.replace("COPY --from=make /program /bin/\nRUN", "RUN --mount=from=make,target=/p"),
        (Build(context=(("write", "dir/two", "z\n"),)), Build((("RUN cat", "RUN echo more\nRUN cat"),))),
        files=FILES,
    ),
)  # fmt: skip

_LINK: Final = PLAIN.replace("COPY dir", "COPY --link dir")

WIDER: Final = (
    Case("link: nothing changed", _LINK, (Build(),), files=FILES),
    Case("link: the file edited", _LINK, (Build(context=(("write", "dir/one", "z"),)),), files=FILES),
    Case("link: what it stands on changed", _LINK, (Build((("RUN cat", "RUN echo more; cat"),)),), files=FILES),
    Case("link: what it stands on edited", _LINK, (Build(context=(("write", "a.txt", "z"),)),), files=FILES),
    written("--link added", "COPY dir", "COPY --link dir", PLAIN),
)

CASES: Final = (
    *CONTEXT, *SOURCES, *TEXT, *SETTINGS, *ARGUMENTS, *HEREDOCS, *STAGED, *BASES, *ASKED, *MOUNTS, *WIDER,
)  # fmt: skip
