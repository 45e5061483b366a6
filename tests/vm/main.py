"""bennu in a virtual machine: what `script/test-vm` runs once the host is set up.

    script/test-vm [--whole | --small] [--emulate] [--only WORDS]

A Debian of the host's own release with its kernel, systemd and cgroup v2, made from the distribution's packages and
cached; in it bennu's wheel, the agent's unit, a small fleet, reboots and power cuts. Each step is a line; ends with 1
at the first that fails. Leaves nothing but the cache in /var/cache/bennu-test-vm (`--fresh` makes it anew).
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.vm import image, story
from tests.vm.machine import Broken, Disk, Machine, kvm_opens

GUEST = Path(__file__).with_name("guest")
CHECKOUT = Path(__file__).resolve().parents[2]
EMULATED_PATIENCE = 10.0
TRIAL_SECONDS = 8.0


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bennu-test-vm-", dir="/var/tmp") as name:
        directory = Path(name)
        try:
            machine = _prepared(args, directory)
            return _tell(machine, args, started)
        except (Broken, RuntimeError, ValueError, subprocess.CalledProcessError) as error:
            print(f"script/test-vm: {error}", file=sys.stderr)
            return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--whole", action="store_true", help="every power cut, emulated or not")
    size.add_argument("--small", action="store_true", help="few power cuts")
    parser.add_argument("--emulate", action="store_true", help="without KVM, even where it is")
    parser.add_argument(
        "--only", metavar="WORDS", default="", help="steps whose title has these words, and what they need"
    )
    parser.add_argument("--fresh", action="store_true", help="make the disk anew")
    return parser


def _prepared(args: argparse.Namespace, directory: Path) -> Machine:
    started = time.monotonic()
    disk, was_made = image.ensure(image.host_recipe(), fresh=args.fresh)
    _line(started, "a disk of the host's own packages", "made" if was_made else "cached")
    started = time.monotonic()
    content = directory / "seed"
    subprocess.run(["cp", "-r", GUEST, content], check=True)
    _wheels(content / "wheels")
    image.make_seed(content, directory / "seed.img")
    _line(started, "the wheel of this checkout, and those that it needs", "")
    has_kvm = not args.emulate and kvm_opens() and _kvm_boots(disk, directory)
    where = "KVM" if has_kvm else "emulated: no KVM that boots a Debian kernel here"
    print(f"           the machine is {where}", flush=True)
    patience = 1.0 if has_kvm else EMULATED_PATIENCE
    return Machine(disk, directory / "seed.img", directory, has_kvm, patience)


def _wheels(place: Path) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--wheel-dir", place]
    words = [*pip, "--no-build-isolation", "--constraint", CHECKOUT / "constraints.txt", CHECKOUT]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"pip wheel ended with {done.returncode}\n{done.stderr}")


def _kvm_boots(disk: Disk, directory: Path) -> bool:
    """Whether a Debian kernel really runs: some machines show a /dev/kvm that knows only kernels of its own kind."""
    trial = Machine(disk, directory / "seed.img", directory, has_kvm=True)
    return trial.says_something(TRIAL_SECONDS)


def _tell(machine: Machine, args: argparse.Namespace, begun: float) -> int:
    fleet = story.Fleet(machine)
    whole = args.whole or (machine.has_kvm and not args.small)
    wanted = story.steps(whole=whole, only=args.only)
    try:
        started = time.monotonic()
        machine.start()
        _line(started, "it boots", "")
        for step in wanted:
            started = time.monotonic()
            name = story.title(step)
            try:
                step(fleet)
            except Broken as error:
                _line(started, name, "", ok=False)
                print(f"{error}\nthe console:\n{machine.tail()}", file=sys.stderr)
                return 1
            _line(started, name, "")
    finally:
        machine.cut_power()
    print(f"everything was as it should be, after {time.monotonic() - begun:.0f} s and {machine.boots} boots")
    return 0


def _line(started: float, what: str, more: str, *, ok: bool = True) -> None:
    verdict = "ok" if ok else "FAILED"
    print(f"{verdict:<6}{time.monotonic() - started:6.1f} s  {what}{f' ({more})' if more else ''}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
