"""The way in: the bytes of a Dockerfile become a ``Dockerfile``.

Owns the order of a file: global ARGs, then stages that each begin with FROM. Raises ``Invalid`` with file, line,
column and excerpt for the first thing that is wrong. Single instructions are read by ``grammar``; what they mean is
decided in ``bennu.build.lowering``.
"""

from __future__ import annotations

from bennu.dockerfile import grammar
from bennu.dockerfile.instructions import Arg, Dockerfile, From, Instruction, Stage
from bennu.dockerfile.lexer import lex
from bennu.dockerfile.source import Source
from bennu.dockerfile.statement import Statement
from bennu.errors import Invalid


def parse(text: bytes | str, file: str) -> Dockerfile:
    """Parse a whole Dockerfile; ``file`` is its name in errors. Raises ``Invalid``."""
    source = Source(text, file)
    lexed = lex(source)
    if not lexed.lines:
        raise Invalid("the file has no instructions", "begin with FROM IMAGE", file=file, line=1, column=1)
    global_args: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for line in lexed.lines:
        instruction = grammar.read(Statement(line, lexed.escape))
        if isinstance(instruction, From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            global_args.append(instruction)
        else:
            raise instruction.span.invalid(
                f"{instruction.keyword.upper()} stands before the first FROM", "only ARG may stand there"
            )
    if not stages:
        raise global_args[-1].span.invalid("the file has no FROM, so there is nothing to build", "add FROM IMAGE")
    return Dockerfile(
        file=file,
        source=source.text,
        escape=lexed.escape,
        directives=lexed.directives,
        global_args=tuple(global_args),
        stages=tuple(
            Stage(index=index, from_=origin, instructions=tuple(instructions))
            for index, (origin, instructions) in enumerate(stages)
        ),
        empty_continuations=lexed.empty_continuations,
    )


def parse_trigger(expression: str, image: str) -> Instruction:
    """The instruction of an ONBUILD expression as a base image's config keeps it. Raises ``Invalid``."""
    lines = lex(Source(expression, image)).lines
    if len(lines) != 1:
        raise Invalid(f"the ONBUILD trigger {expression!r} of {image} is not one instruction")
    return grammar.read(Statement(lines[0], "\\"))
