import os
import socket

import pytest

from bennu.host import service_manager
from bennu.host.service_manager import say_ready, stops_the_host


def test_it_says_so_once_and_leaves_no_address_to_others(tmp_path, monkeypatch):
    place = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(place)
        receiver.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", place)
        say_ready()
        assert receiver.recv(100) == b"READY=1"
        assert "NOTIFY_SOCKET" not in os.environ
        say_ready()


def test_an_abstract_address(monkeypatch):
    name = f"bennu-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        say_ready()
        assert receiver.recv(100) == b"READY=1"


def test_nobody_listens(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    say_ready()


@pytest.mark.parametrize(("said", "stops"), [("stopping", True), ("running", False), ("degraded", False), ("", False)])
def test_whether_the_host_goes_down(tmp_path, monkeypatch, said, stops):
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\ntest $1 = is-system-running && echo {said}\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(service_manager, "SYSTEMD", tmp_path)
    assert stops_the_host() is stops
    monkeypatch.setattr(service_manager, "SYSTEMD", tmp_path / "none")
    assert not stops_the_host()
