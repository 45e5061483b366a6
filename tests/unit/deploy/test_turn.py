"""Whose turn it is: one deploy at a time, who it is and what it does, the dead, the waiting, the agent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from bennu.deploy import turn
from bennu.deploy.turn import AGENT, Turn
from bennu.errors import Conflict
from bennu.host import locks

FORK = multiprocessing.get_context("fork")
Hold = Callable[..., BaseProcess]


def one(directory: Path, author: str = "me") -> Turn:
    return Turn(directory, "shop", author, time.time)


def hold_turn(directory: Path, author: str, ready: Event, end: Event, yields: bool) -> None:
    mine = one(directory, author)
    with mine.taken(lambda _line: None, wait_seconds=0, yields=yields):
        mine.enter("validating")
        ready.set()
        while not end.is_set() and not mine.is_over:
            time.sleep(0.01)


@pytest.fixture
def end() -> Event:
    return FORK.Event()


@pytest.fixture
def hold(tmp_path: Path, end: Event) -> Iterator[Hold]:
    """Another process that has the turn."""
    running: list[BaseProcess] = []

    def begin(author: str = "ann@host, pid 7 (bennu apply)", *, yields: bool = False) -> BaseProcess:
        ready = FORK.Event()
        process = FORK.Process(target=hold_turn, args=(tmp_path, author, ready, end, yields))
        process.start()
        running.append(process)
        assert ready.wait(20)
        return process

    yield begin
    for process in running:
        process.kill()
        process.join()


def test_who_comes_second_is_told_who_is_at_it_since_when_and_in_which_phase(tmp_path: Path, hold: Hold):
    hold()
    wanted = r"project 'shop' is locked by ann@host, pid 7 \(bennu apply\), since 20\d\d-\d\d-\d\d [\d:]{8}: validating"
    with pytest.raises(Conflict, match=wanted), one(tmp_path).taken(print, wait_seconds=0, yields=False):
        pass
    assert "validating" in str(turn.holder(tmp_path, "shop"))


def test_with_patience_it_waits_and_says_so_once(tmp_path: Path, hold: Hold, end: Event):
    hold()
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        threading.Timer(0.3, end.set).start()

    with one(tmp_path).taken(say, wait_seconds=30, yields=False):
        assert len(lines) == 1
        assert lines[0].startswith("waiting for ann@host, pid 7")


def test_patience_has_an_end(tmp_path: Path, hold: Hold):
    hold()
    with (
        pytest.raises(Conflict, match="is locked by ann@host"),
        one(tmp_path).taken(print, wait_seconds=0.2, yields=False),
    ):
        pass


def test_the_lock_of_a_dead_process_is_taken_over_and_said(tmp_path: Path, hold: Hold):
    process = hold()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert turn.holder(tmp_path, "shop") is None
    lines: list[str] = []
    with one(tmp_path).taken(lines.append, wait_seconds=0, yields=False):
        pass
    assert len(lines) == 1
    assert lines[0].startswith("the last deploy died at its work and its lock is taken over: ann@host, pid 7")
    assert lines[0].endswith(": validating")
    with one(tmp_path).taken(lines.append, wait_seconds=0, yields=False):
        assert len(lines) == 1


def test_the_agent_gives_way_to_whoever_waits(tmp_path: Path, hold: Hold):
    agent = hold(f"root@host, pid 9 ({AGENT}: reprovision)", yields=True)
    with one(tmp_path).taken(lambda _line: None, wait_seconds=0, yields=False):
        agent.join(20)
        assert agent.exitcode == 0
        assert not locks.is_wanted(tmp_path / "deploy-shop.queue")


def test_the_agent_itself_waits_for_nobody(tmp_path: Path, hold: Hold):
    hold(f"root@host, pid 9 ({AGENT}: reprovision)", yields=True)
    with pytest.raises(Conflict), one(tmp_path, AGENT).taken(print, wait_seconds=0, yields=False):
        pass


def test_of_those_who_wait_every_one_gets_its_turn(tmp_path: Path, hold: Hold, end: Event):
    hold()
    had: list[int] = []

    def wait(number: int) -> None:
        with one(tmp_path, str(number)).taken(lambda _line: None, wait_seconds=30, yields=False):
            assert str(turn.holder(tmp_path, "shop")).startswith(str(number))
            had.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    end.set()
    for thread in threads:
        thread.join(30)
    assert sorted(had) == [0, 1, 2, 3]


def test_the_line_never_reads_empty_while_phases_change(tmp_path: Path):
    mine = one(tmp_path)
    seen: set[str | None] = set()
    with mine.taken(print, wait_seconds=0, yields=False):
        done = threading.Event()

        def look() -> None:
            while not done.is_set():
                line = turn.holder(tmp_path, "shop")
                seen.add(None if line is None else line.rpartition(": ")[2])

        looker = threading.Thread(target=look)
        looker.start()
        for _ in range(300):
            for phase in ("a", "a much longer phase than that"):
                mine.enter(phase)
        done.set()
        looker.join()
    assert not seen - {"planning", "a", "a much longer phase than that"}
