"""The differences inside two images as people read them, in a plan and in ``bennu diff``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bennu.store.image_changes import ConfigChange, FileChanges, ImageChanges
    from bennu.store.packages import PackageChange

SIGNS: Final = {"added": "+", "changed": "~", "removed": "-"}


def lines(changes: ImageChanges, *, limit: int | None, indent: str = "") -> list[str]:
    """One line a thing. ``limit``: so many packages and so many files at most, what is left is counted."""
    found = [*_packages(changes.packages, limit), *_files(changes, limit), *map(_config, changes.config)]
    return [f"{indent}{line}" for line in found]


def summary(changes: ImageChanges) -> str:
    """``3 packages, 12 files``, or that nothing is different."""
    parts = [
        f"{count} {noun if count == 1 else noun + 's'}"
        for count, noun in (
            (len(changes.packages), "package"),
            (changes.files.count, "file"),
            (len(changes.config), "setting"),
        )
        if count
    ]
    return ", ".join(parts) or "the same inside"


def _packages(packages: tuple[PackageChange, ...], limit: int | None) -> Iterator[str]:
    if not packages:
        return
    added = sum(one.before is None for one in packages)
    removed = sum(one.after is None for one in packages)
    yield f"packages: {_counts(added, len(packages) - added - removed, removed)}"
    yield from _limited((_package(one) for one in packages), len(packages), limit)


def _package(one: PackageChange) -> str:
    if one.before is None:
        return f"  + {one.name} {one.after}"
    if one.after is None:
        return f"  - {one.name} {one.before}"
    return f"  ~ {one.name} {one.before} -> {one.after}"


def _files(changes: ImageChanges, limit: int | None) -> Iterator[str]:
    files = changes.files
    more = f" (and {changes.of_packages} of packages)" if changes.of_packages else ""
    if files.count:
        yield f"files: {_counts(len(files.added), len(files.changed), len(files.removed))}{more}"
        yield from _limited(_paths(files), files.count, limit)
    elif more:
        yield f"files: {changes.of_packages} of packages, no others"


def _paths(files: FileChanges) -> Iterator[str]:
    found = [(path, "+") for path in files.added] + [(path, "~") for path in files.changed]
    for path, sign in sorted(found + [(path, "-") for path in files.removed]):
        yield f"  {sign} {path if path.isprintable() else ascii(path)}"


def _config(one: ConfigChange) -> str:
    if one.before is None and one.after is None:
        return f"image setting {one.field} {one.verdict}"
    return f"image setting {one.field} {one.before or '(unset)'} -> {one.after or '(unset)'}"


def _limited(every: Iterable[str], count: int, limit: int | None) -> Iterator[str]:
    for number, line in enumerate(every):
        if number == limit:
            yield f"    ... {count - number} more (--full shows them)"
            return
        yield line


def _counts(added: int, changed: int, removed: int) -> str:
    parts = ((added, "added"), (changed, "changed"), (removed, "removed"))
    return ", ".join(f"{count} {word}" for count, word in parts if count)
