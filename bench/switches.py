"""Switches under load: a thousand applies and rollbacks, and not one failed request.

    python bench/switches.py [--switches 1000] [--slow-switches 50] [--rate 1200] [--slow-seconds 20] [--minutes M]

A fleet of its own, two services of two replicas, one of which asks the other through the switch. First the quick part:
two applies and a rollback in turn, each a switch of both services at once, under so many requests a second (kept
connections, new ones, POSTs, pages that take a request between the services). Then the slow part, with responses and
uploads of 20 seconds and websockets as well. The client never retries and checks every body; a websocket may be
closed by a close frame once the drain deadline has passed since its set lost the traffic, and in no other way. Ends
with 1 if anything failed. Needs root. Replicas run the host's own Python, so that nothing is built or fetched.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bennu.config import Settings
from bennu.host.network import free_port
from bennu.oci.image_config import ContainerConfig, ImageConfig
from bennu.oci.reference import parse_reference
from bennu.wiring import Fleet

HERE = Path(__file__).resolve().parent / "switching"
WARM_UP_SECONDS = 2.0
PAUSE_SECONDS = 0.1
LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}
FILE = """\
name: switches
services:
  web: &replica
    image: replica:latest
    command: [{python}, -B, /srv/replica.py]
    environment: {{VERSION: "{version}"}}
    deploy: {{replicas: {replicas}}}
    volumes: [{volumes}]
    depends_on: [api]
    ports: [{{target: 80, published: {port}, host_ip: 127.0.0.1, app_protocol: http}}]
    x-bennu: {{probe: "http://:80/"}}
  api:
    <<: *replica
    depends_on: []
    ports: []
    expose: ["80"]
