"""What `bennu plan` takes to look into two images: an edit over a shared base, and two bases that share nothing.

    python bench/image_changes.py [--rounds N] [--files N]

The base has ``--files`` files of 4 KiB; the edit changes one in a hundred of another 500. For the second figure every
file of both has to be read. Prints milliseconds, medians. Needs root.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from bennu.config import Settings
from bennu.oci.image_config import ImageConfig
from bennu.store.base import CommittedSnapshot
from bennu.store.image_changes import compare
from bennu.store.images import Image
from bennu.wiring import Store

FILE_BYTES = 4096
SITE_FILES = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--files", type=int, default=5000)
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bennu-bench-") as place,
        Store(Settings(Path(place) / "root", Path(place) / "run")) as store,
    ):
        bases = [layer(store, None, "usr/lib", args.files, edited=False) for _ in range(2)]
        sites = [layer(store, bases[0], "srv", SITE_FILES, edited=edited) for edited in (False, True)]
        pairs = {"an edit over a shared base": sites, "bases that share nothing": bases}
        for name, tops in pairs.items():
            images = [image(store, top) for top in tops]
            found = compare(store.images, *images)
            print(f"{name}: {found.files.count} files changed, {milliseconds(store, images, args.rounds):.1f} ms")


def layer(store: Store, parent: CommittedSnapshot | None, below: str, files: int, *, edited: bool) -> CommittedSnapshot:
    active = store.snapshots.prepare(parent)
    for number in range(files):
        path = store.snapshots.directory(active) / below / str(number // 50) / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        mark = b"e" if edited and number % 100 == 0 else b"o"
        path.write_bytes(mark * FILE_BYTES)
    return store.snapshots.commit(active)


def image(store: Store, top: CommittedSnapshot) -> Image:
    return store.images.create(ImageConfig(architecture="amd64", os="linux"), top, durable=False)


def milliseconds(store: Store, images: list[Image], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        compare(store.images, *images)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1000


if __name__ == "__main__":
    main()
