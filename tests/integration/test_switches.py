"""Switches of a whole fleet under load: a few of what bench/switches.py does by the thousand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

PROGRAM = Path(__file__).resolve().parents[2] / "bench" / "switches.py"


def run(*words: str) -> dict[str, dict[str, object]]:
    done = subprocess.run(
        [sys.executable, PROGRAM, "--json", "--replicas", "1", *words],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_twenty_switches_fail_no_request():
    report = run("--switches", "20", "--slow-switches", "0", "--rate", "300")["quick"]
    assert report["failures"] == []
    assert report["switches"] == 20
    assert {"kept", "new", "post", "chain"} == report["requests"].keys()
    assert report["versions"] >= 14  # each that was applied has served


def test_three_switches_with_what_takes_long():
    words = ("--switches", "0", "--slow-switches", "3", "--rate", "50", "--slow-seconds", "2", "--drain", "2.5")
    report = run(*words)["slow"]
    assert report["failures"] == []
    assert {"slow", "upload", "websocket"} <= report["requests"].keys()
    assert report["closed_websockets"] >= 1
