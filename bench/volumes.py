"""Snapshots and backups of volumes against cp and tar: of many small files, of one large one, of a sparse one.

    python bench/volumes.py [--rounds N] [--files N] [--large-mib N] [--place DIRECTORY]

A snapshot by copy against `cp -a --sparse=always`, its second run (what a writer waits for) where a hundredth of the
files has changed, a backup against `tar --zstd --sparse`, a restore against its counterpart. Everything lies in
``--place``, a tmpfs unless told otherwise: on a disk the figures are the disk's. Needs root.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from timing import alternate, report

from bennu.config import Settings
from bennu.host.tree_copy import TreeCopy
from bennu.runtime.volume_archives import back_up, restore
from bennu.runtime.volume_snapshots import VolumeSnapshots
from bennu.runtime.volumes import Volumes
from bennu.store.database import Database

FILES_A_DIRECTORY = 100
FILE_BYTES = 8192
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--large-mib", type=int, default=1024)
    parser.add_argument("--place", type=Path, default=Path("/dev/shm"))
    args = parser.parse_args()
    kinds: dict[str, Callable[[Path], None]] = {
        f"{args.files} files of {FILE_BYTES} bytes": lambda place: many(place, args.files),
        f"one file of {args.large_mib} MiB": lambda place: large(place, args.large_mib),
        "one file of 8 GiB with 64 MiB in it": sparse,
    }
    for name, make in kinds.items():
        with tempfile.TemporaryDirectory(prefix="bennu-bench-", dir=args.place) as base:
            print(name)
            compare(Path(base), make, args.rounds)


def compare(base: Path, make: Callable[[Path], None], rounds: int) -> None:
    source, target, file = base / "source", base / "target", base / "archive"
    source.mkdir()
    make(source)

    def empty(_name: str) -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()

    copies = {
        "cp -a --sparse=always": ["cp", "-a", "--sparse=always", f"{source}/.", str(target)],
        "a snapshot by copy": lambda: TreeCopy(source, target).run(),
    }
    report(alternate(copies, rounds, before_each=empty), "cp -a --sparse=always")
    empty("")
    again = TreeCopy(source, target)
    again.run()
    changed = sorted(path for path in source.rglob("*") if path.is_file())[::100]

    def touch(_name: str) -> None:
        for path in changed:
            os.utime(path)

    report(alternate({"its second run": again.run}, rounds, before_each=touch), "its second run")
    packed = {
        "tar --zstd --sparse": ["tar", "--zstd", "--sparse", "-cf", str(file), "-C", str(source), "."],
        "volume backup": lambda: written(source, file),
    }
    report(alternate(packed, rounds), "tar --zstd --sparse")
    written(source, file)
    settings = Settings(base / "root", base / "run")
    with Database(settings.database) as database:
        volumes = Volumes(settings, database)
        snapshots, data = VolumeSnapshots(volumes, database), volumes.ensure("data")

        def put_back() -> None:
            with file.open("rb") as stream:
                restore(snapshots, data, stream, "the archive")

        unpacked = {
            "tar --zstd -xp": ["tar", "--zstd", "-xpf", str(file), "-C", str(target)],
            "volume restore": put_back,
        }
        report(alternate(unpacked, rounds, before_each=empty), "tar --zstd -xp")


def written(source: Path, file: Path) -> None:
    with file.open("wb") as sink:
        back_up(source, sink)


def many(place: Path, count: int) -> None:
    words = subprocess.run(["man", "-w"], capture_output=True, check=False).stdout or b"some text that repeats itself\n"
    for number in range(count):
        directory = place / str(number // FILES_A_DIRECTORY)
        if number % FILES_A_DIRECTORY == 0:
            directory.mkdir()
        half = os.urandom(FILE_BYTES // 2)
        (directory / f"{number}.dat").write_bytes(half + (words * FILE_BYTES)[: FILE_BYTES - len(half)])


def large(place: Path, mib: int) -> None:
    with open(place / "large", "wb") as file:
        file.writelines(os.urandom(MIB // 2) + bytes([number % 256]) * (MIB // 2) for number in range(mib))


def sparse(place: Path) -> None:
    with open(place / "sparse", "wb") as file:
        for number in range(64):
            file.seek(number * 128 * MIB)
            file.write(os.urandom(MIB))
        file.truncate(8 << 30)


if __name__ == "__main__":
    main()
