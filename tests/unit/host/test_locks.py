"""Locks between processes, and what they say about their holders."""

import fcntl
import multiprocessing
import os
import signal
import threading
import time

import pytest

from bennu.errors import Conflict
from bennu.host import locks

FORK = multiprocessing.get_context("fork")


def hold(path, ready, shared=False):
    with locks.held(path, shared=shared, owner="apply of shop, pid 7"):
        ready.set()
        time.sleep(60)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "locks" / "shop"


@pytest.fixture
def holder(path):
    """A process that holds the lock."""
    ready = FORK.Event()
    process = FORK.Process(target=hold, args=(path, ready))
    process.start()
    assert ready.wait(10)
    yield process
    process.kill()
    process.join()


def test_who_comes_second_is_told_who_is_first(path, holder):
    assert locks.holder(path) == "apply of shop, pid 7"
    with (
        pytest.raises(Conflict, match="project 'shop' is locked by apply of shop, pid 7"),
        locks.held(path, wait_seconds=0, subject="project 'shop'"),
    ):
        pass
    with pytest.raises(Conflict, match="shop is locked by apply"), locks.held(path, shared=True, wait_seconds=0.1):
        pass


def test_a_killed_holder_frees_the_lock_and_the_next_one_hears_of_it(path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert locks.holder(path) is None
    with locks.held(path, wait_seconds=5) as died:
        assert died
    with locks.held(path, wait_seconds=0) as died:
        assert not died


def test_who_waits_hears_once_whom_for_and_gets_the_lock(path, holder):
    heard = []
    threading.Timer(0.2, holder.kill).start()
    with locks.held(path, on_wait=heard.append) as died:
        assert died
    assert heard == ["apply of shop, pid 7"]


def test_sharers_share_and_keep_others_out(path):
    with (
        locks.held(path, shared=True),
        locks.held(path, shared=True),
        pytest.raises(Conflict),
        locks.held(path, wait_seconds=0),
    ):
        pass
    with locks.held(path, wait_seconds=0):
        assert locks.holder(path) == f"pid {os.getpid()}"
    assert locks.holder(path) is None


def test_an_error_inside_frees_the_lock(path):
    with pytest.raises(RuntimeError), locks.held(path):
        raise RuntimeError
    with locks.held(path, wait_seconds=0) as died:
        assert not died


def test_nobody_has_what_nobody_made(tmp_path):
    assert locks.holder(tmp_path / "missing") is None


def test_who_only_looks_keeps_nobody_out(path):
    """``holder`` takes a shared lock for an instant; whoever tries without waiting must not fail on that."""
    with locks.held(path):
        pass
    done = threading.Event()

    def look():
        while not done.is_set():
            locks.holder(path)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        failures = 0
        for _ in range(200):
            try:
                with locks.held(path, wait_seconds=0):
                    pass
            except Conflict:
                failures += 1
    finally:
        done.set()
        looker.join()
    assert failures <= 20  # of 200: a glance may follow a glance


def test_many_processes_never_hold_it_together(path, tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count():
        for _ in range(50):
            with locks.held(path):
                counter.write_text(str(int(counter.read_text()) + 1))

    workers = [FORK.Process(target=count) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counter.read_text() == "200"


def test_a_holder_that_has_not_signed_yet_is_waited_for(tmp_path):
    path = tmp_path / "a.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    seen: list[str | None] = []
    thread = threading.Thread(target=lambda: seen.append(locks.holder(path)))
    thread.start()
    os.pwrite(fd, b"agent pid 7\n", 0)
    thread.join()
    os.close(fd)
    assert seen == ["agent pid 7"]
    assert locks.holder(path) is None
