"""The shapes of a parsed Dockerfile: one frozen struct per instruction, stages, and the whole file.

Values stand as they were written, quotes, escapes and variables included, until ``fields.expand`` puts them in;
what was not written is None, an empty tuple or False. Nothing here checks anything: ``grammar`` builds these and
refuses what is malformed. The rules are those of the Dockerfile reference.
"""

from __future__ import annotations

import re

import msgspec

from bennu.dockerfile.source import Span

_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)


class ExecForm(msgspec.Struct, frozen=True):
    """A JSON array: the arguments, run without a shell."""

    arguments: tuple[str, ...]


class ShellForm(msgspec.Struct, frozen=True):
    """One string for the stage's shell, continuations joined, neither unquoted nor expanded."""

    text: str


Form = ExecForm | ShellForm


class Heredoc(msgspec.Struct, frozen=True):
    """A ``<<NAME`` document. ``content`` is as written, tabs and line ends included, without the closing line.

    ``expand`` is False where any part of the name was quoted; ``chomp`` is True for ``<<-``. ``descriptor`` is the
    number before ``<<`` (0 where there is none). ``span`` covers the content and its closing line.
    """

    name: str
    content: str
    expand: bool
    chomp: bool
    descriptor: int
    span: Span

    @property
    def body(self) -> str:
        """The content, without each line's leading tabs where ``<<-`` asked for it."""
        return _LEADING_TABS.sub("", self.content) if self.chomp else self.content


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """What all instructions share.

    ``keyword`` is as written (``run``, ``RUN``); ``text`` the logical line, continuations joined and comments gone,
    with no heredoc content; ``span`` the source from the keyword to the end of the line or of the last heredoc;
    ``comments`` the comment lines directly above, each without its ``#``.
    """

    keyword: str
    text: str
    span: Span
    comments: tuple[str, ...] = ()


class Pair(msgspec.Struct, frozen=True):
    """One ``key=value`` of ENV or LABEL, both unexpanded."""

    key: str
    value: str


class Add(Instruction, frozen=True, kw_only=True):
    """``ADD``. ``sources`` are paths and URLs; inline files are in ``heredocs``."""

    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    chown: str | None = None
    chmod: str | None = None
    link: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str | None = None
    keep_git_dir: bool | None = None
    unpack: bool | None = None


class ArgDeclaration(msgspec.Struct, frozen=True):
    """One name of ARG. ``default`` is None without ``=`` and the empty string with nothing after it."""

    name: str
    default: str | None = None


class Arg(Instruction, frozen=True, kw_only=True):
    """``ARG``, with one or more declarations."""

    declarations: tuple[ArgDeclaration, ...]


class Cmd(Instruction, frozen=True, kw_only=True):
    """``CMD``. An exec form with no arguments clears it."""

    command: Form


class Copy(Instruction, frozen=True, kw_only=True):
    """``COPY``. ``from_`` names a stage, its number, an image or a named context; None is the build context."""

    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    from_: str | None = None
    chown: str | None = None
    chmod: str | None = None
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()


class Entrypoint(Instruction, frozen=True, kw_only=True):
    """``ENTRYPOINT``. An exec form with no arguments clears it."""

    command: Form


class Env(Instruction, frozen=True, kw_only=True):
    """``ENV``. ``legacy`` is True for ``ENV key value``, the form without an equals sign."""

    pairs: tuple[Pair, ...]
    legacy: bool = False


class Expose(Instruction, frozen=True, kw_only=True):
    """``EXPOSE``: ports as written, ``80``, ``80/udp``, ``8000-8010``; a variable may stand for several."""

    ports: tuple[str, ...]


class From(Instruction, frozen=True, kw_only=True):
    """``FROM``. ``alias`` is the stage's name in lower case."""

    image: str
    alias: str | None = None
    platform: str | None = None

    @property
    def written_alias(self) -> str | None:
        """The stage's name as AS spells it."""
        return None if self.alias is None else self.text.split()[-1]


class Healthcheck(Instruction, frozen=True, kw_only=True):
    """``HEALTHCHECK``. ``command`` is None for NONE. A number that is 0 leaves that setting to the base image."""

    command: Form | None
    interval_nanoseconds: int = 0
    timeout_nanoseconds: int = 0
    start_period_nanoseconds: int = 0
    start_interval_nanoseconds: int = 0
    retries: int = 0


