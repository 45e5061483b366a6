"""A container's cost: ``bennu run --rm IMAGE true`` against the bare runtime, fifty at once, and Docker where it is.

    python bench/run.py [--rounds N] [--docker 'docker --host unix:///path']

The bare runtime mounts the same overlay and runs the same specification, seccomp filter included. The image is
busybox, so that nothing but the start is measured. With ``--docker``, a command that reaches a daemon, the same image
is given to it and it takes its turn.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from timing import alternate, report

from bennu.config import Settings
from bennu.host.mounts import Overlay, attach
from bennu.oci.image_config import ContainerConfig, ImageConfig
from bennu.oci.reference import parse_reference
from bennu.runtime import oci_runtime, seccomp
from bennu.runtime.options import ContainerImage, ContainerOptions
from bennu.runtime.spec import Process, Sandbox, oci_spec
from bennu.wiring import Runtime

IMAGE = "box:latest"
MANY = 50
AT_ONCE = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--docker", default="")
    args = parser.parse_args()
    docker = shlex.split(args.docker)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed bennu has its bytecode
    with tempfile.TemporaryDirectory(prefix="bennu-bench-") as base:
        settings = Settings.from_environ({**os.environ, "BENNU_ROOT": f"{base}/root"})
        os.environ["BENNU_ROOT"] = str(settings.root)
        try:
            with Runtime(settings) as runtime:
                try:
                    image = busybox(runtime)
                    single(runtime, settings, image, docker, args.rounds)
                    many(runtime, image, docker, max(3, args.rounds // 5))
                finally:
                    clean(runtime)
        finally:
            shutil.rmtree(settings.run, ignore_errors=True)


def single(runtime: Runtime, settings: Settings, image: ContainerImage, docker: list[str], rounds: int) -> None:
    bennu = str(Path(sys.executable).with_name("bennu"))
    contenders = {
        "bare overlay + runtime": Bare(runtime, settings, image),
        "bennu run --network none": [bennu, "run", "--rm", "--network", "none", IMAGE, "true"],
        "bennu run (bridge)": [bennu, "run", "--rm", IMAGE, "true"],
    }
    if docker:
        subprocess.run([*docker, "import", "-", IMAGE], input=archive(), check=True, stdout=subprocess.DEVNULL)
        contenders["docker run --network none"] = [*docker, "run", "--rm", "--network", "none", IMAGE, "true"]
    timings = alternate(contenders, rounds, warm_up=2)
    print(f"one container that runs 'true' ({oci_runtime.find(settings).name})")
    report(timings, against="docker run --network none" if docker else "bare overlay + runtime")
    above = timings["bennu run --network none"].median - timings["bare overlay + runtime"].median
    print(f"bennu run is {above * 1000:.0f} ms above the bare runtime")


class Bare:
    """The runtime alone, on an overlay of the same snapshot, in the mount namespace that it needs."""

    def __init__(self, runtime: Runtime, settings: Settings, image: ContainerImage) -> None:
        self.bundle = settings.root.parent / "bare"
        self.upper, self.work = self.bundle / "upper", self.bundle / "work"
        for path in (self.bundle / "rootfs", self.upper, self.work):
            path.mkdir(parents=True)
        self.runtime = oci_runtime.find(settings)
        self.name = f"bennu-{settings.key}-bare"
        what, host = Process(args=("/bin/true",)), oci_runtime.facts()
        filter_ = seccomp.load(settings.run, what.capabilities, host.machine, host.kernel)
        document = oci_spec(what, Sandbox(cgroup=self.name, seccomp=filter_), host)
        (self.bundle / "config.json").write_bytes(msgspec.json.encode(document))
        snapshot = runtime.snapshots.stat(image.snapshot)
        assert snapshot is not None
        overlay = runtime.snapshots.writable(snapshot, str(self.upper), str(self.work))
        assert isinstance(overlay, Overlay)
        self.overlay = overlay

    def __call__(self) -> None:
        self.runtime.isolated(self._run)

    def _run(self) -> None:
        attach(Overlay(self.overlay.lowers, self.upper, self.work, volatile=True), self.bundle / "rootfs")
        subprocess.run(self.runtime.argv("run", "--bundle", str(self.bundle), self.name), check=True)


def many(runtime: Runtime, image: ContainerImage, docker: list[str], rounds: int) -> None:
    started: list[str] = []
    options = ContainerOptions(command=("sleep", "1000"), network="none", readonly=True)

    def up() -> None:
        def one(_: int) -> str:
            record = runtime.containers.create(image, options)
            runtime.containers.start(record.id)
            return record.id

        with ThreadPoolExecutor(AT_ONCE) as pool:
            started[:] = pool.map(one, range(MANY))

    def down() -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda one: runtime.containers.remove(one, force=True), started))

    contenders = {f"bennu: {MANY} up, {AT_ONCE} at a time": up, "bennu: down": down}
    print(f"{MANY} containers")
    if docker:
        words = [*docker, "run", "-d", "--network", "none", IMAGE, "sleep", "1000"]

        def docker_up() -> None:
            def run(_: int) -> str:
                return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

            with ThreadPoolExecutor(AT_ONCE) as pool:
                started[:] = pool.map(run, range(MANY))

        def docker_down() -> None:
            subprocess.run([*docker, "rm", "--force", *started], check=True, capture_output=True)

        peers = {f"docker: {MANY} up": docker_up, "docker: down": docker_down}
        in_turn(contenders, peers, rounds)
        return
    in_turn(contenders, {}, rounds)


def in_turn(ours: dict, theirs: dict, rounds: int) -> None:
    """Up and down belong together, so they are not turned."""
    timings: dict = {}
    for number in range(rounds):
        for pair in (ours, theirs) if number % 2 else (theirs, ours):
            for name, action in pair.items():
                (one,) = alternate({name: action}, 1, warm_up=0).values()
                timings[name] = timings.get(name, ()) + one.seconds
    for (name, _), (peer, _) in zip(ours.items(), theirs.items() or [("", None)] * 2, strict=True):
        middle = sorted(timings[name])[rounds // 2]
        line = f"{name:<32} {middle:8.4f} s"
        if peer:
            base = sorted(timings[peer])[rounds // 2]
            line += f"  {middle / base:6.2f} x {peer} ({base:.4f} s)"
        print(line)


def busybox(runtime: Runtime) -> ContainerImage:
    active = runtime.snapshots.prepare(None)
    tree = runtime.snapshots.directory(active)
    with tarfile.open(fileobj=io.BytesIO(archive())) as tar:
        tar.extractall(tree)
    snapshot = runtime.snapshots.commit(active)
    config = ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(env=("PATH=/bin",), cmd=("sh",)))
    image = runtime.images.create(config, snapshot, names=(parse_reference(IMAGE),))
    return ContainerImage(name=IMAGE, manifest=image.manifest, snapshot=snapshot.id, config=config.config)


def archive() -> bytes:
    """The image as a plain tar, for both."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for applet in ("sh", "true", "sleep"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return stream.getvalue()


def clean(runtime: Runtime) -> None:
    for container in runtime.containers.list():
        runtime.containers.remove(container.id, force=True)
    for network in runtime.containers.networks.walk():
        runtime.containers.networks.remove(network.name)
    runtime.containers.sweep()


if __name__ == "__main__":
    main()
