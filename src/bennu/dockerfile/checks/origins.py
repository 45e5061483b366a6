"""Checks of FROM: its variables and its platform. Each function is a rule of the Dockerfile reference.

They look at every FROM of a file, whichever stages the target needs. What the image itself is belongs to ``stages``.
"""

from __future__ import annotations

from collections.abc import Mapping

from bennu.dockerfile import spelling
from bennu.dockerfile.checks.facts import Facts
from bennu.dockerfile.checks.report import Report, variable
from bennu.dockerfile.expansion import Expanded, ExpansionError, Options, expand
from bennu.dockerfile.global_args import global_values
from bennu.dockerfile.instructions import Dockerfile, From
from bennu.errors import Invalid
from bennu.oci.platform import parse_platform
from bennu.oci.reference import parse_reference

_TARGET: str = "TARGETPLATFORM"


def check(dockerfile: Dockerfile, facts: Facts, values: Mapping[str, str], report: Report) -> None:
    """Run all of them. ``values`` are the global ARGs, by name."""
    invalid_default_arg_in_from(dockerfile, facts, report)
    declared = {declaration.name for arg in dockerfile.global_args for declaration in arg.declarations}
    for stage in dockerfile.stages:
        origin = stage.from_
        image = _expanded(origin.image, values, dockerfile.escape)
        undefined_arg_in_from(origin, image, {*declared, *values}, report)
        if origin.platform is not None:
            platform = _expanded(origin.platform, values, dockerfile.escape)
            undefined_arg_in_from(origin, platform, {*declared, *values}, report)
            redundant_target_platform(origin, platform, values, report)
            from_platform_flag_const_disallowed(origin, platform, facts, report)


def invalid_default_arg_in_from(dockerfile: Dockerfile, facts: Facts, report: Report) -> None:
    """InvalidDefaultArgInFrom: what FROM names where the command line gives no ARG."""
    try:
        values = global_values(dockerfile, facts.predefined, {})
    except Invalid:
        return  # such a default is an error of its own
    for stage in dockerfile.stages:
        image = stage.from_.image
        found = _expanded(image, values, dockerfile.escape)
        if found is None:
            return
        try:
            parse_reference(found.text)
        except Invalid:
            span = stage.from_.span
            what = f"it is '{found.text}'" if found.text else "it is empty"
            report.add(
                "InvalidDefaultArgInFrom",
                span,
                f"'{image}' names no image unless build arguments are given: {what}",
                span.narrow(image),
            )


def undefined_arg_in_from(origin: From, found: Expanded | None, known: set[str], report: Report) -> None:
    """UndefinedArgInFrom."""
    for name in sorted(found.unset - known) if found else ():
        guess = spelling.nearest(name, sorted(known))
        hint = f", did you mean {guess}?" if guess else ", declare it with ARG before the first FROM"
        report.of(origin, "UndefinedArgInFrom", f"'{name}' is no global ARG{hint}", variable(origin, name))


def redundant_target_platform(origin: From, found: Expanded | None, values: Mapping[str, str], report: Report) -> None:
    """RedundantTargetPlatform."""
    if found and found.used == {_TARGET} and not found.unset and found.text == values.get(_TARGET):
        message = f"--platform={origin.platform} is what FROM does anyhow, leave it out"
        report.of(origin, "RedundantTargetPlatform", message, origin.span.narrow("--platform"))


def from_platform_flag_const_disallowed(origin: From, found: Expanded | None, facts: Facts, report: Report) -> None:
    """FromPlatformFlagConstDisallowed. A stage whose name says which platform it is for may have a constant."""
    if found is None or found.used or found.unset:
        return
    try:
        platform = parse_platform(found.text, facts.platform)
    except Invalid:
        return  # the build refuses it
    name = origin.alias or ""
    if platform.os in name or platform.architecture in name:
        return
    message = f"--platform={found.text} is a constant: no other platform can be built with it"
    report.of(origin, "FromPlatformFlagConstDisallowed", message, origin.span.narrow("--platform"))


def _expanded(word: str, values: Mapping[str, str], escape: str) -> Expanded | None:
    try:
        return expand(word, values, Options(escape=escape))
    except ExpansionError:
        return None  # the build refuses it
