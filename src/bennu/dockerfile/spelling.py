"""The nearest valid spelling of a word, for hints.

One function over the edit distance. A word further than two edits from every candidate gets no suggestion: a wrong
guess misleads more than none.
"""

from __future__ import annotations

from collections.abc import Iterable

_FARTHEST = 2


def distance(left: str, right: str) -> int:
    """The number of insertions, deletions and substitutions between two words (Levenshtein)."""
    row = list(range(len(right) + 1))
    for i, have in enumerate(left, 1):
        before, row[0] = row[0], i
        for j, want in enumerate(right, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (have != want))
    return row[-1]


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate with the fewest edits from ``word``, case aside; the first of equals; None beyond two edits."""
    folded = word.casefold()
    best, best_distance = None, _FARTHEST + 1
    for candidate in candidates:
        edits = distance(folded, candidate.casefold())
        if edits < best_distance:
            best, best_distance = candidate, edits
    return best


def hint(word: str, candidates: Iterable[str], otherwise: str | None = None) -> str | None:
    """``did you mean X?`` for the nearest candidate, else ``otherwise``."""
    found = nearest(word, candidates)
    return f"did you mean {found}?" if found is not None else otherwise
