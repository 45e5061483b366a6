"""Which packages a held replica has that its image has not, and which of its files are theirs.

dpkg's and apk's records are read where they changed. ``store.packages`` parses them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from bennu.deploy.hold.files import Held
from bennu.store import packages
from bennu.store.packages import Package

DPKG_STATUS: Final = "var/lib/dpkg/status"
DPKG_INFO: Final = "var/lib/dpkg/info"
APK: Final = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
RECORDS: Final = (DPKG_STATUS, *APK)
MERGED_USR: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_MD5: Final = re.compile(r"([0-9a-f]{32})  (.+)")


class Difference(NamedTuple):
    """Packages that were added or have another version (as they are now), and those that are gone."""

    installed: tuple[Package, ...]
    removed: tuple[Package, ...]


def difference(held: Held) -> Difference:
    """What is different of the packages."""
    before, after = (tuple(_installed(held, merged=merged)) for merged in (False, True))
    known, now = set(map(_identity, before)), set(map(_identity, after))
    names = {(one.name, one.architecture) for one in after}
    return Difference(
        installed=tuple(one for one in after if _identity(one) not in known),
        removed=tuple(one for one in before if _identity(one) not in now and (one.name, one.architecture) not in names),
    )


def files_of(held: Held, package: Package, *, before: bool = False) -> frozenset[str]:
    """The paths of a package's files, without their first slash, as they are in the tree.

    ``before``: as the image has it, for one that was removed.
    """
    listed: Iterable[str] = package.files
    if not listed:
        for name in packages.dpkg_lists(package):
            path = f"{DPKG_INFO}/{name}"
            content = held.read(held.lower, path) if before else held.merged(path)
            if content is not None:
                listed = packages.dpkg_list(content)
                break
    moved = merged_usr(held)
    return frozenset(in_tree(path, moved) for path in listed)


def sums_of(held: Held, package: Package) -> dict[str, str]:
    """What dpkg says of a package's files but its configuration: path as in ``files_of`` to MD5 in hexadecimal."""
    moved = merged_usr(held)
    for name in packages.dpkg_lists(package):
        content = held.merged(f"{DPKG_INFO}/{name.removesuffix('.list')}.md5sums")
        if content is not None:
            found = map(_MD5.fullmatch, content.decode(errors="replace").splitlines())
            return {in_tree(match[2], moved): match[1] for match in found if match}
    return {}


def unpacked_at(held: Held, package: Package) -> float | None:
    """When dpkg wrote the list of a package's files (Unix seconds), right after it had put them in their places."""
    for name in packages.dpkg_lists(package):
        status = held.status(held.upper, f"{DPKG_INFO}/{name}")
        if status is not None:
            return status.st_ctime
    return None


def native(held: Held) -> tuple[Package, ...]:
    """The package of dpkg itself: its architecture is the image's own."""
    return tuple(one for one in _installed(held, merged=True) if one.name == "dpkg")


def merged_usr(held: Held) -> frozenset[str]:
    """The directories of the root that are links into ``usr`` in the image, though packages list files by them."""
    return frozenset(name for name in MERGED_USR if held.link(held.lower, name) in {f"usr/{name}", f"/usr/{name}"})


def in_tree(path: str, moved: frozenset[str]) -> str:
    """Where a listed path really is."""
    path = path.lstrip("/")
    return f"usr/{path}" if path.partition("/")[0] in moved and "/" in path else path


def _installed(held: Held, *, merged: bool) -> Iterable[Package]:
    def read(path: str) -> bytes:
        return (held.merged(path) if merged else held.read(held.lower, path)) or b""

    yield from packages.dpkg(read(DPKG_STATUS))
    for path in APK:
        yield from packages.apk(read(path))


def _identity(package: Package) -> tuple[str, str, str]:
    return package.name, package.architecture, package.version
