"""What has to be true in the machine, step by step: each step is a function that raises ``Broken`` where it is not.

The steps build on each other and stand in the order in which they run. Those in ``CUTS`` repeat one thing: the power
fails in the middle of an apply, and afterwards there is exactly one active set, no orphan, a store that opens, and a
next command that carries on.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.vm.machine import Broken, Machine

PYTHON = "/opt/bennu/bin/python"
CONTAINER = "/sys/fs/cgroup/bennu"

# where the power fails: the state of the rollout, whether on entering it or after its first action, and how
CUTS = (
    ("SWITCHING", "leave", "reset"),
    ("STARTING", "leave", "kill"),
    ("YIELDING", "leave", "kill"),
    ("PROVING", "enter", "reset"),
    ("SWITCHING", "enter", "kill"),
    ("DRAINING", "leave", "reset"),
    ("RETIRING", "leave", "kill"),
)
FEW_CUTS = 3
AFTER_SECONDS = (0.4, 0.8, 1.2, 1.8)
"""How long after the beginning of an apply the power fails, wherever that is."""


@dataclass
class Fleet:
    """The fleet in the machine. ``version`` is what its page says, ``written`` what its file says."""

    machine: Machine
    version: int = 1
    written: int = 1

    def bennu(self, words: str, status: int = 0, seconds: float = 60) -> str:
        return self.machine.run(f"cd /srv/fleet && exec bennu {words}", seconds, status)

    def write(self, *, tune: bool = False) -> int:
        """Another version of the file: of the web service, and with ``tune`` of the database too."""
        self.written += 1
        edits = [f's/VERSION: "[0-9]*"/VERSION: "{self.written}"/']
        edits += [f's/TUNE: "[0-9]*"/TUNE: "{self.written}"/'] if tune else []
        self.machine.run(f"cd /srv/fleet && sed -i '{';'.join(edits)}' compose.yaml")
        return self.written

    def apply(self) -> None:
        self.bennu("apply --yes", seconds=120)
        self.version = self.written

    def look(self) -> dict[str, Any]:
        return json.loads(self.machine.run(f"{PYTHON} /mnt/look.py"))

    def await_whole(self, *versions: int, seconds: float = 60) -> dict[str, Any]:
        """Wait until the page says one of the versions (the fleet's own) and everything is there, nothing more."""
        wanted = [str(each) for each in versions or (self.version,)]
        script = f"{PYTHON} /mnt/look.py --until {' '.join(wanted)} --seconds {seconds * self.machine.patience:g}"
        status, output, errors = self.machine.try_run(script, seconds + 30)
        if status:
            agent = self.machine.try_run("journalctl -b -u bennu-agent --no-pager | tail -n 15")[1]
            raise Broken(f"the fleet is not whole with page {' or '.join(wanted)}:\n{output}{errors}\n{agent}")
        found = json.loads(output)
        self.version = int(found["page"])
        return found

    def pids(self) -> dict[str, str]:
        """The first process of each container that runs."""
        lines = self.machine.run("bennu ps --format '{{.ID}} {{.Names}}' --no-trunc").split("\n")
        names = dict(line.split(" ", 1) for line in lines if line)
        return {name: self.machine.run(f"cat /run/bennu/*/containers/{one}/pid") for one, name in names.items()}


def check(right: bool, what: object) -> None:
    if not right:
        raise Broken(str(what))


# the steps


def the_machine_is_what_it_should_be(fleet: Fleet) -> None:
    run = fleet.machine.run
    check(run("stat -fc %T /sys/fs/cgroup").strip() == "cgroup2fs", "cgroup v2 is not mounted")
    check(run("cat /proc/1/comm").strip() == "systemd", "systemd is not process 1")
    run("systemctl is-system-running --wait || systemctl --failed", 120)


def it_installs_from_the_wheel(fleet: Fleet) -> None:
    run = fleet.machine.run
    run("python3 -m venv --without-pip /opt/bennu")
    run(
        "PYTHONPATH=$(echo /usr/share/python-wheels/pip-*.whl) /opt/bennu/bin/python -m pip install --quiet "
        "--no-compile --no-index --find-links /mnt/wheels --disable-pip-version-check --root-user-action ignore bennu",
        240,
    )
    run("ln -s /opt/bennu/bin/bennu /usr/local/bin/bennu")
    run("cp -r /mnt/fleet /srv/fleet && cp /bin/busybox /srv/fleet/web/")
    said = run("bennu doctor; true")
    check("missing" not in said, said)
    check(re.search(r"cgroups +.*v2", said) is not None, said)


def the_agent_is_a_unit(fleet: Fleet) -> None:
    fleet.bennu("agent install")
    fleet.bennu("agent install")  # again: brings it up to date
    fleet.machine.run("systemctl is-active bennu-agent && systemctl is-enabled bennu-agent")
    check("pid" in fleet.bennu("agent status"), "the agent does not say its pid")


def it_applies(fleet: Fleet) -> None:
    fleet.apply()
    fleet.await_whole()
    (kept,) = fleet.machine.run("cat /run/bennu/*/oci-runtime.json").splitlines()
    check(json.loads(kept)["program"].endswith("/crun"), f"crun does not work under cgroup v2: {kept}")


def limits_hold_whatever_systemd_does(fleet: Fleet) -> None:
    wanted = {"cpu.max": "50000 100000", "memory.max": str(48 << 20), "pids.max": "40"}

    def limits() -> dict[str, str]:
        found = {}
        for name, value in wanted.items():
            files = fleet.machine.run(f"for each in {CONTAINER}/bennu-*; do cat $each/{name} 2>&1; done")
            found[name] = value if value in files else files
        return found

    check(limits() == wanted, limits())
    # systemd looks anew at which controllers its units need
    fleet.machine.run(
        "systemctl daemon-reload && systemd-run --quiet --wait -p CPUWeight=50 -p CPUQuota=50% true "
        "&& systemctl daemon-reload && systemctl restart bennu-agent"
    )
    check(limits() == wanted, limits())


def memory_is_limited(fleet: Fleet) -> None:
    image = fleet.machine.run("bennu images --quiet | head -n 1").strip()
    hungry = "'x=x; while :; do x=$x$x; done'"
    fleet.bennu(f"run --name hungry --memory 32m {image} sh -c {hungry}", status=137)
    (found,) = json.loads(fleet.bennu("inspect hungry"))
    check(found["State"]["OOMKilled"] is True, found["State"])
    fleet.bennu("rm hungry")


def the_agent_may_come_and_go(fleet: Fleet) -> None:
    before = fleet.pids()
    fleet.machine.run("systemctl restart bennu-agent && systemctl stop bennu-agent")
    check(fleet.pids() == before, f"containers did not outlive the agent: {before} {fleet.pids()}")
    check(fleet.look()["page"] == str(fleet.version), "the switch did not outlive the agent")
    fleet.machine.run("systemctl start bennu-agent && kill -9 $(systemctl show -p MainPID --value bennu-agent)")
    fleet.await_whole()
    check(fleet.pids() == before, "containers did not outlive the agent's kill -9")


def a_dead_replica_comes_back(fleet: Fleet) -> None:
    before = fleet.pids()
    fleet.machine.run(f"kill -9 {' '.join(pid for name, pid in before.items() if 'web' in name)}")
    fleet.await_whole()
    check(all(fleet.pids()[name] != pid for name, pid in before.items() if "web" in name), "nothing came back")


def a_kept_set_freezes_and_comes_back(fleet: Fleet) -> None:
    (old,) = (name for service, name in fleet.look()["active"].items() if service == "web")
    fleet.write()
    fleet.apply()
    fleet.await_whole()
    for _ in range(30):
        found = fleet.look()
        if found["temperature"].get(old) == "frozen":
            break
        time.sleep(1)
    check(found["temperature"].get(old) == "frozen", f"the kept set is not frozen: {found['temperature']}")
    groups = [f"{CONTAINER}/bennu-*-{identity[:12]}/cgroup.events" for identity, *_ in found["replicas"][old]]
    said = fleet.machine.run(f"cat {' '.join(groups)}")
    check(said.count("frozen 1") == len(groups), f"the kernel does not hold it: {said}")
    fleet.bennu("rollback --yes")
    fleet.await_whole(fleet.version - 1)
    fleet.apply()
    fleet.await_whole()


def the_clock_jumps(fleet: Fleet) -> None:
    """A day forward, then two days back: what keeps time goes on as before, and deploys go through."""
    for days in ("1 day", "-2 days"):
        fleet.machine.run(f"date -s '{days}'")
        before = fleet.pids()
        fleet.machine.run(f"kill -9 {next(pid for name, pid in before.items() if 'web' in name)}")
        fleet.await_whole()
        fleet.write()
        fleet.apply()
        fleet.await_whole()
    fleet.machine.run("date -s '1 day'")


def a_reboot_brings_it_back(fleet: Fleet) -> None:
    fleet.write()
    fleet.apply()
    before = fleet.await_whole()
    fleet.machine.reboot()
    console = fleet.machine.console.read_text(errors="replace")
    check("Waiting for process" not in console, f"somebody has to be waited for when the host goes down:\n{console}")
    found = fleet.await_whole(seconds=90)
    check(found["active"] == before["active"], f"other sets are active: {before['active']} {found['active']}")
    kept = set(found["replicas"]) - set(found["active"].values())
    check(kept != set(), "no set is kept")
    check({found["temperature"][name] for name in kept} == {"stopped"}, found["temperature"])
    fleet.bennu("rollback --yes")
    fleet.await_whole(fleet.version - 1)


def a_hold_outlives_a_reboot_and_ends_in_time(fleet: Fleet) -> None:
    fleet.bennu("hold web.2 --for 7d --reason looking", seconds=120)
    fleet.await_whole()
    fleet.bennu("exec web.2-held touch /found")
    before = fleet.look()["active"]
    fleet.machine.reboot()
    found = fleet.await_whole(seconds=90)
    check(found["active"] == before, found)
    check(found["holds"] == ["web.2"], found["holds"])
    check("looking" in fleet.bennu("hold ls"), "the reason is lost")
    for _ in range(30):  # it is started after those that serve
        status, _, errors = fleet.machine.try_run("cd /srv/fleet && bennu exec web.2-held ls /found")
        if status == 0:
            break
    check(status == 0, f"what it wrote is lost: {errors}")
    fleet.bennu("hold --renew web.2 --for 1s")  # and nobody is there when its time is up
    fleet.machine.cut_power()
    fleet.machine.start()
    for _ in range(30):
        found = fleet.await_whole(seconds=90)
        if not found["holds"]:
            break
    check(found["holds"] == [], "the hold has not ended")


def a_power_cut(state: str, moment: str, how: str) -> Callable[[Fleet], None]:
    """The power fails exactly there."""

    def step(fleet: Fleet) -> None:
        new, old = fleet.write(tune=state == "YIELDING"), fleet.version
        words = f"cd /srv/fleet && {PYTHON} /mnt/stopping_deploy.py {state} {moment} 2>&1"
        fleet.machine.begin(words, 200)
        check(next(fleet.machine.events(90), None) == state, f"the deploy has not come to {state}")
        _cut(fleet, how)
        _carries_on(fleet, old, new)

    step.__name__ = f"the power fails: {state.lower()}, {moment} ({how})"
    return step


def a_power_cut_after(seconds: float) -> Callable[[Fleet], None]:
    """The power fails wherever the apply is by then."""

    def step(fleet: Fleet) -> None:
        new, old = fleet.write(), fleet.version
        fleet.machine.begin("cd /srv/fleet && bennu apply --yes", 200)
        time.sleep(seconds * fleet.machine.patience)
        _cut(fleet, "kill")
        _carries_on(fleet, old, new)

    step.__name__ = f"the power fails {seconds:g} s into an apply"
    return step


def _cut(fleet: Fleet, how: str) -> None:
    if how == "reset":
        fleet.machine.reset()
    else:
        fleet.machine.cut_power()
        fleet.machine.start()


def _carries_on(fleet: Fleet, old: int, new: int) -> None:
    fleet.await_whole(old, new, seconds=120)
    fleet.bennu("status")
    fleet.apply()
    found = fleet.await_whole(new)
    states = [state for _, state in found["revisions"]]
    check(states.count("active") == 1, states)


def it_goes_without_a_trace(fleet: Fleet) -> None:
    run = fleet.machine.run
    fleet.bennu("down --yes --volumes", seconds=120)
    run("systemctl disable --now bennu-agent 2>&1")
    fleet.bennu("system reset --yes")
    left = run(
        "ls -d /sys/fs/cgroup/*bennu* /run/bennu/*/ /var/lib/bennu/* 2>/dev/null; ip -brief link | grep -v '^lo '; "
        "ip netns; nft list tables; pgrep -a 'conmon|crun|haproxy'; grep -i bennu /proc/mounts; true"
    )
    check(left.strip() == "", f"left behind:\n{left}")


FIRST: tuple[Callable[[Fleet], None], ...] = (
    the_machine_is_what_it_should_be,
    it_installs_from_the_wheel,
    the_agent_is_a_unit,
    it_applies,
)
"""What all others need."""
STEPS: tuple[Callable[[Fleet], None], ...] = (
    limits_hold_whatever_systemd_does,
    memory_is_limited,
    the_agent_may_come_and_go,
    a_dead_replica_comes_back,
    a_kept_set_freezes_and_comes_back,
    the_clock_jumps,
    a_reboot_brings_it_back,
    a_hold_outlives_a_reboot_and_ends_in_time,
)
LAST = (it_goes_without_a_trace,)


def steps(*, whole: bool, only: str = "") -> tuple[Callable[[Fleet], None], ...]:
    """The whole story, or the smaller case: fewer power cuts. ``only``: words of the steps that are wanted."""
    cuts = [a_power_cut(*cut) for cut in (CUTS if whole else CUTS[:FEW_CUTS])]
    cuts += [a_power_cut_after(seconds) for seconds in (AFTER_SECONDS if whole else ())]
    return (*FIRST, *(each for each in (*STEPS, *cuts) if only in title(each)), *LAST)


def title(step: Callable[[Fleet], None]) -> str:
    """What a step says, in words."""
    return step.__name__.replace("_", " ")
