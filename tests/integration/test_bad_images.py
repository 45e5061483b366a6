"""Images and configurations that are no good: the old set is not touched, the new one goes, the message says why."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bennu.config import Settings
from tests.integration import run_world
from tests.integration.fleet_world import FleetWorld, fleet_world
from tests.integration.switch_load import Load

pytestmark = pytest.mark.root

# a page that is there at first, and then a program in its place that fails
FAILS = """\
cd /tmp
echo v2 > index.html
mkdir cgi-bin
printf '#!/bin/sh\\necho "Status: 500 Broken"\\necho\\n' > cgi-bin/index.cgi
chmod +x cgi-bin/index.cgi
"""
SERVE = "exec httpd -f -p 80 -h /srv"
# what: (the service's command, more lines of it, what the message has to say)
BAD = {
    "crashes at once": (
        "echo no such table; exit 3",
        "",
        ["replica web.", "ended with exit status 3", " | no such table"],
    ),
    "ends before it is ready": (
        "echo opening; sleep 0.5; echo cannot open; exit 4",
        "",
        ["ended with exit status 4", " | cannot open"],
    ),
    "is killed by a signal": (
        "sh -c 'kill -SEGV $$$$'; exit $$?",
        "",
        ["ended with exit status 139"],
    ),
    "needs more memory than it may have": (
        "x=x; while :; do x=$$x$$x; done",
        "    mem_limit: 16m\n",
        ["exit status 137", "out of memory"],
    ),
    "never healthy": (
        "echo warming up; exec sleep 1000",
        "",
        ["did not become healthy", "wget -qO /dev/null http://127.0.0.1/", "ended with 1", " | warming up"],
    ),
    "a wrong configuration": (
        f'test "$$DATABASE" = right || {{ echo "no database $$DATABASE"; exit 5; }}; {SERVE}',
        "    environment: {DATABASE: wrong}\n",
        ["ended with exit status 5", " | no database wrong"],
    ),
    "a program that is not there": (
        "exec no-such-program",
        "",
        ["ended with exit status 127", "no-such-program", "not found"],
    ),
    "another page than was expected": (
        f"echo arrived; {SERVE}",
        "    x-bennu: {validate: [{http: 'http://:80/', contains: v3}]}\n",
        ["validation 1 of 1 of replica web.1", "v3", "v2", " | arrived"],
    ),
    "another status than was expected": (
        SERVE,
        "    x-bennu: {validate: [{http: 'http://:80/none', status: 200}]}\n",
        ["validation 1 of 1 of replica web.1", "404", "/none"],
    ),
    "a check in a sidekick fails": (
        SERVE,
        "    x-bennu: {validate: [{command: [sh, -c, 'echo half of it is missing; exit 6']}]}\n",
        ["validation 1 of 1 of replica web.1", "exit status 6", "half of it is missing"],
    ),
    "dies soon after it has the traffic": (
        f"{SERVE} & sleep 2; echo out of handles; exit 7",
        "    x-bennu: {watch: 20s}\n",
        ["replica web.", "while it was watched", " | out of handles"],
    ),
    "dies late in its watch": (
        f"{SERVE} & sleep 6; echo lease lost; exit 8",
        "    x-bennu: {watch: 20s}\n",
        ["replica web.", "while it was watched", " | lease lost"],
    ),
    "falls ill while it is watched": (
        f"{SERVE} & sleep 2; kill $$!; echo listener gone; exec sleep 1000",
        "    x-bennu: {watch: 30s}\n",
        ["replica web.", "while it was watched", "probe ended with 1", " | listener gone"],
    ),
    "answers with errors": (
        "sh /srv/prepare; (sleep 1.5; rm /tmp/index.html) & exec httpd -f -p 80 -h /tmp",
        "    tmpfs: [/tmp:exec]\n    x-bennu: {watch: {for: 20s, max_errors: 10%}}\n",
        ["answers failed", "at most 10% is allowed"],
    ),
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetWorld]:
    """Two replicas of v1; every test leaves them as they were."""
    base = tmp_path_factory.mktemp("bad")
    run_world.APPLETS += [each for each in ("printf",) if each not in run_world.APPLETS]
    with fleet_world(Settings.from_environ({"BENNU_ROOT": str(base / "root")}), base / "project", ("v1",)) as made:
        made.world.image("web:v2", files={"srv/index.html": "v2", "srv/prepare": FAILS})
        made.write("v1", replicas=2)
        made.apply()
        yield made


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_good_touches_nothing_and_its_cause_is_named(fleet: FleetWorld, what: str):
    command, lines, named = BAD[what]
    before = fleet.observe()
    written = f"[sh, -c, '{command.replace(chr(39), chr(39) * 2)}']"
    fleet.write("v2", replicas=2, command=written, web=lines, patience="1s")
    switches = "watch" in lines
    with Load(fleet.port, posts=False, threads=2, pause_seconds=0.01) as load:
        load.await_requests(10)
        done = fleet.bennu("apply", "--yes")
    assert done.returncode == 1
    for part in (*named, "it was reverted"):
        assert part in done.stderr, done.stderr
    assert switches or load.problems == []
    after = fleet.observe()
    assert after.active == before.active
    assert after.sets.keys() == before.sets.keys()  # what was started is gone
    (old,) = before.active.values()
    assert [(each.container, each.started, each.restarts) for each in after.sets[old].replicas] == [
        (each.container, each.started, each.restarts) for each in before.sets[old].replicas
    ]
    assert fleet.serves("v1")
    fleet.assert_whole(web=2)
    number, state = fleet.history()[-1]
    assert state == "failed"
    assert fleet.bennu("rollback", "--yes", str(number)).returncode == 1
