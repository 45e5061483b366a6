"""What the runtime mounts for each mount that a container asks for. Volumes themselves are ``volumes``'.

Volumes are mounted nosuid, nodev and (unless ``exec`` is asked for) noexec, binds nosuid and nodev, tmpfs all three.
"""

from __future__ import annotations

import os

from bennu.errors import Invalid, NotFound
from bennu.runtime.options import MountOption
from bennu.runtime.spec import MountPoint
from bennu.runtime.volumes import Volumes


def point(volumes: Volumes, mount: MountOption) -> MountPoint:
    """What the runtime mounts. ``NotFound`` for a bind source that is missing and is not to be made."""
    if mount.type == "tmpfs":
        return _tmpfs(mount)
    options = ["rbind" if mount.recursive else "bind", mount.propagation or "rprivate", "nosuid", "nodev"]
    readonly = mount.readonly
    if mount.type == "bind":
        source = _bind_source(mount)
    else:
        assert mount.source is not None  # anonymous ones were named when the container was recorded
        source = volumes.source(mount.source, mount.subpath)
        options += [] if mount.exec else ["noexec"]
        readonly = readonly or volumes.is_readonly(mount.source)
    # recursive only where there can be something below: crun takes the target of "rro" for a directory
    closed = ("rro", "ro") if os.path.isdir(source) else ("ro",)
    return MountPoint(target=mount.target, source=source, options=(*options, *(closed if readonly else ("rw",))))


def _bind_source(mount: MountOption) -> str:
    assert mount.source is not None
    if not os.path.exists(mount.source):
        if not mount.create:
            raise NotFound(f"bind source {mount.source!r} does not exist", "create it, or use -v, which does")
        os.makedirs(mount.source, exist_ok=True)
    return mount.source


def _tmpfs(mount: MountOption) -> MountPoint:
    options = ["nosuid", "nodev", *([] if mount.exec else ["noexec"]), "ro" if mount.readonly else "rw"]
    options.append(f"mode={0o1777 if mount.mode is None else mount.mode:o}")
    for key, value in (("size", mount.size_bytes), ("uid", mount.uid), ("gid", mount.gid)):
        if value is not None:
            options.append(f"{key}={value}")
    options += ["tmpcopyup"] if mount.copyup else []
    return MountPoint(target=mount.target, source="tmpfs", kind="tmpfs", options=tuple(options))


def complete(mounts: tuple[MountOption, ...], image_volumes: tuple[str, ...]) -> tuple[MountOption, ...]:
    """The mounts that were asked for, and an anonymous volume for each of the image's that none of them covers.

    ``Invalid`` if two stand on one target.
    """
    seen: set[str] = set()
    for mount in mounts:
        if mount.target in seen:
            raise Invalid(f"two mounts on {mount.target!r}", "keep one of them")
        seen.add(mount.target)
    extra = [MountOption(type="volume", target=target, exec=True) for target in image_volumes if target not in seen]
    return (*mounts, *extra)
