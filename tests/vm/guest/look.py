"""What runs in the guest, as JSON, past the command line: ``look.py [--until VERSION...] [--seconds N]``.

With ``--until`` it waits until every service has one active set that is ready and the page says one of these versions.
"""

import argparse
import json
import sys
import time
import urllib.error
import urllib.request

from bennu.config import Settings
from bennu.host import cgroups
from bennu.runtime.places import cgroup_prefix
from bennu.runtime.records import SHORT
from bennu.wiring import Fleet

PROJECT = "guest"
SERVICES = {"web": 2, "db": 1}


def page():
    try:
        with urllib.request.urlopen("http://127.0.0.1:8080/", timeout=10) as answer:
            return answer.read().decode().strip()
    except (OSError, urllib.error.URLError):
        return None


def look(settings):
    with Fleet(settings) as fleet:
        seen = fleet.engine.observe(PROJECT)
        containers = {one.id: one for one in fleet.containers.list()}
        revisions = [(one.number, one.state) for one in reversed(fleet.history.revisions(PROJECT))]
        rolling = fleet.history.rolling(PROJECT)
    known = {replica.container for found in seen.sets.values() for replica in found.replicas}
    known |= {held.replica.container for held in seen.holds}
    holds = sorted(held.replica.name for held in seen.holds)
    prefix = cgroup_prefix(settings)
    groups = {name.removeprefix(prefix).removesuffix("-conmon") for name in cgroups.named(prefix)}
    groups = {name for name in groups if len(name) == SHORT}  # others are no container's
    return {
        "page": page(),
        "active": dict(seen.active),
        "ready": {name: seen.sets[found].is_ready for name, found in seen.active.items()},
        "replicas": {
            name: [[one.container, one.state, one.health, one.problem] for one in found.replicas]
            for name, found in seen.sets.items()
        },
        "temperature": {name: found.temperature for name, found in seen.sets.items()},
        "strays": sorted(set(containers) - known) + sorted(groups - {one[:SHORT] for one in containers}),
        "holds": holds,
        "revisions": revisions,
        "rolling": None if rolling is None else rolling[0].number,
        "switch": seen.switch_running,
    }


def is_whole(found, versions):
    counts = {name: len(found["replicas"][one]) for name, one in found["active"].items()}
    return (
        counts == SERVICES
        and all(found["ready"].values())
        and found["page"] in versions
        and found["rolling"] is None
        and found["switch"]
        and not found["strays"]
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--until", nargs="+")
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    settings = Settings.from_environ({})
    deadline = time.monotonic() + args.seconds
    while True:
        found = look(settings)
        whole = args.until is None or is_whole(found, args.until)
        if whole or time.monotonic() > deadline:
            break
        time.sleep(0.3)
    print(json.dumps(found))
    sys.exit(0 if whole else 1)


if __name__ == "__main__":
    main()