class Label(Instruction, frozen=True, kw_only=True):
    """``LABEL``. ``legacy`` is True for ``LABEL key value``."""

    pairs: tuple[Pair, ...]
    legacy: bool = False


class Maintainer(Instruction, frozen=True, kw_only=True):
    """``MAINTAINER``, which the reference deprecates."""

    name: str


class Onbuild(Instruction, frozen=True, kw_only=True):
    """``ONBUILD``. ``expression`` is what the image's config keeps; ``trigger`` the same, parsed; None where it does
    not parse.
    """

    expression: str
    trigger: Instruction | None


class MountFlag(msgspec.Struct, frozen=True):
    """One ``--mount`` of RUN, unexpanded; ``mounts.resolve`` turns it into a ``Mount``."""

    text: str
    span: Span


class Run(Instruction, frozen=True, kw_only=True):
    """``RUN``. ``network`` is default, none or host; ``security`` sandbox or insecure; None where it is not written."""

    command: Form
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[MountFlag, ...] = ()
    network: str | None = None
    security: str | None = None
    devices: tuple[str, ...] = ()


class Shell(Instruction, frozen=True, kw_only=True):
    """``SHELL``: the program and arguments that run shell forms. Never empty."""

    command: tuple[str, ...]


class StopSignal(Instruction, frozen=True, kw_only=True):
    """``STOPSIGNAL``: a name or a number, unexpanded."""

    signal: str


class User(Instruction, frozen=True, kw_only=True):
    """``USER``: ``user[:group]``, names or numbers, unexpanded."""

    user: str


class Volume(Instruction, frozen=True, kw_only=True):
    """``VOLUME``: one or more paths, unexpanded."""

    paths: tuple[str, ...]


class Workdir(Instruction, frozen=True, kw_only=True):
    """``WORKDIR``: a path, unexpanded."""

    path: str


class Directive(msgspec.Struct, frozen=True):
    """A parser directive: ``name`` is syntax, escape or check, in lower case."""

    name: str
    value: str
    span: Span


class EmptyContinuation(msgspec.Struct, frozen=True):
    """A continued instruction with blank lines inside: the ``first`` of them, and the instruction's ``last`` line."""

    first: Span
    last: Span


class Stage(msgspec.Struct, frozen=True):
    """From one FROM to the next: ``index`` counts from 0 and is the stage's number in ``COPY --from=0``."""

    index: int
    from_: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str | None:
        """The name that AS gave, in lower case."""
        return self.from_.alias


class Dockerfile(msgspec.Struct, frozen=True):
    """A whole file: ``global_args`` stand before the first FROM; there is at least one stage.

    ``escape`` is a backslash or a backtick; ``empty_continuations`` are the instructions with blank lines inside,
    which the reference deprecates.
    """

    file: str
    source: str
    escape: str
    directives: tuple[Directive, ...]
    global_args: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    empty_continuations: tuple[EmptyContinuation, ...] = ()

    def directive(self, name: str) -> Directive | None:
        """The directive of that name, if the file has it."""
        return next((directive for directive in self.directives if directive.name == name), None)

    def named(self, name: str, before: int | None = None) -> Stage | None:
        """The last stage of that name, case aside, among those with an index below ``before`` (all, where None)."""
        return next((stage for stage in reversed(self.stages[:before]) if stage.name == name.lower()), None)

    def base(self, image: str, before: int) -> Stage | None:
        """The earlier stage that FROM means: by its name in lower case, as BuildKit has it, or as AS spells it, as
        Buildah has it. Another spelling is an image's name, and a bad one.
        """
        stages = reversed(self.stages[:before])
        return next(
            (stage for stage in stages if stage.name and image in (stage.name, stage.from_.written_alias)), None
        )

    def stage(self, reference: str, before: int | None = None) -> Stage | None:
        """What ``COPY --from`` means by a reference: the stage so numbered, else the one so named, else None."""
        if reference.isascii() and reference.isdecimal():
            return next((stage for stage in self.stages[:before] if stage.index == int(reference)), None)
        return self.named(reference, before)
