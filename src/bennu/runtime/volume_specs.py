"""``-v``, ``--mount`` and ``--tmpfs`` as ``MountOption``. Pure; relative host paths are joined to ``directory``.

Source of the forms: Docker's ``run`` reference, "Mount volume" and "Add bind mounts or volumes using the --mount
flag". What Docker has and bennu does not is refused by name.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Any, Final

from bennu.errors import Invalid, Unsupported
from bennu.runtime.options import MountOption

_NAME: Final = r"[a-zA-Z0-9][a-zA-Z0-9_.-]*"  # re keeps what it has compiled
_SIZE: Final = r"(\d+)([kmgt]?)b?"
_IGNORED: Final = frozenset({"rw", "z", "Z", "rprivate", "private", "consistent", "cached", "delegated", "copy"})
_SHARED: Final = frozenset({"shared", "rshared", "slave", "rslave"})


def parse_volume(text: str, directory: str) -> MountOption:
    """``[SOURCE:]TARGET[:OPTION,...]``. A source with a slash or a leading dot is a host path, else a volume's name."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise Invalid(f"volume {text!r} is not SOURCE:TARGET[:OPTIONS]")
    if len(parts) == 1:
        return MountOption(type="volume", target=_target(parts[0], text))
    source, target, *rest = parts
    flags: dict[str, Any] = {}
    for word in rest[0].split(",") if rest else ():
        flags |= _flag(word, f"volume {text!r}")
    if source.startswith((".", "~")) or "/" in source:
        path = posixpath.normpath(posixpath.join(directory, source))
        flags.pop("nocopy", None)
        flags.pop("exec", None)
        return MountOption(type="bind", source=path, target=_target(target, text), create=True, **flags)
    return MountOption(type="volume", source=volume_name(source), target=_target(target, text), **flags)


def volume_name(name: str) -> str:
    """A volume's name; ``Invalid`` if it cannot be one."""
    if not re.fullmatch(_NAME, name):
        raise Invalid(f"volume name {name!r} is not made of letters, digits, '_', '.' and '-'")
    return name


def _target(target: str, text: str) -> str:
    if not target.startswith("/"):
        raise Invalid(f"mount {text!r}: the target {target!r} is not absolute")
    path = posixpath.normpath(target)
    if path.startswith("//"):
        path = path[1:]
    if path == "/":
        raise Invalid(f"mount {text!r}: the target cannot be '/'")
    return path


def _flag(word: str, what: str) -> dict[str, Any]:
    if word in {"ro", "readonly"}:
        return {"readonly": True}
    if word in {"exec", "noexec"}:
        return {"exec": word == "exec"}
    if word == "nocopy":
        return {"nocopy": True}
    if word in _IGNORED:
        return {}
    if word in _SHARED:
        raise Unsupported(f"{what}: mount propagation {word!r} is not supported", "leave it out: rprivate holds")
    raise Invalid(f"{what} has the unknown option {word!r}")


def parse_tmpfs(text: str) -> MountOption:
    """``TARGET[:OPTION,...]``: ``size``, ``mode`` (1777 if unsaid, as in Docker), ``uid``, ``gid``, ``exec``, ``ro``.

    ``Invalid`` for anything else.
    """
    target, _, rest = text.partition(":")
    fields: dict[str, Any] = {"mode": 0o1777}
    for word in filter(None, rest.split(",")):
        key, equals, value = word.partition("=")
        if equals:
            fields |= _tmpfs_value(key, value, text)
        elif word not in {"nosuid", "nodev", "rw"}:
            fields |= _flag(word, f"tmpfs {text!r}")
    return MountOption(type="tmpfs", target=_target(target, text), **fields)


def _tmpfs_value(key: str, value: str, text: str) -> dict[str, Any]:
    readers: dict[str, tuple[str, Callable[[str], int]]] = {
        "size": ("size_bytes", _size),
        "tmpfs-size": ("size_bytes", _size),
        "mode": ("mode", lambda word: int(word, 8)),
        "tmpfs-mode": ("mode", lambda word: int(word, 8)),
        "uid": ("uid", int),
        "gid": ("gid", int),
    }
    if key not in readers:
        raise Invalid(f"mount {text!r} has the unknown option {key!r}", f"known: {', '.join(readers)}")
    name, read = readers[key]
    try:
        return {name: read(value)}
    except ValueError:
        raise Invalid(f"mount {text!r}: {key} cannot be {value!r}") from None


def _size(word: str) -> int:
    match = re.fullmatch(_SIZE, word, re.IGNORECASE)
    if match is None:
        raise ValueError(word)
    return int(match[1]) << 10 * " kmgt".index(match[2].lower() or " ")


def parse_mount(text: str, directory: str) -> MountOption:
    """``type=bind|volume|tmpfs,source=…,target=…[,…]``."""
    fields: dict[str, Any] = {"type": "volume"}
    for word in text.split(","):
        key, equals, value = word.partition("=")
        fields |= _mount_field(key, value if equals else None, text)
    kind = fields["type"]
    if "target" not in fields:
        raise Invalid(f"mount {text!r} has no target")
    source = fields.get("source")
    if kind == "bind":
        if source is None:
            raise Invalid(f"mount {text!r} has no source")
        fields["source"] = posixpath.normpath(posixpath.join(directory, source))
    elif kind == "tmpfs":
        if source is not None:
            raise Invalid(f"mount {text!r}: a tmpfs has no source")
        fields.setdefault("mode", 0o1777)
    elif source is not None:
        volume_name(source)
    return MountOption(**fields)


def _mount_field(key: str, value: str | None, text: str) -> dict[str, Any]:
    word = value or ""
    if key == "type":
        if word not in {"bind", "volume", "tmpfs"}:
            raise Unsupported(f"mount {text!r}: the type {word!r} is not supported", "bind, volume and tmpfs are")
        return {"type": word}
    if key in {"target", "dst", "destination"}:
        return {"target": _target(word, text)}
    if key in _MOUNT_SWITCHES:
        return {_MOUNT_SWITCHES[key]: value is None or word.lower() in {"1", "true"}}
    if key in _MOUNT_WORDS:
        return {_MOUNT_WORDS[key]: value or None}
    if key in {"bind-propagation", "propagation"}:
        return _flag(word, f"mount {text!r}")
    return _tmpfs_value(key, word, text)


_MOUNT_SWITCHES: Final = {"readonly": "readonly", "ro": "readonly", "volume-nocopy": "nocopy", "exec": "exec"}
_MOUNT_WORDS: Final = {"source": "source", "src": "source", "volume-subpath": "subpath"}
