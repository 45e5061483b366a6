"""The guest's disk: Debian with a kernel, systemd and what bennu needs, out of the host's own package mirrors.

``Recipe`` says what is in it and names it by a digest; ``ensure`` makes it where the cache does not have it. Made as
root with mmdebstrap, and ``mkfs.ext4 -d`` fills the file system, so that nothing is mounted. The cache keeps one image.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bennu.build import apt_sources
from tests.vm.machine import Disk

CACHE = Path("/var/cache/bennu-test-vm")
DISK_BYTES = 3 << 30
PACKAGES = (
    # a machine
    "linux-image-cloud-amd64", "initramfs-tools", "systemd", "systemd-sysv", "dbus", "udev", "kmod",
    # what script/setup names, as far as running goes
    "python3", "python3-venv", "crun", "conmon", "haproxy", "nftables", "iproute2", "conntrack", "tcpdump",
    "golang-github-containers-common", "ca-certificates", "util-linux", "procps", "mount", "libseccomp2",
    # what the fleet is made of
    "busybox-static",
)  # fmt: skip
OBEY = Path(__file__).with_name("guest") / "obey.py"
UNIT = """\
[Unit]
Description=does what the test says
[Service]
ExecStart=/usr/bin/python3 /opt/obey.py
Restart=always
# what the test starts is no part of this unit's life
KillMode=process
[Install]
WantedBy=multi-user.target
"""
INITRD = {
    # only what finds the root file system: unpacking all the others takes seconds where the processor is emulated
    "etc/initramfs-tools/conf.d/small": "MODULES=list\nRESUME=none\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\next4\n",
}
FILES = {
    "etc/fstab": "/dev/vda / ext4 defaults,errors=panic 0 1\n/dev/vdb /mnt ext4 ro,nofail 0 0\n",
    "etc/hostname": "guest\n",
    "etc/hosts": "127.0.0.1 localhost guest\n",
    "etc/machine-id": "",
    "etc/modules-load.d/line.conf": "virtio_console\n",
    "etc/systemd/system/obey.service": UNIT,
    "etc/systemd/journald.conf.d/console.conf": "[Journal]\nForwardToConsole=no\nStorage=persistent\n",
}
ENABLED = {"etc/systemd/system/multi-user.target.wants/obey.service": "/etc/systemd/system/obey.service"}
MASKED = (
    "haproxy.service", "systemd-timesyncd.service", "e2scrub_all.timer", "e2scrub_reap.service", "apt-daily.timer",
    "apt-daily-upgrade.timer", "getty@tty1.service", "serial-getty@ttyS0.service", "systemd-logind.service",
    "dev-hugepages.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount",
)  # fmt: skip
"""Services that would be in the way, or cost seconds where the processor is emulated."""


@dataclass(frozen=True)
class Recipe:
    """What the disk is made from. ``sources`` are lines of sources.list(5)."""

    suite: str
    sources: tuple[str, ...]
    packages: tuple[str, ...] = PACKAGES

    @property
    def digest(self) -> str:
        """Another one means another disk: of every file that goes in, every package, every source, the size."""
        parts = [self.suite, *self.sources, *self.packages, str(DISK_BYTES), *MASKED, OBEY.read_text()]
        parts += [f"{name}\0{text}" for name, text in [*INITRD.items(), *FILES.items(), *ENABLED.items()]]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def recipe_of(os_release: str, texts: Sequence[str]) -> Recipe:
    """The recipe for a host with these texts of os-release(5) and of its apt sources: its own release of Debian.

    ``ValueError`` where the host is no Debian or has no source for its release.
    """
    release = apt_sources.parse_os_release(os_release)
    suite = release.get("VERSION_CODENAME", "")
    if release.get("ID") != "debian" or not suite:
        raise ValueError("the machine's disk is made from the host's own packages, and this host is no Debian")
    found = apt_sources.mirrors(apt_sources.parse_sources(texts), "debian", suite, suite)
    if not found:
        raise ValueError(f"the host's apt sources have nothing for {suite!r}")
    return Recipe(suite, tuple(source.line for source in found))


def host_recipe() -> Recipe:
    """The recipe of this host."""
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    found = [place for place in places if place.suffix in {".list", ".sources"} and place.is_file()]
    return recipe_of(Path("/etc/os-release").read_text(), [place.read_text(errors="replace") for place in found])


def ensure(recipe: Recipe, cache: Path = CACHE, *, fresh: bool = False) -> tuple[Disk, bool]:
    """The disk of a recipe, and whether it had to be made. What the cache holds else is removed then."""
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / recipe.digest
    disk = Disk(place / "root.img", place / "vmlinuz", place / "initrd.img")
    if place.is_dir() and not fresh:
        return disk, False
    for old in cache.iterdir():
        shutil.rmtree(old)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=cache) as name:
        making = Path(name)
        _make(recipe, making)
        shutil.rmtree(making / "tree")
        (making / "whole").mkdir()
        for each in (disk.image, disk.kernel, disk.initrd):
            (making / each.name).rename(making / "whole" / each.name)
        (making / "whole").rename(place)
    return disk, True


def _make(recipe: Recipe, directory: Path) -> None:
    tree = directory / "tree"
    hooks = Path("/usr/share/mmdebstrap/hooks/maybe-merged-usr")
    _quietly(
        "mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(recipe.packages)}",
        *([f"--hook-dir={hooks}"] if hooks.is_dir() else []),
        "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*", '--aptopt=Acquire::Languages "none"',
        recipe.suite, str(tree), *recipe.sources,
    )  # fmt: skip
    for name, text in [*INITRD.items(), *FILES.items()]:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    _quietly("chroot", str(tree), "/usr/sbin/update-initramfs", "-u")
    shutil.copy(OBEY, tree / "opt/obey.py")
    units = tree / "etc/systemd/system"
    for name, target in ENABLED.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(target)
    for name in MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    for kind in ("vmlinuz", "initrd.img"):
        (newest,) = sorted((tree / "boot").glob(f"{kind}-*"))[-1:]
        shutil.copy(newest, directory / kind)
    image = directory / "root.img"
    with open(image, "wb") as file:
        os.truncate(file.fileno(), DISK_BYTES)
    _quietly("mkfs.ext4", "-q", "-F", "-L", "root", "-d", str(tree), str(image))


def make_seed(content: Path, image: Path) -> None:
    """A file system with a directory's files, for the guest to read."""
    size = sum(path.stat().st_size for path in content.rglob("*") if path.is_file())
    with open(image, "wb") as file:
        os.truncate(file.fileno(), 2 * size + (16 << 20))
    _quietly("mkfs.ext4", "-q", "-F", "-L", "seed", "-d", str(content), str(image))


def _quietly(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}\n{done.stderr[-3000:]}")
