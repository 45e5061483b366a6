"""The demo: what `script/demo` runs once the host is set up. Real input, real load, and a table of what happened.

    script/demo [--keep] [--rate 1500] [--port 8080]

Works in a state directory of its own (BENNU_ROOT, else /var/lib/bennu-demo) on a copy of examples/shop, and calls the
`bennu` program as a person would. Ends with 1 if a request failed or a step did not do what it should.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENNU = Path(sys.executable).with_name("bennu")
STYLE = "css/theme.css"
WARM_UP_SECONDS = 3.0
AFTER_SECONDS = 3.0


class Demo:
    def __init__(self, root: Path, work: Path, port: int, rate: float) -> None:
        self.root, self.port, self.rate = root, port, rate
        self.shop = work / "shop"
        self.versions = work / "versions"
        self.rows: list[tuple[str, str, str]] = []
        self.failed = False
        self.environ = os.environ | {"BENNU_ROOT": str(root), "SHOP_PORT": str(port)}
        # An installed bennu has its bytecode; this one gets it, and root leaves none in the checkout.
        self.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        self.environ["PYTHONPYCACHEPREFIX"] = str(work / "bytecode")
        self.colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    # telling

    def title(self, text: str) -> None:
        print(f"\n\x1b[1m### {text}\x1b[0m" if self.colour else f"\n### {text}", flush=True)

    def row(self, what: str, took: float | None, result: str) -> None:
        self.rows.append((what, "" if took is None else f"{took:.2f} s", result))

    def check(self, right: bool, what: str) -> None:
        print(("  ok: " if right else "  WRONG: ") + what, flush=True)
        self.failed = self.failed or not right

    def table(self) -> None:
        head = ("what happened", "time", "result")
        widths = [max(len(row[n]) for row in [head, *self.rows]) for n in range(3)]
        self.title("What happened")
        for row in [head, tuple("-" * width for width in widths), *self.rows]:
            print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    # doing

    def bennu(self, *words: str, status: int = 0, quiet: bool = False) -> tuple[float, str]:
        print(f"$ bennu {' '.join(words)}", flush=True)
        started = time.monotonic()
        done = subprocess.run(
            [BENNU, *words],
            env=self.environ,
            cwd=self.shop,
            text=True,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
        )
        took = time.monotonic() - started
        if (done.returncode == 0) != (status == 0):
            print(done.stdout or "")
            raise SystemExit(f"demo: `bennu {' '.join(words)}` ended with {done.returncode}")
        return took, done.stdout or ""

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=10) as answer:
            return answer.read()

    def entries(self) -> int:
        return json.loads(self.get("api/guestbook"))["count"]

    def under_load(self, what: str, change) -> dict:
        """Run ``change`` under load; the load's report, with ``changed_at``: when the change was begun."""
        load = subprocess.Popen(
            [
                sys.executable,
                HERE.parent / "bench" / "load.py",
                "--port",
                str(self.port),
                "--site",
                self.shop / "web" / "site",
                "--watch",
                STYLE,
                "--versions",
                self.versions,
                "--rate",
                str(self.rate),
                "--seconds",
                "300",
            ],
            stdout=subprocess.PIPE,
        )
        try:
            time.sleep(WARM_UP_SECONDS)
            changed_at = time.time()
            change()
            time.sleep(AFTER_SECONDS)
        finally:
            load.send_signal(signal.SIGTERM)
            output, _ = load.communicate(timeout=60)
        report = json.loads(output)
        kinds = ", ".join(f"{count} {kind}" for kind, count in report["requests"].items())
        print(
            f"  load: {report['total']} requests in {report['seconds']:.1f} s ({kinds}), {report['rate']:.0f}/s, slowest second "
            f"{report['slowest_second']}; p50 {report['p50_ms']} ms, p99 {report['p99_ms']} ms, longest {report['max_ms']} ms"
        )
        for moment, failure in report["failures"]:
            print(f"  FAILED at {moment - changed_at:+.3f} s: {failure}")
        self.check(report["failed"] == 0, f"{report['failed']} of {report['total']} requests failed during {what}")
        return report | {"changed_at": changed_at}

    # the story

    def run(self) -> None:
        self.base_image()
        self.first_apply()
        self.edit()
        self.rollback()
        self.immutability()

    def base_image(self) -> None:
        self.title("1. A base image from the distribution's own packages")
        took, _ = self.bennu("image", "bootstrap", "debian:bookworm")
        self.row("base image from Debian's packages", took, "debian:bookworm")

    def first_apply(self) -> None:
        self.title("2. The first apply: build, start, wait until healthy, open the port")
        took, _ = self.bennu("apply", "--yes")
        self.row("first apply: two cold builds, 4 web + 1 db", took, "healthy, port open")
        self.bennu("status")
        before = self.entries()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/guestbook",
            data=json.dumps({"name": "The demo", "message": "State survives."}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            self.check(answer.status == 201, "an entry in the guestbook is in the database")
        self.check(self.entries() == before + 1, "the site shows it")

    def edit(self) -> None:
        self.title("3. One line of CSS, under load")
        style = self.shop / "web" / "site" / STYLE
        started = time.monotonic()

        def change() -> None:
            self.edited_at = time.time()
            style.write_bytes((self.versions / "v2.css").read_bytes())
            self.took, _ = self.bennu("apply", "--yes")

        report = self.under_load("the apply", change)
        live = report["first_seen"].get("v2.css", float("nan")) - self.edited_at
        self.check(live == live, f"the new line is live {live:.2f} s after the edit")
        self.row("one CSS line: edit to live", live, f"{report['failed']} of {report['total']} requests failed")
        self.row("  the whole apply, old set drained", self.took, f"{report['rate']:.0f} requests/s")
        del started

    def rollback(self) -> None:
        self.title("4. Back again, under the same load")
        style = self.shop / "web" / "site" / STYLE
        (self.versions / "v1.css").rename(self.versions / "v1-again.css")

        def change() -> None:
            self.took, _ = self.bennu("rollback", "--yes")

        report = self.under_load("the rollback", change)
        live = report["first_seen"].get("v1-again.css", float("nan")) - report["changed_at"]
        self.check(live == live, f"the old line is back {live:.2f} s after the command")
        self.row("rollback: command to old set live", live, f"{report['failed']} of {report['total']} requests failed")
        self.row("  the whole rollback", self.took, f"{report['rate']:.0f} requests/s")
        entries = self.entries()
        self.check(entries > 1, f"the database kept every entry through both switches ({entries})")
        style.write_bytes((self.versions / "v1-again.css").read_bytes())
        self.bennu("releases")

    def immutability(self) -> None:
        self.title("5. Nobody changes what runs")
        took, said = self.bennu("exec", "web.1", "touch", "/usr/share/changed", status=1, quiet=True)
        print("  " + said.strip().replace("\n", "\n  "))
        self.check("ead-only" in said, "the root file system of a replica is read-only")
        self.row("touch inside a replica", took, "refused: read-only")
        replica = json.loads(self.bennu("inspect", "web.1", quiet=True)[1])[0]
        print(f"$ kill -9 {replica['State']['Pid']}   # the first process of web.1", flush=True)
        started = time.monotonic()
        os.kill(replica["State"]["Pid"], signal.SIGKILL)
        back = self.wait_until_whole(replica["State"]["Pid"])
        self.check(back, "the killed replica is back and healthy")
        self.row("web.1 killed with SIGKILL: back, healthy", time.monotonic() - started, "replaced by the agent")

    def wait_until_whole(self, pid: int) -> bool:
        for _ in range(300):
            time.sleep(0.1)
            done = subprocess.run([BENNU, "status"], env=self.environ, cwd=self.shop, capture_output=True, check=False)
            if done.returncode == 0:
                found = subprocess.run(
                    [BENNU, "inspect", "web.1"], env=self.environ, cwd=self.shop, capture_output=True, check=False
                )
                if found.returncode == 0 and json.loads(found.stdout)[0]["State"]["Pid"] not in {0, pid}:
                    return True
        return False

    def clean_up(self, *, keep: bool, own_root: bool) -> None:
        self.title("6. " + ("The fleet stays up" if keep else "Leaving nothing behind"))
        if keep:
            print(f"  cd {self.shop} && export BENNU_ROOT={self.root} SHOP_PORT={self.port}")
            print(f"  {BENNU} status        # then edit web/site/{STYLE} and {BENNU} apply")
            print(f"  {BENNU} down --volumes --yes   # the end")
            return
        took, _ = self.bennu("down", "--volumes", "--yes")
        self.row("down, volumes removed", took, "nothing left")
        if own_root:
            self.bennu("system", "reset", "--yes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the fleet up to play with")
    parser.add_argument("--rate", type=float, default=1500.0, help="requests a second")
    parser.add_argument("--port", type=int, default=8080, help="published port of the shop")
    args = parser.parse_args()
    own_root = "BENNU_ROOT" not in os.environ
    root = Path(os.environ.get("BENNU_ROOT", "/var/lib/bennu-demo"))
    with ExitStack() as stack:
        work = Path(tempfile.mkdtemp(prefix="bennu-demo-"))
        if not args.keep:
            stack.callback(shutil.rmtree, work, ignore_errors=True)
        shutil.copytree(HERE / "shop", work / "shop")
        demo = Demo(root, work, args.port, args.rate)
        demo.versions.mkdir()
        style = (work / "shop" / "web" / "site" / STYLE).read_bytes()
        (demo.versions / "v1.css").write_bytes(style)
        (demo.versions / "v2.css").write_bytes(style + b"h1 { color: #b3381d; }\n")
        try:
            demo.run()
        finally:
            demo.clean_up(keep=args.keep, own_root=own_root)
        demo.table()
    print("\nSomething was not as it should be." if demo.failed else "\nEverything was as it should be.")
    return 1 if demo.failed else 0


if __name__ == "__main__":
    sys.exit(main())
