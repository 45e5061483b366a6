"""Which ``<<NAME`` words a logical line holds.

Only ADD, COPY and RUN take heredocs, on their own or behind ONBUILD, and not in exec form. The name is read with the
word rules of ``expansion`` and a backslash for escape, whatever the file's escape directive says, as BuildKit does.
``lexer`` uses this to know how many documents follow a line; ``grammar`` to tell a heredoc from a path.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from bennu.dockerfile.expansion import ExpansionError, Options, expand
from bennu.dockerfile.words import NotStringsError, json_array, split_head

_TAKERS: Final = frozenset({"add", "copy", "run"})
_WORD = re.compile(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]*)\Z")


class Opening(NamedTuple):
    """A ``<<NAME`` word: ``expand`` is False where part of the name was quoted."""

    name: str
    expand: bool
    chomp: bool
    descriptor: int


def parse_opening(word: str) -> Opening | None:
    """The heredoc that a word opens, or None where it opens none. Raises ``ExpansionError`` for an open quote."""
    found = _WORD.match(word)
    if found is None or found[3] == "":
        return None
    plain = expand(found[3], {}, Options(keep_unset=True)).words
    if len(plain) != 1:
        return None
    quoted = expand(found[3], {}, Options(keep_unset=True, keep_quotes=True)).words
    return Opening(
        name=plain[0],
        expand=_quotes(plain[0]) == sum(map(_quotes, quoted)),
        chomp=found[2] == "-",
        descriptor=int(found[1] or "0"),
    )


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')


def openings(line: str, escape: str) -> tuple[Opening, ...]:
    """The heredocs of a logical line, in order. Raises ``ExpansionError`` for a name with an open quote."""
    if "<<" not in line or not _takes_heredocs(line, escape):
        return ()
    try:
        words = expand(line, {}, Options(keep_quotes=True, keep_escapes=True, keep_unset=True)).words
    except ExpansionError:
        return ()  # a line that is no sequence of words, such as a shell's own syntax, has no heredocs
    found = map(parse_opening, words)
    return tuple(opening for opening in found if opening is not None)


def _takes_heredocs(line: str, escape: str) -> bool:
    head = split_head(line, escape)
    if head.keyword.text.lower() == "onbuild":
        head = split_head(line, escape, head.rest.offset)
    if head.keyword.text.lower() not in _TAKERS:
        return False
    try:
        return json_array(head.rest.text) is None
    except NotStringsError:
        return False