x-bennu: {{keep: 1, keep_warm: 1h}}
"""


@dataclass
class Switching:
    """The fleet. ``away``: for each version when the command began that took the traffic from it, the last time."""

    directory: Path
    settings: Settings
    port: int
    replicas: int
    version: int = 0
    served: int = 0
    served_before: int = 0
    took: dict[str, list[float]] = field(default_factory=lambda: {"apply": [], "rollback": []})
    away: dict[int, list[float]] = field(default_factory=dict)

    def make_image(self) -> None:
        """An image with nothing in it but names for what is mounted."""
        with Fleet(self.settings) as fleet:
            active = fleet.snapshots.prepare(None)
            tree = fleet.snapshots.directory(active)
            for name, target in LINKS.items():
                (tree / name).symlink_to(target)
            for name in ("usr", "etc", "srv", "tmp"):
                (tree / name).mkdir()
            config = ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(env=("PATH=/bin",)))
            fleet.images.create(config, fleet.snapshots.commit(active), names=(parse_reference("replica:latest"),))

    def bennu(self, *words: str) -> float:
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "bennu", *words], env=os.environ | {"BENNU_ROOT": str(self.settings.root)},
            cwd=self.directory, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"bennu {' '.join(words)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return time.monotonic() - started

    def apply(self, drain: float) -> None:
        self.version += 1
        places = dict.fromkeys(("/usr", *([] if sys.base_prefix.startswith("/usr") else [sys.base_prefix])))
        volumes = ", ".join([f'"{HERE}:/srv:ro"', *(f'"{place}:{place}:ro"' for place in places)])
        python = os.path.realpath(sys.executable)
        text = FILE.format(python=python, version=self.version, replicas=self.replicas, port=self.port, volumes=volumes)
        (self.directory / "compose.yaml").write_text(text)
        self._switch("apply", self.version, drain)

    def switch(self, number: int, drain: float) -> None:
        """New versions, and each third time back to the one before: so sets of either kind are pruned."""
        if number % 3 == 2:
            self._switch("rollback", self.served_before, drain)
        else:
            self.apply(drain)

    def _switch(self, verb: str, version: int, drain: float) -> None:
        if self.served:
            self.away.setdefault(self.served, []).append(time.time())
        self.took[verb].append(self.bennu(verb, "--yes", "--drain", f"{drain:g}s"))
        self.served_before, self.served = self.served, version


def under_traffic(fleet: Switching, switches: int, slow: float, args: argparse.Namespace) -> dict[str, object]:
    """Switch so often under traffic; the traffic's report, with what the switches took."""
    rate, drain = args.rate, args.drain
    fleet.took = {"apply": [], "rollback": []}
    words = [sys.executable, HERE / "traffic.py", "--port", str(fleet.port), "--rate", f"{rate:g}"]
    load = subprocess.Popen([*words, *(["--slow", f"{slow:g}"] if slow else [])], stdout=subprocess.PIPE)
    try:
        time.sleep(WARM_UP_SECONDS)
        started = time.monotonic()
        for number in range(switches):
            if time.monotonic() - started > args.minutes * 60:
                print(f"  stopped after {args.minutes:g} minutes", file=sys.stderr, flush=True)
                break
            fleet.switch(number, drain)
            time.sleep(PAUSE_SECONDS)
            if (number + 1) % 50 == 0:
                print(f"  {number + 1} switches, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        load.send_signal(signal.SIGTERM)
        report = json.loads(load.communicate(timeout=90 + slow)[0])
    finally:
        load.kill()
        load.wait()
    early = [
        (version, when) for version, when in report["closed_websockets"]
        if not any(began + drain <= when for began in fleet.away.get(int(version), []))
    ]  # fmt: skip
    report["failures"] += [[when, f"a websocket of version {version} closed early"] for version, when in early]
    report["failed"] += len(early)
    report |= {"closed_websockets": len(report["closed_websockets"]), "versions": len(report["versions"])}
    return report | {"switches": sum(map(len, fleet.took.values())), "took": fleet.took}


def tell(title: str, report: dict[str, object]) -> None:
    kinds = ", ".join(f"{count} {kind}" for kind, count in report["requests"].items())
    print(f"{title}: {report['switches']} switches, {report['failed']} of {report['total']} requests failed")
    print(f"  {kinds}; {report['closed_websockets']} websockets ended by a close frame after the deadline")
    print(
        f"  {report['rate']} quick requests/s over {report['seconds']} s (slowest second {report['slowest_second']}), "
        f"p50 {report['p50_ms']} ms, p99 {report['p99_ms']} ms, longest {report['max_ms']} ms"
    )
    for verb, took in report["took"].items():
        if took:
            ordered = sorted(took)
            half, most = ordered[len(took) // 2], ordered[len(took) * 99 // 100]
            print(f"  {verb}: {len(took)}, median {half:.2f} s, p99 {most:.2f} s, longest {ordered[-1]:.2f} s")
    for when, what in report["failures"]:
        print(f"  FAILED at {when:.3f}: {what}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--switches", type=int, default=1000)
    parser.add_argument("--slow-switches", type=int, default=50)
    parser.add_argument("--rate", type=float, default=1200.0, help="quick requests a second")
    parser.add_argument("--slow-seconds", type=float, default=20.0, help="how long slow responses and uploads take")
    parser.add_argument("--drain", type=float, default=30.0, help="the drain deadline in seconds")
    parser.add_argument("--replicas", type=int, default=2, help="of each service")
    parser.add_argument("--minutes", type=float, default=600.0, help="stop each part after so long")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    args = parser.parse_args()
    parts = [("quick", args.switches, 0.0), ("slow", args.slow_switches, args.slow_seconds)]
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bennu-switches-", dir="/var/tmp")))
        settings = Settings.from_environ({"BENNU_ROOT": str(place / "root")})
        (place / "project").mkdir()
        fleet = Switching(place / "project", settings, free_port("127.0.0.1"), args.replicas)
        fleet.make_image()
        stack.callback(fleet.bennu, "system", "reset", "--yes")
        stack.callback(fleet.bennu, "down", "--yes", "--volumes")
        fleet.apply(args.drain)
        reports = {title: under_traffic(fleet, count, slow, args) for title, count, slow in parts if count}
    if args.json:
        print(json.dumps(reports))
    else:
        for title, report in reports.items():
            tell(title, report)
    return 1 if any(report["failed"] for report in reports.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
