"""Where COPY takes files from: the build context, or the mounted tree of another step; and which of them it takes.

``SourceTree.select`` finds what sources mean, by Docker's rules: wildcards as in Go's filepath.Match, a
symbolic link that is a source itself is followed, links below are copied as links, and nothing leads out of the root
(openat2 with RESOLVE_IN_ROOT). ``.dockerignore`` prunes the walk. Only what the sources need is walked. ``contents``
keys a ``Selection``, ``copying`` writes it.
"""

from __future__ import annotations

import operator
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from bennu.build.entries import Entries
from bennu.dockerfile import ignore, spelling
from bennu.dockerfile.ignore import Rules, Verdict
from bennu.dockerfile.match import Pattern, has_wildcards, split_wildcards, tokenize
from bennu.errors import NotFound
from bennu.host import files

_NO_RULES: Final = Rules(())
_NAME: Final = operator.attrgetter("name")


class MissingSource(NotFound):
    """A source that is not there, or that is left out; ``written`` as it stands in the instruction."""

    def __init__(self, message: str, hint: str | None, *, written: str) -> None:
        super().__init__(message, hint)
        self.written = written


class Item(NamedTuple):
    """One source, found: the name it was asked for by, and its entries, directories before what is in them."""

    name: str
    entries: Entries

    @property
    def is_directory(self) -> bool:
        """Its contents are copied, not itself."""
        return self.entries.first.is_directory


class Selection(NamedTuple):
    """What a COPY takes from one tree. ``keeps_owners``: owners count and are kept; a context's files are root's.
    ``unpack``: what is in an archive is meant, where there is one.
    """

    items: list[Item]
    keeps_owners: bool
    root: str
    unpack: bool = False

    @property
    def walked(self) -> int:
        """How many entries were walked."""
        return sum(len(item.entries) for item in self.items)


