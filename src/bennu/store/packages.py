"""What package managers wrote down: which packages an image has, in which version, and which files are theirs. Pure.

Three kinds: dpkg's ``status`` (deb-control(5)), apk's ``installed`` (apk-tools, its v2 text form) and the headers of
rpm's database (rpm's "Package format", the part on the header structure). What cannot be read is skipped: a damaged
record of a package must not keep anybody from seeing the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

RECORDS: Final = (
    "var/lib/dpkg/", "var/cache/apt/", "var/lib/apt/", "lib/apk/db/", "usr/lib/apk/db/", "var/cache/apk/",
    "var/lib/rpm/", "usr/lib/sysimage/rpm/", "var/cache/debconf/", "var/cache/ldconfig/", "var/log/apt/",
    "var/log/dpkg.log", "etc/ld.so.cache",
)  # fmt: skip
"""Beginnings of paths that are the managers' own books."""

_INSTALLED: Final = b"install ok installed"
_HOLD: Final = b"hold ok installed"
_HEADER: Final = struct.Struct(">II")
_ENTRY: Final = struct.Struct(">IIII")
_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH = 1000, 1001, 1002, 1003, 1022
_DIR_INDEXES, _BASE_NAMES, _DIR_NAMES = 1116, 1117, 1118
_MOST_ENTRIES: Final = 100_000


class Package(msgspec.Struct, frozen=True):
    """An installed package. ``files``: paths without the first slash, where its manager's own record lists them."""

    name: str
    version: str
    architecture: str = ""
    files: tuple[str, ...] = ()


class PackageChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A package that was added (``before`` None), removed (``after`` None), or has another version."""

    name: str
    before: str | None = None
    after: str | None = None


def changes(before: Iterable[Package], after: Iterable[Package]) -> tuple[PackageChange, ...]:
    """What differs, by name. A package that is there in several versions shows them all."""
    versions = [_versions(before), _versions(after)]
    found = []
    for name in sorted(versions[0].keys() | versions[1].keys()):
        old, new = versions[0].get(name), versions[1].get(name)
        if old != new:
            found.append(PackageChange(name, old, new))
    return tuple(found)


def _versions(packages: Iterable[Package]) -> dict[str, str]:
    found: dict[str, set[tuple[str, str]]] = {}
    for one in packages:
        found.setdefault(one.name, set()).add((one.architecture, one.version))
    result: dict[str, str] = {}
    for name, entries in found.items():
        if len({architecture for architecture, _ in entries}) > 1:
            result |= {f"{name}:{architecture}": version for architecture, version in sorted(entries)}
        else:
            result[name] = ", ".join(sorted(version for _, version in entries))
    return result


def dpkg(status: bytes) -> tuple[Package, ...]:
    """The installed packages of a ``status`` file; dpkg lists their files elsewhere (``dpkg_list``)."""
    found = []
    for paragraph in status.split(b"\n\n"):
        fields = _fields(paragraph)
        state = fields.get(b"Status", _INSTALLED)  # status.d of images without dpkg has none
        if b"Package" in fields and b"Version" in fields and state in {_INSTALLED, _HOLD}:
            name, version, architecture = (
                fields.get(key, b"").decode(errors="replace") for key in (b"Package", b"Version", b"Architecture")
            )
            found.append(Package(name, version, architecture))
    return tuple(found)


def _fields(paragraph: bytes) -> dict[bytes, bytes]:
    lines = (line.split(b":", 1) for line in paragraph.split(b"\n") if line[:1].isalpha())
    return {words[0]: words[1].strip() for words in lines if len(words) == 2}


def dpkg_lists(package: Package) -> tuple[str, ...]:
    """The names that a package's list of files may have below ``var/lib/dpkg/info``."""
    return f"{package.name}.list", f"{package.name}:{package.architecture}.list"


def dpkg_list(content: bytes) -> tuple[str, ...]:
    """The paths of a list of files."""
    return tuple(line.lstrip("/") for line in content.decode(errors="replace").splitlines() if len(line) > 2)


def apk(installed: bytes) -> tuple[Package, ...]:
    """The packages of an ``installed`` file, with their files."""
    found = []
    for paragraph in installed.decode(errors="replace").split("\n\n"):
        fields: dict[str, str] = {}
        files: list[str] = []
        folder = ""
        for line in paragraph.splitlines():
            key, _, value = line.partition(":")
            if key == "F":
                folder = value
            elif key == "R":
                files.append(f"{folder}/{value}" if folder else value)
            else:
                fields.setdefault(key, value)
        if "P" in fields and "V" in fields:
            found.append(Package(fields["P"], fields["V"], fields.get("A", ""), tuple(files)))
    return tuple(found)


def rpm(headers: Iterable[bytes]) -> tuple[Package, ...]:
    """The packages of header blobs, with their files."""
    found = []
    for blob in headers:
        try:
            package = _rpm_package(dict(_rpm_tags(blob)))
        except (struct.error, ValueError, IndexError):
            continue
        if package is not None:
            found.append(package)
    return tuple(found)


def _rpm_package(tags: Mapping[int, tuple[str | int, ...]]) -> Package | None:
    if not all(tags.get(tag) for tag in (_NAME, _VERSION, _RELEASE)):
        return None
    epoch = f"{tags[_EPOCH][0]}:" if tags.get(_EPOCH) else ""
    version = f"{epoch}{tags[_VERSION][0]}-{tags[_RELEASE][0]}"
    folders = tags.get(_DIR_NAMES, ())
    paired = zip(tags.get(_DIR_INDEXES, ()), tags.get(_BASE_NAMES, ()), strict=False)
    files = tuple(f"{folders[int(index)]}{name}".lstrip("/") for index, name in paired)
    return Package(str(tags[_NAME][0]), version, str((tags.get(_ARCH) or ("",))[0]), files)


def _rpm_tags(blob: bytes) -> Iterator[tuple[int, tuple[str | int, ...]]]:
    count, size = _HEADER.unpack_from(blob)
    if count > _MOST_ENTRIES:
        raise ValueError(count)
    store = blob[8 + 16 * count : 8 + 16 * count + size]
    for number in range(count):
        tag, kind, offset, amount = _ENTRY.unpack_from(blob, 8 + 16 * number)
        if tag not in {_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH, _DIR_INDEXES, _BASE_NAMES, _DIR_NAMES}:
            continue
        if kind == 4:  # numbers of 32 bits
            yield tag, struct.unpack_from(f">{amount}I", store, offset)
        elif kind in {6, 8, 9}:  # one string, several, translated ones
            words = store[offset:].split(b"\0", amount)[:amount]
            yield tag, tuple(word.decode(errors="replace") for word in words)
