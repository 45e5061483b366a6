"""A harvest: what a held replica has drifted, as lines for a Dockerfile. Pure.

The lines are in the order in which they have to act: packages first, then what is gone, then what is there instead.
``harvesting`` finds out what goes into it and writes the files that the lines name.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from typing import Final

from bennu.compose.struct import Value
from bennu.deploy.hold.files import Verdict

ARCHIVE: Final = "drift.tar"
FILES: Final = "files"
MOST_LISTED: Final = 200
REMOVALS_AT_ONCE: Final = 500
LEFT_OUT: Final = (
    "var/cache/apt/", "var/lib/apt/lists/", "var/lib/apt/periodic/", "var/cache/ldconfig/", "var/cache/man/",
    "var/cache/apk/", "var/log/", "tmp/", "var/tmp/", "run/",
)  # fmt: skip
"""Beginnings of paths whose files are nobody's findings: caches, logs, what is made anew."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9._/@:=+~-]+")


class Copied(Value, frozen=True, kw_only=True):
    """A small file that gets a line of its own, so that a person can read what changed."""

    path: str
    mode: int
    uid: int
    gid: int


class Harvest(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What goes into the Dockerfile. Paths have no first slash.

    ``base`` is what FROM names, ``user`` what the image runs as. ``packages``: what ``apt-get install`` gets.
    ``archived`` is what the archive has, with what happened to each. ``unsaid`` are things that no Dockerfile makes.
    """

    title: str
    base: str
    user: str = ""
    packages: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    archived: tuple[tuple[Verdict, str], ...] = ()
    copied: tuple[Copied, ...] = ()
    left_out: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing has drifted that belongs into an image."""
        return not (self.packages or self.removed or self.archived or self.copied)


def is_left_out(path: str) -> bool:
    """Whether a file is left out by rule."""
    return path.startswith(LEFT_OUT)


def can_be_copied(path: str) -> bool:
    """Whether a path can stand in a COPY as it is."""
    return _PLAIN.fullmatch(path) is not None


def dockerfile(harvest: Harvest) -> str:
    """The Dockerfile's text."""
    lines = [*_comment(harvest.title), f"FROM {harvest.base}"]
    if harvest.user and not harvest.is_empty:
        lines.append("USER 0")
    lines += _packages(harvest.packages)
    lines += _removals(harvest.removed)
    if harvest.archived:
        lines += _listed(harvest.archived)
        lines.append(f"ADD {ARCHIVE} /")
    for one in harvest.copied:
        owner = f"{one.uid}:{one.gid}"
        lines.append(f"COPY --chown={owner} --chmod={one.mode:04o} {FILES}/{one.path} /{one.path}")
    if harvest.user and not harvest.is_empty:
        lines.append(f"USER {harvest.user}")
    if harvest.is_empty:
        lines.append("# nothing that belongs into an image has changed")
    if harvest.left_out:
        lines += _comment(f"left out by rule (caches and logs): {len(harvest.left_out)} files below")
        lines += [f"#   {_written(place)}" for place in _places(harvest.left_out)]
    lines += [line for one in harvest.unsaid for line in _comment(f"not in here: {one}")]
    return "\n".join(lines) + "\n"


def _packages(packages: tuple[str, ...]) -> list[str]:
    if not packages:
        return []
    return [
        "# the versions that were installed; without '=' and what follows it they are those of the day",
        "RUN apt-get update \\",
        " && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --allow-downgrades \\",
        *(f"      {shlex.quote(package)} \\" for package in packages),
        " && rm -rf /var/lib/apt/lists/*",
    ]


def _removals(removed: tuple[str, ...]) -> list[str]:
    return [
        "RUN " + json.dumps(["rm", "-rf", "--", *(f"/{path}" for path in removed[start : start + REMOVALS_AT_ONCE])])
        for start in range(0, len(removed), REMOVALS_AT_ONCE)
    ]


def _listed(archived: tuple[tuple[Verdict, str], ...]) -> list[str]:
    lines = [f"#   {verdict:<8} /{_written(path)}" for verdict, path in archived[:MOST_LISTED]]
    if len(archived) > MOST_LISTED:
        lines.append(f"#   and {len(archived) - MOST_LISTED} more: tar -tvf {ARCHIVE}")
    return lines


def _places(paths: Iterable[str]) -> list[str]:
    return sorted({next(place for place in LEFT_OUT if path.startswith(place)) for path in paths})


def _comment(text: str) -> list[str]:
    return [f"# {_written(line)}" for line in text.splitlines()]


def _written(text: str) -> str:
    """What may stand in a comment: no control characters, which a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in text)
