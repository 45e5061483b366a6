"""Builds of many files and of big ones against Docker's: COPY of 20,000 files and of 1 GiB, a RUN that writes 1 GiB.

    python bench/files.py [--place DIRECTORY] [--rounds N] [--docker 'docker --host unix:///path'] [CASE...]

Such figures are those of the file system as much as of the builder: ``--place`` (else the temporary directory) lies on
the same one as Docker's data, a fresh one (loop-mounted, or a tmpfs) for anything worth quoting. Everything of bennu's
and the contexts go there; a Docker behind another root has to see it. Both take turns; a row is the ratio of the
medians. For bennu the CPU time of each kind of build and its highest resident memory are printed too. Cases: files,
large, write; all of them without any. Needs root.

The row of the RUN can be no faster than its command, which is timed by itself as well.

*cold*: no record of a step and no digest of a file is left: bennu has a new root, Docker's build cache is emptied.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from build import BASE, bennu_base, docker_base, docker_of
from timing import Contender, alternate, report

from bennu.config import Settings
from bennu.wiring import Runtime

FILES = 20_000
FILES_A_DIRECTORY = 200
MIB = 1 << 20
GIB = 1 << 30
WRITE = "dd if=/dev/zero bs=1M count=1024 2>/dev/null | tr '\\000' 'x' > /blob"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--docker", default="docker", help="the command; empty for none")
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], metavar="CASE")
    args = parser.parse_args()
    os.environ["DOCKER_BUILDKIT"] = "1"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed bennu is compiled
    with tempfile.TemporaryDirectory(prefix="bennu-bench-", dir=args.place) as base:
        bench = Bench(Path(base), docker_of(args.docker), args.rounds)
        for case in args.cases or CASES:
            CASES[case](bench)


class Bench:
    """Both builders, and contexts for them."""

    def __init__(self, place: Path, docker: list[str], rounds: int) -> None:
        self.place = place
        self.docker = docker
        self.rounds = rounds
        self.settings = Settings.from_environ({**os.environ, "BENNU_ROOT": str(place / "root")})
        os.environ["BENNU_ROOT"] = str(self.settings.root)
        if self.docker:
            docker_base(self.docker)
        self.renew("bennu")

    def context(self, name: str, dockerfile: str) -> Path:
        path = self.place / name
        path.mkdir()
        (path / "Dockerfile").write_text(dockerfile)
        return path

    def renew(self, name: str) -> None:
        """Take every record away from one of the two, and let what was written before reach the disk."""
        self.untag(name)
        if name == "docker" and self.docker:
            prune = [*self.docker, "builder", "prune", "--all", "--force"]
            subprocess.run(prune, check=True, stdout=subprocess.DEVNULL)
        elif name == "bennu":
            shutil.rmtree(self.settings.root, ignore_errors=True)
            with Runtime(self.settings) as runtime:
                bennu_base(runtime)
        os.sync()

    def untag(self, name: str) -> None:
        """Remove the image of Docker's last turn, which would pile up; its build cache keeps what it needs of it."""
        if name == "docker" and self.docker:
            images = [f"bench/{path.name}" for path in self.place.iterdir()]
            subprocess.run([*self.docker, "image", "rm", "--force", *images], check=False, capture_output=True)

    def run(self, title: str, context: Path, before_each: Callable[[str], object] = lambda _: None) -> None:
        """Time both, and print what bennu's processes took of the machine."""
        words = ["build", "-q", "--network", "none", "-t", f"bench/{context.name}"]
        bennu = [str(Path(sys.executable).with_name("bennu")), *words, str(context)]
        used: list[Usage] = []
        contenders: dict[str, Contender] = {"bennu": lambda: used.append(usage_of(bennu))}
        if self.docker:
            contenders["docker"] = [*self.docker, *words, "--provenance=false", str(context)]
        print(title, flush=True)
        report(alternate(contenders, self.rounds, before_each=before_each), "docker" if self.docker else "bennu")
        seconds = statistics.median(each.cpu_seconds for each in used[1:])
        print(f"  bennu: {seconds:.2f} s of CPU, at most {max(each.peak_mib for each in used):.0f} MiB", flush=True)


class Usage(NamedTuple):
    """What a process and its children took: CPU time, and the highest resident memory of one of them."""

    cpu_seconds: float
    peak_mib: float


def usage_of(command: list[str]) -> Usage:
    """Run a command, which must exit with 0."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: status {process.returncode}")
    return Usage(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def many_files(bench: Bench) -> None:
    context = bench.context("many", f"FROM {BASE}\nCOPY t/ /t/\n")
    words = random.Random(2)
    content = words.randbytes(MIB)
    for number in range(FILES):
        path = context / "t" / str(number // FILES_A_DIRECTORY) / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        start = words.randrange(MIB // 2)
        path.write_bytes(content[start : start + words.randrange(1000, 7000)])
    bench.run(f"COPY of {FILES} files, 80 MB, cold", context, bench.renew)
    bench.run("the same, cached", context)
    count = iter(range(1 << 20))
    edited = context / "t/7/f1400"

    def edit(name: str) -> None:
        bench.untag(name)
        edited.write_text(f"{next(count)}\n")

    bench.run("the same, one file edited", context, edit)


def large_file(bench: Bench) -> None:
    context = bench.context("large", f"FROM {BASE}\nCOPY blob /blob\n")
    with open(context / "blob", "wb") as file:
        file.writelines(os.urandom(16 * MIB) for _ in range(GIB // (16 * MIB)))
    bench.run("COPY of one file of 1 GiB, cold", context, bench.renew)
    bench.run("the same, cached", context)


def large_write(bench: Bench) -> None:
    context = bench.context("write", f"FROM {BASE}\nRUN {WRITE}\n")
    bench.run("RUN that writes 1 GiB, cold", context, bench.renew)
    alone = {"the command alone": ["sh", "-c", f"cd {bench.place}; PATH=$PWD/bin; {WRITE.replace(' /blob', ' blob')}"]}
    applets = bench.place / "bin"
    applets.mkdir()
    for name in ("dd", "tr"):
        (applets / name).symlink_to("/bin/busybox")
    report(alternate(alone, bench.rounds), "the command alone")


CASES = {"files": many_files, "large": large_file, "write": large_write}

if __name__ == "__main__":
    main()
