"""Layers against tar: a snapshot made into a layer and a layer unpacked, of many small files and of one large one.

    python bench/layers.py [--rounds N] [--files N] [--large-mib N] [--place DIRECTORY]

Everything lies in ``--place``, a tmpfs unless told otherwise: on a disk the figures are the disk's. bennu hashes what
it writes and what it reads; tar does not. Needs root.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from timing import alternate, report

from bennu.config import Settings
from bennu.store.base import CommittedSnapshot
from bennu.store.database import Database
from bennu.store.differ import OverlayDiffer
from bennu.store.snapshots import Snapshots

FILES_A_DIRECTORY = 20
FILE_BYTES = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--large-mib", type=int, default=1024)
    parser.add_argument("--place", type=Path, default=Path("/dev/shm"))
    args = parser.parse_args()
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bennu-bench-", dir=args.place)))
        settings = Settings(base / "root", base / "run")
        bench = Bench(base, Snapshots(settings, stack.enter_context(Database(settings.database))))
        print(f"{args.files} files of {FILE_BYTES} bytes, {FILES_A_DIRECTORY} to a directory")
        bench.compare(lambda root: make_many(root, args.files), args.rounds)
        print(f"one file of {args.large_mib} MiB")
        bench.compare(lambda root: make_large(root, args.large_mib), args.rounds)


class Bench:
    """One store, and directories for tar beside it."""

    def __init__(self, base: Path, snapshots: Snapshots) -> None:
        self._snapshots = snapshots
        self._differ = OverlayDiffer(snapshots)
        self._archive = base / "layer.tar"
        self._other = base / "other.tar"
        self._target = base / "target"
        self._unpacked: list[CommittedSnapshot] = []

    def compare(self, make, rounds: int) -> None:
        active = self._snapshots.prepare(None)
        make(self._snapshots.directory(active))
        snapshot = self._snapshots.commit(active)
        source = self._snapshots.directory(snapshot)
        with open(self._archive, "wb") as sink:
            self._differ.diff(snapshot, sink)
        out = {
            "tar -c": ["tar", "-cf", str(self._other), "-C", str(source), "."],
            "diff, written and hashed": lambda: self._diff(snapshot),
            "diff, hashed only": lambda: self._differ.diff(snapshot),
            "sha256 of the archive": lambda: hash_of(self._archive),
        }
        report(alternate(out, rounds), against="tar -c")
        back = {
            "tar -x": ["tar", "-xf", str(self._archive), "-C", str(self._target)],
            "apply": self._apply,
        }
        report(alternate(back, rounds, before_each=lambda _: self._clear()), against="tar -x")
        self._clear()
        self._snapshots.remove(snapshot)

    def _diff(self, snapshot: CommittedSnapshot) -> None:
        with open(self._other, "wb") as sink:
            self._differ.diff(snapshot, sink)

    def _apply(self) -> None:
        active = self._snapshots.prepare(None)
        with open(self._archive, "rb") as stream:
            self._differ.apply(stream, active)
        self._unpacked.append(self._snapshots.commit(active))

    def _clear(self) -> None:
        while self._unpacked:
            self._snapshots.remove(self._unpacked.pop())
        if self._target.exists():
            shutil.rmtree(self._target)
        self._target.mkdir()


def make_many(root: Path, count: int) -> None:
    content = os.urandom(FILE_BYTES)
    for number in range(count):
        directory = root / f"d{number // FILES_A_DIRECTORY % 40}" / f"e{number // FILES_A_DIRECTORY}"
        if number % FILES_A_DIRECTORY == 0:
            directory.mkdir(parents=True)
        (directory / f"f{number}").write_bytes(content)


def make_large(root: Path, mib: int) -> None:
    subprocess.run(["dd", "if=/dev/urandom", f"of={root}/large", "bs=1M", f"count={mib}", "status=none"], check=True)


def hash_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
