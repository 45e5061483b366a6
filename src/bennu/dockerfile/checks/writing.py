"""Checks of how a file is written, whatever its variables and images are: case, names, comments, blank lines.

Each function is a rule of the Dockerfile reference. ``FILE`` are those that look at the file as a whole, where a
``check=`` comment above an instruction counts for nothing (BuildKit's), ``INSTRUCTION`` those that look at one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bennu.dockerfile.checks.report import Report, place
from bennu.dockerfile.instructions import Arg, Dockerfile, From, Instruction, Maintainer
from bennu.dockerfile.words import Word, blank_words, split_head

RESERVED: Final = ("context", "scratch")


def check(dockerfile: Dockerfile, report: Report) -> None:
    """Run all of them, in BuildKit's order."""
    empty_continuations(dockerfile, report)
    for instruction in (*dockerfile.global_args, *_staged(dockerfile)):
        for one in INSTRUCTION:
            one(instruction, dockerfile.escape, report)
    for whole in FILE:
        whole(dockerfile, report)


def empty_continuations(dockerfile: Dockerfile, report: Report) -> None:
    """NoEmptyContinuation. The place is the instruction's last line."""
    for found in dockerfile.empty_continuations:
        report.add("NoEmptyContinuation", found.last, "a blank line stands inside a continued instruction", found.first)


def maintainer_deprecated(instruction: Instruction, _: str, report: Report) -> None:
    """MaintainerDeprecated."""
    if isinstance(instruction, Maintainer):
        report.of(
            instruction,
            "MaintainerDeprecated",
            "MAINTAINER is deprecated, write LABEL org.opencontainers.image.authors=... instead",
            instruction.span.narrow(instruction.keyword),
        )


def stage_name_casing(instruction: Instruction, escape: str, report: Report) -> None:
    """StageNameCasing."""
    words = _words(instruction, escape)
    if len(words) == 3 and words[2].text != words[2].text.lower():
        message = f"the stage's name '{words[2].text}' is not in lower case"
        report.of(instruction, "StageNameCasing", message, place(instruction, words[2]))


def from_as_casing(instruction: Instruction, escape: str, report: Report) -> None:
    """FromAsCasing. A FROM in mixed case is left to ConsistentInstructionCasing."""
    words = _words(instruction, escape)
    keyword = instruction.keyword
    if len(words) < 3 or not _is_consistent(keyword):
        return
    written = words[1].text
    if written != (written.lower() if keyword.islower() else written.upper()):
        message = f"'{written}' is not in the case of '{keyword}'"
        report.of(instruction, "FromAsCasing", message, place(instruction, words[1]))


def invalid_definition_description(instruction: Instruction, _: str, report: Report) -> None:
    """InvalidDefinitionDescription. Only the last of the comments above counts."""
    if isinstance(instruction, From):
        what, names = "a stage", [instruction.alias] if instruction.alias else []
    elif isinstance(instruction, Arg):
        what, names = "ARG", [declaration.name for declaration in instruction.declarations]
    else:
        return
    if not names or not instruction.comments or instruction.comments[-1].split(" ")[0] in names:
        return
    example = names[0] if len(names) == 1 else "NAME"
    report.of(
        instruction,
        "InvalidDefinitionDescription",
        f"the comment above {what} is no description of it: write '# {example} DESCRIPTION', or put an empty comment "
        "line between the two",
    )


def stage_names(dockerfile: Dockerfile, report: Report) -> None:
    """ReservedStageName and DuplicateStageName."""
    seen: set[str] = set()
    for stage in dockerfile.stages:
        name = stage.name
        if name is None:
            continue
        span = stage.from_.span
        at = place(stage.from_, _words(stage.from_, dockerfile.escape)[-1])
        if name in RESERVED:
            report.add("ReservedStageName", span, f"'{name}' has a meaning of its own and names no stage", at)
        if name in seen:
            report.add("DuplicateStageName", span, f"the stage name '{name}' is taken by an earlier stage", at)
        seen.add(name)


def consistent_instruction_casing(dockerfile: Dockerfile, report: Report) -> None:
    """ConsistentInstructionCasing: the majority decides, upper case where there is none. Global ARGs do not count."""
    every = _staged(dockerfile)
    lower = sum(each.keyword.islower() for each in every)
    upper = sum(each.keyword.isupper() for each in every)
    case, fold = ("lower", str.lower) if lower > upper else ("upper", str.upper)
    for each in every:
        if each.keyword != fold(each.keyword):
            report.add(
                "ConsistentInstructionCasing",
                each.span,
                f"'{each.keyword}' is not in {case} case, as most instructions here are",
                each.span.narrow(each.keyword),
            )


def _staged(dockerfile: Dockerfile) -> list[Instruction]:
    """All instructions from the first FROM on."""
    return [each for stage in dockerfile.stages for each in (stage.from_, *stage.instructions)]


def _words(instruction: Instruction, escape: str) -> tuple[Word, ...]:
    """The arguments of a FROM as they are written; none of any other instruction."""
    return blank_words(split_head(instruction.text, escape).rest) if isinstance(instruction, From) else ()


def _is_consistent(keyword: str) -> bool:
    return keyword in (keyword.lower(), keyword.upper())


FILE: Final[tuple[Callable[[Dockerfile, Report], None], ...]] = (stage_names, consistent_instruction_casing)
INSTRUCTION: Final[tuple[Callable[[Instruction, str, Report], None], ...]] = (
    maintainer_deprecated,
    stage_name_casing,
    from_as_casing,
    invalid_definition_description,
)
