"""Configs, secrets and what surrounds a replica, in a real fleet: new with a new set, back with a rollback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.wiring import Fleet
from tests.integration.fleet_world import FleetWorld, fleet_world

WEB = """\
    configs: [{source: site, target: /etc/site.conf, uid: "33", mode: 0440}]
    secrets: [password]
"""
SOURCES = "configs: {site: {file: ./site.conf}}\nsecrets: {password: {file: ./password}}\n"


@pytest.fixture
def fleet(root_settings: Settings, tmp_path: Path) -> Iterator[FleetWorld]:
    with fleet_world(root_settings, tmp_path / "project") as made:
        (made.directory / "site.conf").write_text("color = blue\n")
        (made.directory / "password").write_text("hush-hush")
        made.write("v1", replicas=2, web=WEB, extra=SOURCES)
        yield made


def seen(fleet: FleetWorld, replica: str) -> list[str]:
    files = "/etc/site.conf /run/secrets/password"
    return fleet.succeed("exec", replica, "sh", "-c", f"cat {files}; echo; stat -c '%u %a' {files}").stdout.splitlines()


def test_configs_and_secrets_belong_to_the_release(fleet):
    fleet.apply()
    first = ["color = blue", "hush-hush", "33 440", "0 444"]
    assert seen(fleet, "web.1") == seen(fleet, "web.2") == first
    assert fleet.bennu("exec", "web.1", "sh", "-c", "echo x > /run/secrets/password").returncode != 0
    assert "hush-hush" not in fleet.succeed("inspect", "web.1").stdout

    (fleet.directory / "password").write_text("changed")
    plan = fleet.succeed("plan").stdout
    assert "secret password" in plan
    assert "changed" not in plan
    fleet.apply()
    assert seen(fleet, "web.1")[1] == "changed"
    fleet.succeed("rollback", "--yes")
    assert seen(fleet, "web.1") == first

    fleet.stop_agent()
    fleet.lose_the_host()  # what was in memory is gone
    with fleet.running_agent():
        deadline = 100
        while not fleet.serves("v1") and deadline:
            deadline -= 1
        fleet.apply()  # the file says "changed" again
    assert seen(fleet, "web.1")[1] == "changed"
    fleet.succeed("down", "--yes")
    with Fleet(fleet.settings) as root:
        assert list((root.settings.run / "files").glob("*")) == []


def test_a_secret_that_is_not_there_is_said_at_its_line(fleet):
    (fleet.directory / "password").unlink()
    done = fleet.bennu("apply", "--yes")
    assert done.returncode == 1
    assert "compose.yaml:" in done.stderr
    assert "secrets.password: file" in done.stderr


AROUND = """\
    dns: 9.9.9.9
    dns_search: example.com
    dns_opt: [use-vc]
    sysctls: {net.core.somaxconn: 77}
    oom_score_adj: 123
    group_add: ["26"]
    cpu_shares: 512
    links: ["other:another"]
"""
OTHER = "  other: {image: web:v1, command: [sleep, '1000']}\n"
LOOK = "cat /etc/resolv.conf /proc/sys/net/core/somaxconn /proc/1/oom_score_adj; id -G; grep another /etc/hosts"


def test_what_surrounds_a_replica(fleet):
    fleet.write("v1", replicas=1, web=AROUND, extra=OTHER)
    fleet.apply()
    lines = fleet.succeed("exec", "web.1", "sh", "-c", LOOK).stdout.splitlines()
    assert lines[:5] == ["nameserver 9.9.9.9", "search example.com", "options use-vc", "77", "123"]
    assert "26" in lines[5].split()
    assert lines[6].endswith("another")
