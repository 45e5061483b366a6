"""``bennu drift`` on a fleet of many replicas: the whole command, and where the time of a look goes.

    python bench/drift.py [--replicas N] [--rounds N]

The replicas are busybox's httpd, each with limits, a volume and a network of its own; nothing has drifted. The figure
that counts is the command's, from its start to its end; the bar is two seconds for a hundred replicas.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import alternate

from bennu.config import Settings
from bennu.host import process
from bennu.oci.image_config import ContainerConfig, ImageConfig
from bennu.oci.reference import parse_reference
from bennu.wiring import Fleet

BAR_SECONDS = 2.0
BAR_REPLICAS = 100
FILE = """\
name: benchdrift
services:
  web:
    image: web:v1
    command: [httpd, -f, -p, "80", -h, /srv]
    environment: {{TUNE: "1"}}
    deploy: {{replicas: {replicas}, resources: {{limits: {{memory: 64m, cpus: "0.5", pids: 50}}}}}}
    volumes: [data:/data]
    x-bennu: {{writes: false}}
    expose: ["80"]
    stop_signal: SIGKILL
volumes: {{data: {{}}}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=BAR_REPLICAS)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed bennu has its bytecode
    with tempfile.TemporaryDirectory(prefix="bennu-bench-") as base:
        settings = Settings.from_environ({**os.environ, "BENNU_ROOT": f"{base}/root"})
        os.environ["BENNU_ROOT"] = str(settings.root)
        bennu = str(Path(sys.executable).with_name("bennu"))
        (Path(base) / "compose.yaml").write_text(FILE.format(replicas=args.replicas))
        with Fleet(settings) as fleet:
            make_image(fleet)
            try:
                started = time.perf_counter()
                run(bennu, "apply", "--yes", cwd=base)
                print(f"{args.replicas} replicas started in {time.perf_counter() - started:.1f} s")
                measure(fleet, bennu, base, args.rounds, args.replicas)
            finally:
                run(bennu, "down", "--yes", "--volumes", cwd=base)
                shutil.rmtree(settings.run, ignore_errors=True)


def make_image(fleet: Fleet) -> None:
    snapshot = fleet.snapshots.prepare(None)
    tree = fleet.snapshots.directory(snapshot)
    for name in ("bin", "srv", "tmp", "etc"):
        (tree / name).mkdir()
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    (tree / "bin/httpd").symlink_to("busybox")
    whole = ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(env=("PATH=/bin",)))
    committed = fleet.snapshots.commit(snapshot)
    fleet.images.create(whole, committed, names=(parse_reference("web:v1"),), durable=False)


def measure(fleet: Fleet, bennu: str, base: str, rounds: int, replicas: int) -> None:
    counted = [0]
    original = process.run

    def counting(*words: object, **options: object) -> object:
        counted[0] += 1
        return original(*words, **options)  # type: ignore[arg-type]

    process.run = counting  # type: ignore[assignment]
    look, _ = fleet.drifts.look("benchdrift")
    process.run = original
    for drift in look.own:
        print(f"found {drift}")
    timings = alternate(
        {
            "bennu drift": lambda: run(bennu, "drift", cwd=base),
            "the survey alone": lambda: fleet.engine.survey("benchdrift"),
            "bennu version": lambda: run(bennu, "version", cwd=base),
        },
        rounds,
    )
    for timing in timings.values():
        print(timing)
    whole = timings["bennu drift"].median
    before = os.times()
    run(bennu, "drift", cwd=base)
    after = os.times()
    processor = (after.children_user - before.children_user) + (after.children_system - before.children_system)
    bar = BAR_SECONDS * replicas / BAR_REPLICAS
    print(f"processes started by one look: {counted[0]}")
    print(f"{whole / replicas * 1000:.1f} ms a replica; {whole / bar:.2f} of the bar")
    print(f"of the processor the command takes {processor:.2f} s, {processor / bar:.2f} of the bar")


def run(*words: str, cwd: str) -> None:
    subprocess.run(words, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


if __name__ == "__main__":
    main()
