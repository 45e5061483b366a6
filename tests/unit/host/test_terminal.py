"""Signals of this process: put off, or ignored, for the time of a block."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from bennu.host.terminal import DEADLY, deferred, uninterrupted


class Ended(Exception):
    """What a test's own handler raises."""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    def end(number: int, _frame: object) -> None:
        raise Ended(number)

    before = {number: signal.signal(number, end) for number in DEADLY}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", DEADLY)
def test_a_signal_does_its_work_when_the_block_is_over(number):
    told: list[str] = []
    with pytest.raises(Ended) as caught, deferred(lambda: told.append("told")):
        os.kill(os.getpid(), number)
        assert told == ["told"]
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGINT)
        told.append("end")
    assert caught.value.args == (number,)
    assert told == ["told", "end"]


def test_what_fails_meanwhile_is_what_is_told():
    with pytest.raises(ValueError, match="it failed"), deferred(lambda: None):
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError("it failed")


def test_without_a_signal_nothing_happens_and_the_handlers_are_back():
    before = [signal.getsignal(number) for number in DEADLY]
    for block in (deferred(pytest.fail), uninterrupted()):
        with block:
            assert [signal.getsignal(number) for number in DEADLY] != before
        assert [signal.getsignal(number) for number in DEADLY] == before


def test_what_was_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with deferred(pytest.fail):
        os.kill(os.getpid(), signal.SIGHUP)


def test_clearing_up_is_not_interrupted():
    with uninterrupted():
        for number in DEADLY:
            os.kill(os.getpid(), number)


def test_another_thread_has_no_signals_to_put_off():
    done: list[bool] = []

    def work() -> None:
        with deferred(pytest.fail), uninterrupted():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
