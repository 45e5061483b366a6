"""Builds against Docker's: a cached no-op, one edited file, a cold build; from one run, in alternation, as ratios.

    python bench/build.py [--rounds N] [--docker 'docker --host unix:///path'] [--network none] [CASE...]

Both build the same Dockerfile from the same context upon the same small base image. Docker is what ``--docker`` says,
else the ``docker`` on PATH; without one that answers, bennu's figures stand alone. The contexts lie in ``TMPDIR``,
which a Docker behind another root has to see. Cases: noop, edit, cold; all of them without any.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from timing import alternate, report

from bennu.config import Settings
from bennu.oci.image_config import ContainerConfig, ImageConfig
from bennu.oci.reference import parse_reference
from bennu.wiring import Runtime

BASE = "localhost/bench-base:latest"
APPLETS = "adduser cat dd echo ls mkdir sed sh tr true wc"
PASSWD = "root:x:0:0:root:/root:/bin/sh\n"
TEN_STEPS = f"""\
FROM {BASE}
ENV APP=/app MODE=prod
RUN mkdir -p /app && echo one > /app/one
COPY app.conf /app/
RUN sed s/a/b/ /app/app.conf > /app/two
WORKDIR /app
COPY src/ src/
RUN cat src/* | wc -c > sizes
RUN adduser -D -H -s /bin/false svc; echo four > four
RUN ls -l /app > manifest
CMD ["cat", "/app/manifest"]
"""
SITE = f"""\
FROM {BASE}
ENV A=1
RUN mkdir -p /srv/www && echo x > /srv/x
COPY site/ /srv/www/
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--docker", default="docker", help="the command; empty for none")
    parser.add_argument("--network", default="none", help="the network of a RUN, for both")
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], metavar="CASE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bennu-bench-") as base:
        settings = Settings.from_environ({**os.environ, "BENNU_ROOT": f"{base}/root"})
        os.environ["BENNU_ROOT"] = str(settings.root)
        os.environ["DOCKER_BUILDKIT"] = "1"
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed bennu is compiled
        bench = Bench(Path(base), docker_of(args.docker), args.rounds, args.network)
        try:
            with Runtime(settings) as runtime:
                bennu_base(runtime)
            if bench.docker:
                docker_base(bench.docker)
            for case in args.cases or CASES:
                CASES[case](bench)
        finally:
            with Runtime(settings) as runtime:
                for network in runtime.containers.networks.walk():
                    runtime.containers.networks.remove(network.name)
            shutil.rmtree(settings.run, ignore_errors=True)


def docker_of(words: str) -> list[str]:
    """The command that reaches Docker; empty, and said, where there is none."""
    command = shlex.split(words)
    if not command:
        return []
    try:
        done = subprocess.run([*command, "version"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        print(f"no {command[0]!r} on PATH: bennu's figures stand alone")
        return []
    if done.returncode:
        print(f"{command[0]!r} reaches no daemon: bennu's figures stand alone ({done.stderr.strip()[:120]})")
        return []
    return command


def bennu_base(runtime: Runtime) -> None:
    """The base image for bennu: busybox and its users."""
    active = runtime.snapshots.prepare(None)
    with tarfile.open(fileobj=io.BytesIO(archive())) as tar:
        tar.extractall(runtime.snapshots.directory(active))
    snapshot = runtime.snapshots.commit(active)
    config = ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(env=("PATH=/bin",), cmd=("sh",)))
    runtime.images.create(config, snapshot, names=(parse_reference(BASE),))


def docker_base(docker: list[str]) -> None:
    """The same base image for Docker."""
    words = [*docker, "import", "--change", "ENV PATH=/bin", "-", BASE]
    subprocess.run(words, input=archive(), check=True, stdout=subprocess.DEVNULL)


class Bench:
    """Both builders, and contexts for them."""

    def __init__(self, place: Path, docker: list[str], rounds: int, network: str) -> None:
        self.place = place
        self.docker = docker
        self.rounds = rounds
        self.network = network

    def context(self, name: str, dockerfile: str, files: dict[str, str]) -> Path:
        path = self.place / name
        for file, text in {"Dockerfile": dockerfile, **files}.items():
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).write_text(text)
        return path

    def run(self, title: str, context: Path, before_each: Callable[[str], object], *, cold: bool = False) -> None:
        """Time both. ``cold``: nothing is reused; Docker's cache is emptied before each of its turns."""
        bennu = str(Path(sys.executable).with_name("bennu"))
        words = ["build", "-q", "--network", self.network, "-t", f"bench/{context.name}"]
        fresh = ["--no-cache"] if cold else []
        contenders = {"bennu": [bennu, *words, *fresh, str(context)]}
        if self.docker:
            contenders["docker"] = [*self.docker, *words, "--provenance=false", *fresh, str(context)]

        def before(name: str) -> None:
            if cold and name == "docker":
                prune = [*self.docker, "builder", "prune", "--all", "--force"]
                subprocess.run(prune, check=True, stdout=subprocess.DEVNULL)
            before_each(name)

        timings = alternate(contenders, self.rounds, warm_up=2, before_each=before)
        print(title)
        report(timings, against="docker" if self.docker else "bennu")


def noop(bench: Bench) -> None:
    bench.run("cached no-op build, ten steps", ten_steps(bench, "noop"), lambda _: None)


def cold(bench: Bench) -> None:
    bench.run("cold build, ten steps, five of them RUN", ten_steps(bench, "cold"), lambda _: None, cold=True)


def ten_steps(bench: Bench, name: str) -> Path:
    sources = {f"src/f{number}.txt": f"{number}\n" * 200 for number in range(20)}
    return bench.context(name, TEN_STEPS, {"app.conf": "alpha\n" * 50, **sources})


def edit(bench: Bench) -> None:
    words = random.Random(1)
    pages = {
        f"site/{number % 10}/p{number}.html": f"<p>{words.random()}</p>\n" * words.randrange(20, 400)
        for number in range(200)
    }
    context = bench.context("site", SITE, pages)
    count = iter(range(1 << 20))

    def one_line(_: str) -> None:
        (context / "site/style.css").write_text(f"body {{ margin: {next(count)}px }}\n")

    bench.run("one line of CSS edited in a site of 200 files, until the image is usable", context, one_line)


CASES = {"noop": noop, "edit": edit, "cold": cold}


def archive() -> bytes:
    """The base image as a plain tar."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for applet in APPLETS.split():
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name, text in {"etc/passwd": PASSWD, "etc/group": "root:x:0:\n"}.items():
            file = tarfile.TarInfo(name)
            file.size, file.mode = len(text), 0o644
            tar.addfile(file, io.BytesIO(text.encode()))
    return stream.getvalue()


if __name__ == "__main__":
    main()
