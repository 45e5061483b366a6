"""One stage while it is lowered: its tree so far, its image's configuration, and the variables in force. Pure.

``Stage`` is the one owner of what changes from instruction to instruction; ``settings`` (what only changes the
configuration), ``commands`` (RUN, WORKDIR) and ``copies`` (COPY, ADD) change it through its methods. ENV and ARG share
one set of variables and the later wins, as in BuildKit; only ENV reaches the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

import msgspec

from bennu.build.graph import Graph, Local, Step
from bennu.build.history import COMMENT
from bennu.dockerfile.expansion import ExpansionError, Options, expand
from bennu.dockerfile.fields import expand_instruction
from bennu.dockerfile.instructions import Form, Instruction, ShellForm
from bennu.dockerfile.source import Span
from bennu.oci.image_config import ContainerConfig, History, ImageConfig
from bennu.oci.platform import Platform

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HIDDEN: Final = "****"
_DEFAULT_SHELL: Final = ("/bin/sh", "-c")
_I = TypeVar("_I", bound=Instruction)


class Build(msgspec.Struct, frozen=True):
    """What all stages of one build share.

    ``globals`` are the values that a stage inherits by declaring; ``proxies`` are ``K=V``; ``created`` stands in each
    history entry. ``platform`` is what is built on.
    ``source`` finds the vertex that ``COPY --from`` means, for the stage of that index.
    """

    graph: Graph
    escape: str
    globals: Mapping[str, str]
    build_args: Mapping[str, str]
    proxies: tuple[str, ...]
    created: str
    platform: Platform
    source: Callable[[int, str, Span], int]

    def context(self) -> int:
        """The vertex of the build context."""
        return self.graph.add(Local(), "load build context")


class Numbering:
    """The labels of a stage's steps: ``[web 3/7] RUN make``. Numbers are padded to the width of ``total``."""

    def __init__(self, name: str, total: int) -> None:
        self.name = name
        self.total = total
        self._index = 0

    def next(self, text: str, *, is_trigger: bool = False) -> str:
        """The label of the next step."""
        if self.total == 0:
            return text
        self._index += 1
        name = f"{self.name} " if self.name else ""
        width = int(1 + math.log10(self.total))
        return f"[{name}{self._index:{width}}/{self.total}] {'ONBUILD ' if is_trigger else ''}{text}"


class Stage:
    """The state of a stage. ``tip`` is the vertex that holds its tree, None for an empty one.

    ``own`` are the vertices of its instructions. ``arguments`` are the declared ARGs by name, in order, with the value
    that each had when it was declared.
    """

    def __init__(
        self,
        build: Build,
        index: int,
        numbering: Numbering,
        image: ImageConfig,
        tip: int | None,
        *,
        base: Stage | None = None,
        inherited: int = 0,
    ) -> None:
        self.build = build
        self.index = index
        self.numbering = numbering
        self.image = image
        self.tip = tip
        self.inherited: int = inherited if base is None else base.inherited
        self.variables: dict[str, str] = {} if base is None else dict(base.variables)
        self.arguments: dict[str, str] = {} if base is None else dict(base.arguments)
        self.own: set[int] = set()
        self.has_cmd = False
        self.is_trigger = False
        self.escape = build.escape
        self._take_environment()

    @classmethod
    def upon(cls, base: Stage, index: int, numbering: Numbering) -> Stage:
        """A stage that goes on from another: its tree, configuration and build arguments, none of its triggers."""
        image = msgspec.structs.replace(base.image, config=msgspec.structs.replace(base.image.config, on_build=()))
        return cls(base.build, index, numbering, image, base.tip, base=base)

    def _take_environment(self) -> None:
        """PATH is always set, and the image's ENV comes before anything that the stage says."""
        if "PATH" not in self.config.environment:
            self.change(env=(*self.config.env, f"PATH={DEFAULT_PATH}"))
        for name, value in self.config.environment.items():
            self.set_variable(name, value)

    @property
    def config(self) -> ContainerConfig:
        """The container's part of the configuration."""
        return self.image.config

    @property
    def foreign(self) -> str:
        """The platform of the stage's programs, empty where it is the one that is built on."""
        own = self.image.platform.normalised()
        return "" if own == self.build.platform else str(own)

    @property
    def directory(self) -> str:
        """Where RUN runs and relative destinations begin: absolute, as written."""
        directory = self.config.working_dir or "/"
        return directory if directory.startswith("/") else f"/{directory}"

    def change(self, **fields: object) -> None:
        """Replace fields of the container's configuration."""
        self.image = msgspec.structs.replace(self.image, config=msgspec.structs.replace(self.config, **fields))

    def set_variable(self, name: str, value: str) -> None:
        """ENV or ARG: the newest assignment stands last."""
        self.variables.pop(name, None)
        self.variables[name] = value

    def expanded(self, instruction: _I) -> _I:
        """The instruction with the variables in force put in."""
        return expand_instruction(instruction, self.variables, self.escape).instruction

    def with_shell(self, text: str) -> tuple[str, ...]:
        """The arguments that run a text with the stage's shell."""
        return (*(self.config.shell or _DEFAULT_SHELL), text)

    def arguments_of(self, form: Form) -> tuple[str, ...]:
        """A shell form with its shell in front, an exec form as it is."""
        return self.with_shell(form.text) if isinstance(form, ShellForm) else form.arguments

    def label(
        self, instruction: Instruction, *, addition: str = "", is_command: bool = False, hidden: Iterable[str] = ()
    ) -> str:
        """The next step's label: the instruction's line with the values put in as far as they are known.

        ``is_command``: a RUN, whose quotes and unknown variables are the shell's; ``hidden`` are those with a secret.
        """
        options = Options(escape=self.escape, keep_quotes=is_command, keep_unset=is_command)
        text = instruction.text + addition
        with suppress(ExpansionError):  # a label only: what RUN's shell would take must not stop the build
            text = expand(text, {**self.variables, **dict.fromkeys(hidden, HIDDEN)}, options).text
        keyword, blank, rest = text.partition(" ")
        return self.numbering.next(keyword.upper() + blank + rest, is_trigger=self.is_trigger)

    def step(self, step: Step, label: str, span: Span) -> None:
        """A step that makes the stage's next tree."""
        self.tip = self.build.graph.add(step, label, span)
        self.own.add(self.tip)

    def record(self, created_by: str, *, has_layer: bool = False) -> None:
        """An entry of the history."""
        entry = History(created=self.build.created, created_by=created_by, comment=COMMENT, empty_layer=not has_layer)
        self.image = msgspec.structs.replace(self.image, history=(*self.image.history, entry))
