"""What is wrong with the files of a project, gathered so that all of it is said at once.

Readers add and go on; whoever owns the whole calls ``raise_if_any``. Nothing here prints.
"""

from __future__ import annotations

from collections.abc import Iterable

from bennu.compose.model import Notice, Place
from bennu.errors import Invalid, InvalidMany, Unsupported


class Problems:
    """Errors and notices, in the order in which they were found until they are asked for."""

    def __init__(self) -> None:
        self._errors: list[Invalid] = []
        self._notices: list[Notice] = []
        self._stated: list[Notice] = []

    def add(self, message: str, place: Place, hint: str | None = None) -> None:
        """Something that is not well formed, or that means nothing."""
        self.take(Invalid(message, hint, file=place.file, line=place.line, column=place.column))

    def unsupported(self, message: str, place: Place, hint: str | None = None) -> None:
        """Something that is well formed and that bennu does not do."""
        self.take(Unsupported(message, hint, file=place.file, line=place.line, column=place.column))

    def take(self, error: Invalid) -> None:
        """An error made elsewhere; the same message at the same place (a shared alias) is kept once."""
        errors = error.errors if isinstance(error, InvalidMany) else (error,)
        known = {str(old) for old in self._errors}
        self._errors.extend(new for new in errors if str(new) not in known)

    def notice(self, message: str, place: Place) -> None:
        """Something that works, but perhaps not as its author thinks."""
        new = Notice(message=message, place=place)
        if new not in self._notices:
            self._notices.append(new)

    def stated(self, message: str, place: Place) -> None:
        """Something that is well formed and that bennu does not carry out: an error for who wants to run it."""
        new = Notice(message=message, place=place)
        if new not in self._stated:
            self._stated.append(new)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What was noticed, file by file, from top to bottom."""
        return _ordered(self._notices)

    @property
    def unserved(self) -> tuple[Notice, ...]:
        """What is not carried out, likewise."""
        return _ordered(self._stated)

    def raise_if_any(self) -> None:
        """``Invalid`` for one error, ``InvalidMany`` for several: file by file, from top to bottom."""
        if not self._errors:
            return
        files = list(dict.fromkeys(error.file for error in self._errors))
        errors = sorted(self._errors, key=lambda e: (files.index(e.file), e.line or 0, e.column or 0))
        if len(errors) == 1:
            raise errors[0]
        raise InvalidMany(tuple(errors))


def _ordered(notices: list[Notice]) -> tuple[Notice, ...]:
    files = list(dict.fromkeys(notice.place.file for notice in notices))
    return tuple(sorted(notices, key=lambda n: (files.index(n.place.file), n.place.line, n.place.column)))


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest known spelling, None where nothing is near."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else None
