"""The images that cases build upon, made here as archives that Docker and bennu load alike.

``localhost/box`` is a small system with users, links, odd modes and a PATH; ``localhost/rich`` the same with every
field of the configuration set; ``localhost/onbuild`` has triggers; ``localhost/bare`` has a shell and nothing else, and
no configuration; ``localhost/layers`` has two layers with deletions; ``localhost/data`` has files and no program.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tests.conformance.builder.files import MTIME, Content, Dir, File, Hard, Link, archive, as_node

BUSYBOX = Path("/bin/busybox")
APPLETS = (  # noqa: SIM905
    "awk basename cat chgrp chmod chown cksum cmp cp cut date dd df dirname echo env expr false find grep "
    "gunzip gzip head hostname id ip ln ls md5sum mkdir mkfifo mknod mktemp mount mv nproc od printf ps pwd "
    "readlink realpath rm rmdir sed seq sh sha256sum sleep sort stat tail tar tee test touch tr true truncate "
    "umount uname uniq wc wget which whoami xargs"
).split()
USERS = (
    ("root", 0, 0, "/root"),
    ("daemon", 1, 1, "/usr/sbin"),
    ("web", 33, 33, "/srv/web"),
    ("app", 1000, 1001, "/home/app"),
    ("guest", 405, 100, "/dev/null"),
    ("7000", 7001, 7002, "/home/number"),
    ("nobody", 65534, 65534, "/nonexistent"),
)
GROUPS = (
    ("root", 0, ""),
    ("daemon", 1, ""),
    ("tape", 26, "web,app"),
    ("web", 33, ""),
    ("users", 100, ""),
    ("staff", 50, "app"),
    ("app", 1001, ""),
    ("9000", 9001, ""),
    ("nogroup", 65534, ""),
)
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CREATED = "2001-09-09T01:46:40Z"

Tree = Mapping[str, Content]


def _system() -> Tree:
    return {
        "bin": Dir(),
        "bin/busybox": File(BUSYBOX.read_bytes(), 0o755),
        **{f"bin/{name}": Link("busybox") for name in APPLETS},
        "etc": Dir(),
        "etc/passwd": "".join(f"{name}:x:{uid}:{gid}:{name}:{home}:/bin/sh\n" for name, uid, gid, home in USERS),
        "etc/group": "".join(f"{name}:x:{gid}:{members}\n" for name, gid, members in GROUPS),
        "etc/hosts": "",
        "etc/hostname": "",
        "etc/resolv.conf": "",
        **{name: Dir() for name in ("dev", "home", "mnt", "opt", "run", "srv", "usr", "usr/bin", "usr/local", "var")},
        "home/app": Dir(0o750, (1000, 1001)),
        "proc": Dir(0o555),
        "root": Dir(0o700),
        "sys": Dir(0o555),
        "tmp": Dir(0o1777),
    }


def _oddities() -> Tree:
    return {
        "data": Dir(0o755, (33, 33)),
        "data/a": "a\n",
        "data/b": File(b"b\n", 0o640, (33, 26)),
        "data/sub": Dir(0o2775, (33, 26)),
        "data/sub/c": "c\n",
        "data/sub/hard": Hard("data/a", MTIME),
        "data/setuid": File(b"#!/bin/sh\n", 0o4755),
        "data/link": Link("sub"),
        "data/dangling": Link("nowhere/at/all"),
        "data/absolute": Link("/data/sub"),
        "data/up": Link("../../../../data/sub"),
        "data/to-file": Link("a"),
        "data/loop": Link("loop"),
        "data/capable": File(
            b"x", 0o755, xattrs=(("security.capability", b"\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),)
        ),
        "data/pipe": File(mode=0o600, device=("p", 0, 0)),
        "data/null": File(mode=0o666, device=("c", 1, 3)),
        "data/closed": Dir(0o700, (33, 33)),
        "data/closed/in": File(b"in", 0o400, (33, 33)),
        "lib64": Link("usr/lib64"),
        "usr/lib64": Dir(),
        "var/run": Link("/run"),
        "opt/link": Link("/srv/target"),
        "srv/target": Dir(),
        "srv/target/old": "old",
        "srv/file": "file",
    }


RICH = {
    "User": "web:tape",
    "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
    "Env": [PATH, "COLOUR=blue", "EMPTY=", "SPACED=a b", "DOLLAR=$HOME", 'QUOTED="q"', "BACK=\\n"],
    "Entrypoint": ["/entry", "point"],
    "Cmd": ["from", "base"],
    "Volumes": {"/vol": {}, "/var/data": {}},
    "WorkingDir": "/srv/target",
    "Labels": {"base": "yes", "both": "base", "a.b": "c d"},
    "StopSignal": "SIGUSR1",
    "Healthcheck": {
        "Test": ["CMD-SHELL", "true"],
        "Interval": 7_000_000_000,
        "Timeout": 3_000_000_000,
        "StartPeriod": 2_000_000_000,
        "Retries": 4,
    },
    "Shell": ["/bin/sh", "-ec"],
}
ONBUILD = [
    "ARG TRIGGER=default",
    "ENV TRIGGERED=$TRIGGER",
    "COPY a.txt /triggered/",
    "WORKDIR /triggered",
    'LABEL trigger="$TRIGGER"',
    'CMD ["triggered"]',
]


def _images() -> dict[str, tuple[list[Tree], dict[str, object], str]]:
    """Layers, container configuration and author, by name."""
    box: Tree = {**_system(), **_oddities()}
    return {
        "box": ([box], {"Env": [PATH], "Cmd": ["sh"]}, ""),
        "rich": ([box], RICH, "The Base <base@example.com>"),
        "onbuild": ([box], {"Env": [PATH], "Cmd": ["sh"], "OnBuild": ONBUILD}, ""),
        "bare": ([{name: node for name, node in box.items() if name.split("/")[0] == "bin"}], {}, ""),
        "data": ([_oddities()], {"Env": ["COLOUR=red"]}, ""),
        "layers": (
            [
                box,
                {
                    "data/.wh.a": "",
                    "opt/.wh..wh..opq": "",
                    "opt/new": "new",
                    "srv/.wh.target": "",
                    "srv/file": Dir(),
                    "srv/file/in": "in",
                    "data/b": File(b"changed\n", 0o600, (1, 1)),
                },
            ],
            {"Env": [PATH], "Cmd": ["sh"]},
            "",
        ),
    }


NAMES = ("box", "rich", "onbuild", "bare", "data", "layers")


def make(name: str) -> bytes:
    """The image ``localhost/NAME:latest`` as a tar for ``docker load``."""
    layers, container, author = _images()[name]
    tars = [archive(tuple((path, as_node(node)) for path, node in layer.items())) for layer in layers]
    digests = [hashlib.sha256(tar).hexdigest() for tar in tars]
    config: dict[str, object] = {
        "architecture": "amd64",
        **({"author": author} if author else {}),
        "config": container,
        "created": CREATED,
        "history": [{"created": CREATED, "created_by": f"{name} {number}"} for number in range(len(layers))],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
    }
    text = json.dumps(config).encode()
    config_name = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = [
        {
            "Config": config_name,
            "RepoTags": [f"localhost/{name}:latest"],
            "Layers": [f"{digest}/layer.tar" for digest in digests],
        }
    ]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        parts = {f"{digest}/layer.tar": data for digest, data in zip(digests, tars, strict=True)}
        for path, data in {**parts, config_name: text, "manifest.json": json.dumps(manifest).encode()}.items():
            info = tarfile.TarInfo(path)
            info.size, info.mtime = len(data), MTIME
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()
