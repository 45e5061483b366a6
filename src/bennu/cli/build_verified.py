"""What ``bennu build --verify`` found, in words and as an exit status."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bennu.build.verdicts import Difference, Verified
    from bennu.cli.context import Context

UNREPRODUCIBLE: Final = 2
WRONG: Final = 1
SHOWN: Final = 10

_SAID: Final = {
    "unreproducible": "is not reproducible: run twice on the same tree, it leaves something else each time",
    "stale": "does not leave what is cached any more: it leaves the same twice now, and that is something else",
    "wrong": "WRONG HIT: what is cached is not what the step leaves; please report this, with the Dockerfile",
}


def report(verified: tuple[Verified, ...], context: Context) -> int:
    """Say it on standard error; 0 where all is the same, 1 where something cached is wrong, else 2."""
    verdicts = {each.verdict for each in verified}
    for each in verified:
        if each.verdict != "same":
            for line in _lines(each):
                context.say(line)
    same = sum(each.verdict == "same" for each in verified)
    context.say(f"verified: {same} of {len(verified)} steps leave what is cached")
    if verdicts & {"wrong", "stale"}:
        context.say("`bennu build --no-cache` builds everything again")
        return WRONG
    return UNREPRODUCIBLE if "unreproducible" in verdicts else 0


def _lines(step: Verified) -> Iterator[str]:
    place = f" (line {step.line})" if step.line else ""
    yield f"{step.label}{place}: {_SAID[step.verdict]}"
    for difference in step.differences[:SHOWN]:
        yield f"    {_difference(difference)}"
    if len(step.differences) > SHOWN:
        yield f"    and {len(step.differences) - SHOWN} more"


def _difference(difference: Difference) -> str:
    path = "".join(char if char.isprintable() else "?" for char in difference.path)
    if difference.what == "missing":
        return f"{path} is in the cached layer only"
    if difference.what == "unexpected":
        return f"{path} is not in the cached layer"
    values = f": cached {difference.before}, now {difference.after}" if difference.before else ""
    return f"{path} has another {difference.what}{values}"
