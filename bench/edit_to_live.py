"""From an edit to the new page being served: ``bennu apply`` on four replicas, under no load, once warm.

    python bench/edit_to_live.py [--rounds N] [--docker 'docker --host unix:///path']

An image of busybox with a site of 200 files, four replicas, a health check; each round changes one line of CSS, runs
``bennu apply --yes`` and asks for the page until the new line comes; then ``bennu rollback --yes`` likewise. The time
that the application itself needs, from its start to its first answer, is measured with ``bennu run`` and given beside
it. With
``--docker`` the peer does the same work without a switch: ``docker build``, four new containers beside the old ones,
wait until each answers; it has no traffic to move, so it is the lower bound of what a script around Docker needs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from bennu.host.network import free_port

PORT, OTHER_PORT = free_port("127.0.0.1"), free_port("127.0.0.1")
REPLICAS = 4
COMPOSE = f"""
name: live
services:
  web:
    build: .
    deploy: {{replicas: {REPLICAS}}}
    ports: [{{target: 8080, published: {PORT}, host_ip: 127.0.0.1, app_protocol: http}}]
    healthcheck: {{test: [CMD, /bin/busybox, wget, -q, -O, /dev/null, "http://127.0.0.1:8080/index.html"]}}
    stop_grace_period: 1s
    x-bennu: {{validate: ["http://:8080/index.html"]}}
"""
DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
CMD ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/site"]
COPY site /site
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--docker", default="")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bennu-bench-") as base:
        environ = os.environ | {"BENNU_ROOT": f"{base}/root"}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed bennu has its bytecode
        environ["PYTHONPYCACHEPREFIX"] = f"{base}/bytecode"
        project = site(Path(base) / "project")
        try:
            measure(project, environ, args.rounds, shlex.split(args.docker))
        finally:
            subprocess.run(bennu("system", "reset", "--yes"), env=environ, capture_output=True, check=False)


def measure(project: Path, environ: dict[str, str], rounds: int, docker: list[str]) -> None:
    run(bennu("apply", "--yes"), project, environ)
    lives: list[float] = []
    backs: list[float] = []
    peers: list[float] = []
    for number in range(-1, rounds):
        edit(project, number)
        live = until_served(project, f"round {number}", bennu("apply", "--yes"), environ)
        before = "no round" if number < 0 else f"round {number - 1}"
        back = until_served(project, before, bennu("rollback", "--yes"), environ)
        run(bennu("apply", "--yes"), project, environ)
        if docker:
            edit(project, 1000 + number)
            peers.append(docker_round(docker, project, number))
        if number >= 0:
            lives.append(live)
            backs.append(back)
    start = statistics.median(start_up(project, environ) for _ in range(5))
    show("edit to live, 4 replicas", lives, start)
    show("rollback to live", backs, start)
    print(f"{'the application itself, one replica':<36} {start:7.3f} s")
    if docker:
        clean_docker(docker)
        show("docker build + 4 new containers", peers[1:], start)
        print(f"edit to live / docker: {statistics.median(lives) / statistics.median(peers[1:]):.2f} x")
    else:
        print("no --docker: Docker's figure is left out")


def show(name: str, seconds: list[float], start: float) -> None:
    middle = statistics.median(seconds)
    low, high = min(seconds), max(seconds)
    print(f"{name:<36} {middle:7.3f} s  ({low:.3f}-{high:.3f}, n={len(seconds)})  {middle / start:5.1f} x its start-up")


def site(directory: Path) -> Path:
    (directory / "site" / "css").mkdir(parents=True)
    busybox = shutil.which("busybox")
    if busybox is None:
        raise SystemExit("busybox is not installed: apt-get install busybox-static")
    shutil.copy(busybox, directory / "busybox")
    (directory / "compose.yaml").write_text(COMPOSE)
    (directory / "Dockerfile").write_text(DOCKERFILE)
    for number in range(199):
        (directory / "site" / f"page{number}.html").write_text(f"<p>page {number}</p>\n" * 40)
    (directory / "site" / "index.html").write_text("<p>index</p>\n")
    (directory / "site" / "css" / "base.css").write_text("/* no round */\n")
    return directory


def edit(project: Path, number: int) -> None:
    (project / "site" / "css" / "base.css").write_text(f"/* round {number} */\n")


def until_served(project: Path, wanted: str, command: list[str], environ: dict[str, str]) -> float:
    """Seconds from the start of a command until the page holds the wanted text."""
    started = time.monotonic()
    with subprocess.Popen(
        command, cwd=project, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as child:
        while True:
            page = get(PORT, "css/base.css")
            if page is not None and f"/* {wanted} */".encode() in page:
                took = time.monotonic() - started
                break
            if child.poll() not in {None, 0} or time.monotonic() - started > 60:
                assert child.stderr is not None
                raise SystemExit(f"{' '.join(command)}: {child.stderr.read().decode()}")
            time.sleep(0.002)
        assert child.stderr is not None
        child.stderr.read()
    return took


def start_up(project: Path, environ: dict[str, str]) -> float:
    """Seconds from the start of one replica's process until it answers."""
    site_directory = project / "site"
    started = time.monotonic()
    with subprocess.Popen(
        [shutil.which("busybox") or "busybox", "httpd", "-f", "-p", str(OTHER_PORT), "-h", site_directory]
    ) as child:
        while get(OTHER_PORT, "index.html") is None:
            time.sleep(0.001)
        took = time.monotonic() - started
        child.kill()
    del environ
    return took


def get(port: int, path: str) -> bytes | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            body: bytes = answer.read()
            return body
    except OSError:
        return None


def docker_round(docker: list[str], project: Path, number: int) -> float:
    """Build, start four beside the old four, wait until each answers inside, remove the old four."""
    started = time.monotonic()
    tag = f"live:{number + 1}"
    run([*docker, "build", "-q", "-t", tag, str(project)], project, dict(os.environ))
    names = [f"live-{number + 1}-{index}" for index in range(REPLICAS)]
    children = [
        subprocess.Popen([*docker, "run", "-d", "--network", "none", "--name", name, tag], stdout=subprocess.DEVNULL)
        for name in names
    ]
    for child in children:
        child.wait()
    probe = ["/bin/busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/index.html"]
    for name in names:
        while subprocess.run([*docker, "exec", name, *probe], capture_output=True, check=False).returncode:
            time.sleep(0.002)
    took = time.monotonic() - started
    old = [f"live-{number}-{index}" for index in range(REPLICAS)]
    subprocess.run([*docker, "rm", "-f", *old], capture_output=True, check=False)
    return took


def clean_docker(docker: list[str]) -> None:
    names = subprocess.run([*docker, "ps", "-aq"], capture_output=True, check=False, text=True).stdout.split()
    if names:
        subprocess.run([*docker, "rm", "-f", *names], capture_output=True, check=False)


def run(command: list[str], project: Path, environ: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=project, env=environ, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.decode()}")


def bennu(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("bennu")), *words]


if __name__ == "__main__":
    main()
