"""What a Dockerfile offers to whoever builds it: its targets, and what one target can be given. Pure.

``targets`` lists the stages; ``outline`` what a target takes: build arguments with their values and descriptions,
secrets, agents. A description is the comment directly above that begins with the name (Dockerfile reference,
"Commands", and Docker's documentation of build checks: ``# NAME DESCRIPTION``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from bennu.dockerfile.checks.facts import Facts, edges
from bennu.dockerfile.checks.options import Options
from bennu.dockerfile.checks.report import Report
from bennu.dockerfile.checks.run import Walk
from bennu.dockerfile.checks.stages import Need
from bennu.dockerfile.expansion import Options as Expansion
from bennu.dockerfile.expansion import expand
from bennu.dockerfile.fields import expand_instruction
from bennu.dockerfile.global_args import global_values
from bennu.dockerfile.instructions import Arg, Dockerfile, From
from bennu.dockerfile.source import Span


class Target(msgspec.Struct, frozen=True):
    """A stage. ``base`` and ``platform`` stand as they are written."""

    name: str
    description: str
    is_default: bool
    base: str
    platform: str
    span: Span


class Parameter(msgspec.Struct, frozen=True):
    """A build argument: ``value`` is what it has without being given, or what it was given."""

    name: str
    value: str
    description: str
    span: Span


class Requirement(msgspec.Struct, frozen=True):
    """A secret or an agent, by its id."""

    name: str
    required: bool
    span: Span


class Outline(msgspec.Struct, frozen=True):
    """A target and what it takes, by line."""

    name: str
    description: str
    arguments: tuple[Parameter, ...]
    secrets: tuple[Requirement, ...]
    agents: tuple[Requirement, ...]


def targets(dockerfile: Dockerfile) -> tuple[Target, ...]:
    """The stages in the file's order; the last one is the default."""
    last = dockerfile.stages[-1].index
    return tuple(
        Target(
            stage.name or "",
            description(stage.from_.comments, stage.name or ""),
            stage.index == last,
            stage.from_.image,
            stage.from_.platform or "",
            stage.from_.span,
        )
        for stage in dockerfile.stages
    )


def description(comments: Iterable[str], name: str) -> str:
    """The text behind the name in the first comment that begins with it; empty where there is none."""
    return next((comment[len(name) + 1 :] for comment in comments if name and comment.startswith(f"{name} ")), "")


def outline(dockerfile: Dockerfile, facts: Facts) -> Outline:
    """What a target takes; that of the last stage where none is named. Raises ``Invalid`` for a default of a global ARG
    or a FROM that cannot be expanded.
    """
    named = facts.target and (dockerfile.named(facts.target) or dockerfile.stage(facts.target))
    stage = named or dockerfile.stages[-1]
    facts = msgspec.structs.replace(facts, target=str(stage.index))
    values = global_values(dockerfile, facts.predefined, facts.build_args)
    walk = Walk(dockerfile, facts, values, Report(Options(skip=frozenset({"all"}))))
    walk.run()
    found = _Found(dockerfile, walk, _globals(dockerfile, facts, values))
    found.stage(stage.index)
    return Outline(
        stage.name or "",
        description(stage.from_.comments, stage.name or ""),
        tuple(sorted(found.parameters.values(), key=lambda each: each.span.line)),
        _requirements(found.secrets),
        _requirements(found.agents),
    )


class _Global(msgspec.Struct, frozen=True):
    """An ARG of the whole file, and the ARGs that its default names."""

    parameter: Parameter
    uses: frozenset[str]


def _globals(dockerfile: Dockerfile, facts: Facts, values: Mapping[str, str]) -> dict[str, _Global]:
    found: dict[str, _Global] = {}
    for arg in dockerfile.global_args:
        for declaration in arg.declarations:
            name = declaration.name
            uses: frozenset[str] = frozenset()
            if declaration.default is not None and name not in facts.build_args:
                uses = expand(declaration.default, values, Expansion(escape=dockerfile.escape)).used - {name}
            if name in found:
                uses |= found[name].uses
            own = declaration.default is not None or name in facts.build_args
            found[name] = _Global(_parameter(name, values.get(name) if own else None, arg), uses)
    return found


def _parameter(name: str, value: str | None, arg: Arg) -> Parameter:
    return Parameter(name, value or "", description(arg.comments, name), arg.span)


class _Found:
    """What a stage takes, then what the stages take that it stands on; of one name the nearest counts."""

    def __init__(self, dockerfile: Dockerfile, walk: Walk, known: Mapping[str, _Global]) -> None:
        self.dockerfile = dockerfile
        self.walk = walk
        self.known = known
        self.parameters: dict[str, Parameter] = {}
        self.secrets: dict[str, Need] = {}
        self.agents: dict[str, Need] = {}
        self._done: set[int] = set()

    def stage(self, index: int) -> None:
        """Take down what a stage takes, and what those take that it needs."""
        if index in self._done or index not in self.walk.states:
            return
        self._done.add(index)
        state = self.walk.states[index]
        for name in self._names_in(self.dockerfile.stages[index].from_):
            self._global(name)
        for name, argument in state.arguments.items():
            if argument.is_global:
                self._global(name)
            else:
                self.parameters.setdefault(name, _parameter(name, argument.value, argument.instruction))
        for mine, theirs in ((self.secrets, state.secrets), (self.agents, state.agents)):
            for name, need in theirs.items():
                mine.setdefault(name, need)
        for other in edges(self.dockerfile, self.walk.origins[index], index):
            self.stage(other)

    def _global(self, name: str) -> None:
        """An ARG of the whole file with those that it is made of."""
        found = self.known.get(name)
        if found is not None and name not in self.parameters:
            self.parameters[name] = found.parameter
            for other in sorted(found.uses):
                self._global(other)

    def _names_in(self, origin: From) -> list[str]:
        return sorted(expand_instruction(origin, self.walk.values, self.dockerfile.escape).used)


def _requirements(needs: Mapping[str, Need]) -> tuple[Requirement, ...]:
    found = [Requirement(name, need.required, need.instruction.span) for name, need in needs.items()]
    return tuple(sorted(found, key=lambda each: each.span.line))