class SourceTree:
    """A tree to copy from. ``what`` names it in errors: ``the build context``, ``stage 'build'``."""

    def __init__(self, root: Path, *, what: str, rules: Rules | None = None, keeps_owners: bool) -> None:
        self.root = Path(os.path.realpath(root))
        self.what = what
        self.rules = rules or _NO_RULES
        self.keeps_owners = keeps_owners

    def select(self, sources: Iterable[str], exclude: tuple[str, ...] = ()) -> Selection:
        """What these sources mean, without what ``exclude`` (patterns) leaves out. ``MissingSource``."""
        rules = Rules(exclude) if exclude else _NO_RULES
        items: list[Item] = []
        with files.directory(self.root) as fd:
            for written in sources:
                source = posixpath.normpath("/" + written).lstrip("/")
                if has_wildcards(source):
                    tokenize(source, is_expression=not self.keeps_owners)  # of a context, which BuildKit filters
                    matches = sorted(self._matches(fd, source))
                    found = [self._item(fd, path, rules, written, chosen=False) for path in matches]
                else:
                    found = [self._item(fd, source, rules, written, chosen=True)]
                items += filter(None, found)
        return Selection(items, self.keeps_owners, str(self.root))

    def below(self, path: str, pattern: str, exclude: tuple[str, ...] = ()) -> Selection:
        """What matches a pattern (``**`` too) below each directory that ``path`` means, with the directories on the
        way. Without wildcards in either, ``MissingSource`` where there is nothing.
        """
        start = posixpath.normpath("/" + path).lstrip("/")
        everything = ("**", f"!{pattern}") if pattern and not pattern.startswith("!") else ("**",)
        rules, out = Rules(everything), Rules(exclude) if exclude else _NO_RULES
        items: list[Item] = []
        with files.directory(self.root) as fd:
            is_search = has_wildcards(start)
            for name in sorted(self._matches(fd, start)) if is_search else [start]:
                item = self._item_below(fd, name, rules, out)
                if item is not None:
                    items.append(item)
            wanted = posixpath.join(start, pattern) if pattern else start
            if not (is_search or has_wildcards(pattern)) and self._resolve(fd, wanted) is None:
                raise self._missing(fd, wanted, pattern)
        return Selection(items, self.keeps_owners, str(self.root))

    def _item_below(self, root: int, source: str, include: Rules, exclude: Rules) -> Item | None:
        real = self._resolve(root, source)
        if real is None:
            return None
        absolute = self._absolute(real)
        entries = Entries(absolute, os.lstat(absolute))
        if entries.first.is_directory:
            walk = _SearchBelow(self.rules, include, exclude, entries)
            walk.below(absolute, real, "", (self._verdict(real), include.root, exclude.root))
        return Item(posixpath.basename(source), entries)

    def exact(self, path: str) -> Selection:
        """What stands at one path, in which nothing is a wildcard. ``MissingSource``."""
        source = posixpath.normpath("/" + path).lstrip("/")
        with files.directory(self.root) as fd:
            item = self._item(fd, source, _NO_RULES, path, chosen=True)
        return Selection([] if item is None else [item], self.keeps_owners, str(self.root))

    def _matches(self, root: int, source: str) -> Iterator[str]:
        start, _ = split_wildcards(source)
        pattern = Pattern(source)
        depth = source.count("/")
        real = self._resolve(root, start)
        if real is None:
            return
        todo = [(start, real)]
        while todo:
            name, real = todo.pop()
            with os.scandir(self._absolute(real)) as entries:
                for entry in entries:
                    path = posixpath.join(name, entry.name) if name else entry.name
                    if path.count("/") == depth:
                        if pattern.matches(path):
                            yield path
                    elif pattern.may_match_below(path) and entry.is_dir(follow_symlinks=False):
                        todo.append((path, posixpath.join(real, entry.name)))

    def _resolve(self, root: int, path: str) -> str | None:
        """The real path of a source, links followed inside the root; None if it is not there."""
        try:
            fd = files.open_in_root(root, "/" + path, os.O_PATH)
        except OSError:
            return None
        try:
            real = os.readlink(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        return os.path.relpath(real, self.root) if real != str(self.root) else ""

    def _absolute(self, path: str) -> str:
        return os.path.join(self.root, path) if path else str(self.root)

    def _item(self, root: int, source: str, exclude: Rules, written: str, *, chosen: bool) -> Item | None:
        """A source with what is in it. Where ``.dockerignore`` leaves it out: ``MissingSource`` if it was ``chosen``
        by its name, else None.
        """
        above = self._verdict(source)
        real = self._resolve(root, source)
        if real is None:
            if chosen or not above.excluded:  # a link that a wildcard found and that leads nowhere
                raise self._missing(root, source, written)
            return None
        verdict = self._verdict(real)
        absolute = self._absolute(real)
        status = os.lstat(absolute)
        entries = Entries(absolute, status)
        is_directory = stat.S_ISDIR(status.st_mode)
        if is_directory and (verdict.descend or not verdict.excluded):
            walk = _Walk(self.rules, exclude, entries)
            walk.below(absolute, real, "", (verdict, exclude.root))
        is_kept = not verdict.excluded or (is_directory and verdict.descend and len(entries) > 1)
        is_link = real != source
        if is_kept and not (is_link and above.excluded):
            return Item(posixpath.basename(source), entries)
        if chosen or not above.excluded:
            raise self._left_out(source, written)
        return None

    def _verdict(self, path: str) -> Verdict:
        verdict = self.rules.root
        parts = path.split("/") if path and self.rules.patterns else []
        for depth in range(1, len(parts) + 1):
            verdict = self.rules.verdict("/".join(parts[:depth]), verdict)
        return verdict

    def _left_out(self, source: str, written: str) -> MissingSource:
        return MissingSource(
            f"{'/' + source!r} is left out of {self.what} by .dockerignore",
            "add a pattern with ! that takes it back",
            written=written,
        )

    def _missing(self, root: int, source: str, written: str) -> MissingSource:
        """The error, with the nearest name that is there."""
        parent, name = posixpath.split(source)
        real = self._resolve(root, parent)
        directory = None if real is None else self._absolute(real)
        names = sorted(os.listdir(directory)) if directory and os.path.isdir(directory) else ()
        guess = spelling.nearest(name, [each for each in names if each != name])
        hint = None
        if guess is not None:
            hint = f"did you mean {posixpath.join('/', parent, guess)}?"
        elif not self.keeps_owners:
            hint = f"paths start at {self.root}"
        return MissingSource(f"{'/' + source!r} is not in {self.what}", hint, written=written)


class _Walk:
    """One walk of a directory: what neither rules leave out, sorted by name."""

    def __init__(self, rules: Rules, exclude: Rules, entries: Entries) -> None:
        self.rules = rules
        self.exclude = exclude
        self.entries = entries

    def below(self, directory: str, path: str, target: str, above: tuple[Verdict, Verdict]) -> None:
        """Add what is in a directory: ``path`` is its place below the root, ``target`` below the item."""
        with os.scandir(directory) as listing:
            found = sorted(listing, key=_NAME)
        if not (self.rules.patterns or self.exclude.patterns):
            self._all_of(found, path, target, above)
            return
        for entry in found:
            here = f"{path}/{entry.name}" if path else entry.name
            to = f"{target}/{entry.name}" if target else entry.name
            verdict, out = above
            if self.rules.patterns:
                verdict = self.rules.verdict(here, verdict)
            if self.exclude.patterns:
                out = self.exclude.verdict(to, out)
            left_out = verdict.excluded or out.excluded
            is_directory = entry.is_dir(follow_symlinks=False)
            if left_out and not (is_directory and verdict.descend and out.descend):
                continue
            status = entry.stat(follow_symlinks=False)
            known = len(self.entries)
            self.entries.append(to, status)
            if is_directory:
                self.below(entry.path, here, to, (verdict, out))
                if left_out and len(self.entries) == known + 1:
                    self.entries.drop()  # nothing in it came back in

    def _all_of(self, found: list[os.DirEntry[str]], path: str, target: str, above: tuple[Verdict, Verdict]) -> None:
        """``below`` where nothing is left out."""
        append = self.entries.append
        before = f"{target}/" if target else ""
        for entry in found:
            to = before + entry.name
            append(to, entry.stat(follow_symlinks=False))
            if entry.is_dir(follow_symlinks=False):
                self.below(entry.path, f"{path}/{entry.name}" if path else entry.name, to, above)


class _SearchBelow:
    """One walk of a directory for what ``include`` (all is excluded, some taken back) takes and no rules leave out."""

    def __init__(self, rules: Rules, include: Rules, exclude: Rules, entries: Entries) -> None:
        self._all = (rules, include, exclude)
        self.entries = entries

    def below(self, directory: str, path: str, target: str, above: tuple[Verdict, Verdict, Verdict]) -> None:
        """As ``_Walk.below``. A directory that is not taken itself is there for what is taken below it."""
        with os.scandir(directory) as listing:
            found = sorted(listing, key=_NAME)
        for entry in found:
            here = f"{path}/{entry.name}" if path else entry.name
            to = f"{target}/{entry.name}" if target else entry.name
            rules, include, exclude = self._all
            verdicts = (
                rules.verdict(here, above[0]) if rules.patterns else above[0],
                include.verdict(to, above[1]),
                exclude.verdict(to, above[2]) if exclude.patterns else above[2],
            )
            left_out = any(verdict.excluded for verdict in verdicts)
            is_directory = entry.is_dir(follow_symlinks=False)
            if left_out and not (is_directory and all(verdict.descend for verdict in verdicts)):
                continue
            known = len(self.entries)
            self.entries.append(to, entry.stat(follow_symlinks=False))
            if is_directory:
                self.below(entry.path, here, to, verdicts)
                if left_out and len(self.entries) == known + 1:
                    self.entries.drop()


def load_rules(context: Path, dockerfile: Path | None) -> Rules:
    """The ignore rules of a context: of ``<Dockerfile>.dockerignore`` if there is one, else of ``.dockerignore``."""
    candidates = [context / ".dockerignore"]
    if dockerfile is not None:
        candidates.insert(0, dockerfile.with_name(dockerfile.name + ".dockerignore"))
    for candidate in candidates:
        try:
            text = candidate.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        return ignore.parse(text, str(candidate))
    return _NO_RULES
