"""``volumes`` and ``tmpfs`` of a service: short and long forms to mounts.

Source: the Compose Specification, 05-services.md, "volumes" and "tmpfs". A source that begins with ``.``, ``/`` or
``~`` is a host path, any other a volume. Paths are made absolute by text alone; nothing is looked up on the host.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from bennu.compose import schema, values
from bennu.compose.fields import Field
from bennu.compose.model import Mount
from bennu.compose.nodes import Mapping
from bennu.compose.problems import did_you_mean

_TYPES: Final = ("bind", "volume", "tmpfs")
_PROPAGATIONS: Final = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_NO_EFFECT: Final = {
    "z": "files are not relabelled",
    "Z": "files are not relabelled",
    "cached": "it is for other systems than Linux",
    "consistent": "it is for other systems than Linux",
    "delegated": "it is for other systems than Linux",
}
_TMPFS_WORDS: Final[dict[str, dict[str, bool]]] = {
    "ro": {"read_only": True},
    "rw": {"read_only": False},
    "exec": {"exec": True},
    "noexec": {"exec": False},
    "nosuid": {},
    "nodev": {},
}
_TMPFS_NUMBERS: Final[dict[str, tuple[str, Callable[[str], int]]]] = {
    "size": ("size_bytes", values.size_bytes),
    "mode": ("mode", values.file_mode),
    "uid": ("uid", values.integer),
    "gid": ("gid", values.integer),
}
_SHORT: Final = 'short form: "[SOURCE:]TARGET[:ro,...]"'


@dataclass(frozen=True, slots=True)
class Base:
    """What relative host paths start from: the project's directory, and the home directory for ``~``."""

    directory: str
    home: str

    def path(self, text: str) -> str:
        """An absolute, normalised host path."""
        if text == "~" or text.startswith("~/"):
            text = self.home + text[1:]
        return posixpath.normpath(posixpath.join(self.directory, text))


def read_mounts(volumes: Field | None, tmpfs: Field | None, base: Base, *, executable: bool) -> tuple[Mount, ...]:
    """All mounts of a service, a directory before what is below it.

    ``executable``: programs may be executed from its volumes and tmpfs too.
    """
    mounts: dict[str, Mount] = {}
    found = [(item, _volume(item, base)) for item in (volumes.items() if volumes else ())]
    found += [(item, _tmpfs_short(item)) for item in (tmpfs.items_or_one() if tmpfs else ())]
    for item, mount in found:
        if mount is None:
            continue
        if mount.target in mounts:
            item.fail(f"{mount.target!r} is mounted twice")
        mounts[mount.target] = msgspec.structs.replace(mount, exec=mount.exec or executable or mount.type == "bind")
    return tuple(mount for _, mount in sorted(mounts.items(), key=lambda pair: pair[0].split("/")))


def _volume(item: Field, base: Base) -> Mount | None:
    return _long(item, base) if isinstance(item.node, Mapping) else _short(item, base)


def _target(field: Field, text: str) -> str | None:
    if not text.startswith("/"):
        field.fail(f"target {text!r} is not an absolute path")
        return None
    path = "/" + posixpath.normpath(text).lstrip("/")
    if path == "/":
        field.fail("nothing can be mounted over the root")
        return None
    return path


def is_host_path(source: str) -> bool:
    """Is the source of a short form a path on the host, rather than a volume's key?"""
    return source.startswith((".", "/", "~"))


def _short(item: Field, base: Base) -> Mount | None:
    text = item.filled()
    if text is None:
        return None
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        item.fail(f"{text!r} is not a volume", _SHORT)
        return None
    source = parts[0] if len(parts) > 1 else None
    target = _target(item, parts[1] if source else parts[0])
    if target is None:
        return None
    if source is None:
        return Mount(type="volume", target=target)
    host = is_host_path(source)
    mount = Mount(type="bind", source=base.path(source), target=target, create_host_path=True)
    if not host:
        mount = Mount(type="volume", source=source, target=target)
    for option in parts[2].split(",") if len(parts) == 3 else ():
        mount = _option(item, mount, option)
    return mount


def _option(item: Field, mount: Mount, option: str) -> Mount:
    """One option behind the second colon of a short form."""
    if option in ("ro", "rw"):
        return msgspec.structs.replace(mount, read_only=option == "ro")
    if option == "nocopy" and mount.type == "volume":
        return msgspec.structs.replace(mount, nocopy=True)
    if option in _PROPAGATIONS and mount.type == "bind":
        return msgspec.structs.replace(mount, propagation=None if option == "rprivate" else option)
    if option in _NO_EFFECT:
        item.notice(f"option {option!r} has no effect: {_NO_EFFECT[option]}")
        return mount
    known = ("ro", "rw", "nocopy") if mount.type == "volume" else ("ro", "rw", *_PROPAGATIONS)
    item.fail(
        f"{option!r} is no option of a {mount.type} mount", did_you_mean(option, known) or f"one of {', '.join(known)}"
    )
    return mount


