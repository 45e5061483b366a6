"""USER specifications: a name or number, with or without a group, as the numbers a process gets. Pure.

``passwd`` and ``group`` are the image's own files, as text (empty where it has none). Source of the rules: the
Dockerfile reference, USER, and what Docker does with ``--user``: a number that the image does not know is taken as it
is, with group 0 and home ``/``; a name that it does not know is an error; a group given explicitly is the only one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from bennu.errors import NotFound

LARGEST_ID: Final = (1 << 32) - 2


class User(msgspec.Struct, frozen=True):
    """Who a process runs as. ``additional_gids`` in the order of the group file."""

    uid: int
    gid: int
    additional_gids: tuple[int, ...] = ()
    home: str = "/"
    name: str = ""


def resolve_user(spec: str, passwd: str, group: str) -> User:
    """The user that ``spec`` (``""``, ``name``, ``uid``, with ``:group`` or ``:gid``) names in an image.

    ``NotFound`` for a name that the image does not have.
    """
    who, _, group_part = spec.partition(":")
    who = who or "0"
    entry = next((each for each in _passwd(passwd) if _is(who, each[0], each[1])), None)
    if entry is None:
        if not _is_number(who):
            raise NotFound(f"user {who!r} is not in the image's /etc/passwd", "use a number, or add it in the image")
        entry = ("", int(who), 0, "/")
    name, uid, gid, home = entry
    if group_part:
        return User(uid, _group(group_part, group), (), home or "/", name)
    return User(uid, gid, _memberships(name, gid, group), home or "/", name)


def resolve_groups(names: tuple[str, ...], group: str) -> tuple[int, ...]:
    """The numbers of ``--group-add`` names. ``NotFound`` for one that the image does not have."""
    return tuple(_group(name, group) for name in names)


def _group(spec: str, group: str) -> int:
    for name, gid, _ in _groups(group):
        if _is(spec, name, gid):
            return gid
    if _is_number(spec):
        return int(spec)
    raise NotFound(f"group {spec!r} is not in the image's /etc/group", "use a number, or add it in the image")


def _memberships(name: str, primary: int, group: str) -> tuple[int, ...]:
    if not name:
        return ()
    return tuple(dict.fromkeys(gid for _, gid, members in _groups(group) if name in members and gid != primary))


def _is(spec: str, name: str, number: int) -> bool:
    # a number is one, whoever has it for a name
    return int(spec) == number if _is_number(spec) else spec == name


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= LARGEST_ID


def _passwd(text: str) -> Iterator[tuple[str, int, int, str]]:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and _is_number(fields[2]) and _is_number(fields[3]):
            yield fields[0], int(fields[2]), int(fields[3]), fields[5] if len(fields) > 5 else ""


def _groups(text: str) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 3 and _is_number(fields[2]):
            members = fields[3].split(",") if len(fields) > 3 else []
            yield fields[0], int(fields[2]), tuple(member.strip() for member in members if member.strip())
