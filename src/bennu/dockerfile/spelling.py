"""The nearest valid spelling of a word, for hints.

One function over the edit distance. A word gets no suggestion that is further than two edits, or than half of its
letters: a wrong guess misleads more than none.
"""

from __future__ import annotations

from collections.abc import Iterable

_FARTHEST = 2


def distance(left: str, right: str) -> int:
    """The number of insertions, deletions, substitutions and swaps of neighbours between two words (optimal string
    alignment).
    """
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, have in enumerate(left, 1):
        above, row = row, [i]
        for j, want in enumerate(right, 1):
            edits = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (have != want))
            if i > 1 and j > 1 and have == right[j - 2] and left[i - 2] == want:
                edits = min(edits, before[j - 2] + 1)
            row.append(edits)
        before = above
    return row[-1]


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate with the fewest edits from ``word``, case aside, the first of equals; None if too far."""
    folded = word.casefold()
    best, best_distance = None, min(_FARTHEST, len(word) // 2) + 1
    for candidate in candidates:
        edits = distance(folded, candidate.casefold())
        if edits < best_distance:
            best, best_distance = candidate, edits
    return best


def hint(word: str, candidates: Iterable[str], otherwise: str | None = None) -> str | None:
    """``did you mean X?`` for the nearest candidate, else ``otherwise``."""
    found = nearest(word, candidates)
    return f"did you mean {found}?" if found is not None else otherwise