def _long(item: Field, base: Base) -> Mount | None:
    schema.check(item, schema.MOUNT, "a mount")
    kind_field, target_field, source_field = item.get("type"), item.get("target"), item.get("source")
    if kind_field is None or target_field is None:
        item.fail(f"has no {'type' if kind_field is None else 'target'!r}")
        return None
    kind = _kind(item, kind_field)
    target = _target(target_field, target_field.text() or "")
    if kind is None or target is None:
        return None
    source = source_field.filled() if source_field else None
    read_only = _flag(item.get("read_only"), default=False)
    if kind == "bind":
        return _long_bind(item, Mount(type="bind", target=target, read_only=read_only), source, base)
    if kind == "volume":
        return _long_volume(item, Mount(type="volume", target=target, source=source, read_only=read_only))
    if source_field is not None:
        source_field.fail("a tmpfs has no source")
    return _long_tmpfs(item, Mount(type="tmpfs", target=target, read_only=read_only))


def _kind(item: Field, field: Field) -> str | None:
    """The type of a long form; options of another type are reported."""
    if field.text() in ("npipe", "cluster", "image"):
        field.refuse(f"mounts of type {field.text()!r} are not supported")
        return None
    kind = field.choice(_TYPES, "type of a mount")
    for other in _TYPES:
        section = item.get(other)
        if section is not None and kind is not None and other != kind:
            section.fail(f"stands in a mount of type {kind!r}")
    return kind


def _flag(field: Field | None, *, default: bool) -> bool:
    value = field.boolean() if field else None
    return default if value is None else value


def _long_bind(item: Field, mount: Mount, source: str | None, base: Base) -> Mount | None:
    if source is None:
        item.fail("a bind mount needs a 'source'")
        return None
    mount = msgspec.structs.replace(mount, source=base.path(source), create_host_path=True)
    options = item.get("bind")
    if options is None or not schema.check(options, schema.MOUNT_BIND, "a mount's 'bind'"):
        return mount
    propagation, recursive = options.get("propagation"), options.get("recursive")
    chosen = propagation.choice(_PROPAGATIONS, "propagation") if propagation else None
    deep = recursive.choice(("enabled", "disabled"), "choice for 'recursive'") if recursive else None
    return msgspec.structs.replace(
        mount,
        create_host_path=_flag(options.get("create_host_path"), default=True),
        propagation=None if chosen == "rprivate" else chosen,
        recursive=deep != "disabled",
    )


def _long_volume(item: Field, mount: Mount) -> Mount:
    options = item.get("volume")
    if options is None or not schema.check(options, schema.MOUNT_VOLUME, "a mount's 'volume'"):
        return mount
    subpath_field = options.get("subpath")
    subpath = subpath_field.filled() if subpath_field else None
    if subpath_field and subpath and (subpath.startswith("/") or ".." in subpath.split("/")):
        subpath_field.fail(f"{subpath!r} leads out of the volume")
    return msgspec.structs.replace(mount, nocopy=_flag(options.get("nocopy"), default=False), subpath=subpath)


def _long_tmpfs(item: Field, mount: Mount) -> Mount:
    options = item.get("tmpfs")
    if options is None or not schema.check(options, schema.MOUNT_TMPFS, "a mount's 'tmpfs'"):
        return mount
    size, mode = options.get("size"), options.get("mode")
    return msgspec.structs.replace(
        mount,
        size_bytes=size.read(values.size_bytes) if size else None,
        mode=mode.read(values.file_mode) if mode else None,
    )


def _tmpfs_short(item: Field) -> Mount | None:
    """``TARGET[:option,...]`` with the options of mount(8) for tmpfs."""
    text = item.filled()
    if text is None:
        return None
    path, _, options = text.partition(":")
    target = _target(item, path)
    if target is None:
        return None
    mount = Mount(type="tmpfs", target=target)
    for option in options.split(",") if options else ():
        mount = _tmpfs_option(item, mount, option)
    return mount


def _tmpfs_option(item: Field, mount: Mount, option: str) -> Mount:
    name, equals, value = option.partition("=")
    if option in _TMPFS_WORDS:
        return msgspec.structs.replace(mount, **_TMPFS_WORDS[option])
    if equals and name in _TMPFS_NUMBERS:
        field, parse = _TMPFS_NUMBERS[name]
        try:
            return msgspec.structs.replace(mount, **{field: parse(value)})
        except ValueError as error:
            item.fail(str(error))
            return mount
    known = (*_TMPFS_WORDS, *_TMPFS_NUMBERS)
    item.fail(f"{option!r} is no option of a tmpfs", did_you_mean(name, known) or f"one of {', '.join(known)}")
    return mount
