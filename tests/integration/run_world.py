"""A root with one small image, and what the tests of containers do with it; at the end nothing may be left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bennu.config import Settings
from bennu.host import cgroups, mounts
from bennu.host.files import remove_tree
from bennu.oci.image_config import NOTHING, ContainerConfig, ImageConfig
from bennu.oci.reference import parse_reference
from bennu.runtime.options import ContainerImage, ContainerOptions
from bennu.runtime.places import cgroup_prefix
from bennu.runtime.records import Record
from bennu.wiring import Runtime

BUSYBOX = Path("/bin/busybox")
APPLETS = (  # noqa: SIM905
    "cat chmod cp date dd df echo env false grep head hostname id ip kill ln ls mkdir mknod mount ps pwd rm sed seq sh"
    " sleep stat stty tail touch tr trap true tty umount wc yes"
).split()
PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/srv:/bin/sh\n"
GROUP = "root:x:0:\nweb:x:33:\ntape:x:26:web,root\n"


@dataclass
class World:
    settings: Settings
    runtime: Runtime

    @property
    def containers(self):
        return self.runtime.containers

    def image(
        self, name: str = "box:latest", *, files: dict[str, str] | None = None, **config: object
    ) -> ContainerImage:
        """A busybox image; ``files`` are put into it, ``config`` are fields of its container configuration."""
        active = self.runtime.snapshots.prepare(None)
        fill(self.runtime.snapshots.directory(active), files or {})
        snapshot = self.runtime.snapshots.commit(active)
        fields = {"env": ("PATH=/bin",), "cmd": ("sh",), **config}
        fields["volumes"] = dict.fromkeys(fields.get("volumes", ()), NOTHING)
        whole = ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(**fields))
        image = self.runtime.images.create(whole, snapshot, names=(parse_reference(name),), durable=False)
        return ContainerImage(name=name, manifest=image.manifest, snapshot=snapshot.id, config=whole.config)

    def create(self, image: ContainerImage, *command: str, name: str | None = None, **options: object) -> Record:
        options.setdefault("network", "none")
        return self.containers.create(image, ContainerOptions(command=command or None, **options), name)

    def started(self, image: ContainerImage, *command: str, name: str | None = None, **options: object) -> Record:
        record = self.create(image, *command, name=name, **options)
        self.containers.start(record.id)
        return record

    def output(self, image: ContainerImage, *command: str, **options: object) -> str:
        """What a command writes to its standard output in a container that is removed afterwards."""
        record = self.started(image, *command, **options)
        self.containers.wait(record.id)
        from bennu.runtime.logs import read

        text = b"".join(line.data for line in read(self.containers.place(record)) if line.stream == "stdout").decode()
        self.containers.remove(record.id, volumes=True)
        return text

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "bennu", *words]

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, "BENNU_ROOT": str(self.settings.root)}

    def bennu(self, *words: str, typed: str = "", timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*words),
            input=typed,
            capture_output=True,
            text=True,
            env=self.environ,
            timeout=timeout,
            check=False,
        )

    def spawn(self, *words: str, **streams: object) -> subprocess.Popen[str]:
        return subprocess.Popen(self.argv(*words), env=self.environ, text=True, **streams)


def fill(tree: Path, files: dict[str, str]) -> None:
    for directory in ("bin", "etc", "tmp", "srv", "root"):
        (tree / directory).mkdir()
    shutil.copy(BUSYBOX, tree / "bin/busybox")
    for applet in APPLETS:
        (tree / "bin" / applet).symlink_to("busybox")
    for name, text in {"etc/passwd": PASSWD, "etc/group": GROUP, **files}.items():
        path = tree / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if text.startswith("#!"):
            path.chmod(0o755)


@contextmanager
def world(settings: Settings, kind: type[Runtime] = Runtime) -> Iterator[World]:
    with kind(settings) as runtime:
        made = World(settings, runtime)
        try:
            yield made
        finally:
            for container in made.containers.list():
                made.containers.remove(container.id, force=True, volumes=True)
            made.containers.sweep()
            network = runtime.containers.networks
            for each in network.walk():
                network.remove(each.name)
        assert_nothing_left(settings)
        remove_tree(settings.run)


def assert_nothing_left(settings: Settings) -> None:
    prefix = cgroup_prefix(settings)
    eventually(lambda: not cgroups.named(prefix))
    assert not mounts.mounted_below(settings.root)
    assert not mounts.mounted_below(settings.run)
    for directory in (settings.containers, settings.run / "containers"):
        assert os.listdir(directory) == [] if directory.exists() else True
    eventually(lambda: not processes_of(settings))


def processes_of(settings: Settings) -> list[str]:
    """The command lines of processes that name the root: conmon's and the runtime's do."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(pid) != os.getpid() and any(os.fsencode(settings.root) in word for word in words):
            found.append(b" ".join(words).decode())
    return found


def eventually(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)
