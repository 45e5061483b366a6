"""``check=skip=A,B;error=true;experimental=C``: which rules speak, and whether a warning fails the build.

The text stands in a directive, in ``--build-arg BUILDKIT_DOCKERFILE_CHECK=...`` (which replaces the directive), or in
a comment directly above an instruction, where it holds for that instruction only. As in BuildKit, a name that is no
rule's is no error: a file may name rules that only a later frontend has.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bennu.dockerfile import numbers, spelling
from bennu.dockerfile.checks.rules import Rule
from bennu.dockerfile.instructions import Dockerfile
from bennu.dockerfile.lexer import directive_of
from bennu.dockerfile.words import SPACE
from bennu.errors import Invalid

VARIABLE: Final = "BUILDKIT_DOCKERFILE_CHECK"
"""The build argument that replaces the directive."""

_ALL: Final = "all"
_KEYS: Final = ("skip", "experimental", "error")


class Options(msgspec.Struct, frozen=True):
    """What is asked for. ``all`` among the names stands for every rule."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    is_error: bool = False

    def speaks(self, rule: Rule) -> bool:
        """Whether a rule is to be heard. ``skip`` does not touch experimental rules, which must be asked for anyhow."""
        if rule.experimental:
            return not self.experimental.isdisjoint((_ALL, rule.name))
        return self.skip.isdisjoint((_ALL, rule.name))

    def under(self, comments: tuple[str, ...]) -> Options:
        """The options for an instruction with these comments above it; the first ``check=`` among them counts."""
        for comment in comments:
            found = directive_of(comment)
            if found is None or found[0] != "check":
                continue
            try:
                own = parse_options(found[1].partition(" ")[0])
            except Invalid:
                return self  # a sentence that only begins like one
            return Options(self.skip | own.skip, self.experimental | own.experimental, self.is_error)
        return self


def parse_options(text: str) -> Options:
    """Read options. ``Invalid`` without a place for an unknown key or a value that is none."""
    names: dict[str, frozenset[str]] = {}
    is_error = False
    for part in text.strip(SPACE).split(";", 2) if text.strip(SPACE) else ():
        key, equals, value = part.partition("=")
        key, value = key.strip(SPACE), value.strip(SPACE)
        if key not in _KEYS or not equals:
            raise Invalid(
                f"check option {part.strip(SPACE)!r} is not KEY=VALUE with a known key",
                spelling.hint(key, _KEYS, f"the keys are {', '.join(_KEYS)}, with a semicolon between them"),
            )
        if key != "error":
            names[key] = frozenset(name.strip(SPACE) for name in value.split(","))
            continue
        truth = numbers.boolean(value)
        if truth is None:
            raise Invalid(f"check option 'error' is neither true nor false but {value!r}", "write error=true")
        is_error = truth
    return Options(names.get("skip", frozenset()), names.get("experimental", frozenset()), is_error)


def options_of(dockerfile: Dockerfile, build_arg: str | None) -> Options:
    """The options of a whole file. ``Invalid``, at the directive where it is the directive that is wrong."""
    if build_arg is not None:
        try:
            return parse_options(build_arg)
        except Invalid as error:
            raise Invalid(f"build argument {VARIABLE}: {error.message}", error.hint) from error
    directive = dockerfile.directive("check")
    if directive is None:
        return Options()
    try:
        return parse_options(directive.value.partition(" ")[0])
    except Invalid as error:
        raise directive.span.narrow(directive.value).invalid(error.message, error.hint) from error
