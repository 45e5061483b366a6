"""Chores: beside each other, one of a key at a time, heard of through a descriptor."""

import select
import threading

from bennu.engine.embedded.chores import Chores
from bennu.errors import BennuError, Failed, NotFound


def is_rung(chores: Chores) -> bool:
    return bool(select.select([chores], [], [], 0)[0])


def test_results_come_once():
    with Chores[int]() as chores:
        assert chores.results() == {}
        assert not is_rung(chores)
        for number in range(40):
            chores.begin(str(number), lambda number=number: number)
        chores.settle(30)
        assert is_rung(chores)
        assert chores.results() == {str(number): number for number in range(40)}
        assert not is_rung(chores)
        assert chores.results() == {}


def test_no_two_of_one_key():
    gate, begun = threading.Event(), []

    def wait() -> None:
        begun.append(1)
        gate.wait(30)

    with Chores[None]() as chores:
        for _ in range(3):
            chores.begin("a", wait)
        assert chores.has("a")
        chores.settle(0.01)
        assert not is_rung(chores)
        gate.set()
        chores.settle(30)
        chores.begin("a", lambda: begun.append(2))  # its result has not been taken
        assert chores.results() == {"a": None}
        assert not chores.has("a")
        assert begun == [1]


def test_errors_are_results():
    def refuse() -> None:
        raise NotFound("it is gone")

    with Chores[None]() as chores:
        chores.begin("refused", refuse)
        chores.begin("broken", lambda: {}["key"])
        chores.settle(30)
        results = chores.results()
    assert isinstance(results["refused"], NotFound)
    assert isinstance(results["broken"], Failed)
    assert all(isinstance(one, BennuError) for one in results.values())


def test_one_that_outlives_its_chores():
    gate, ended = threading.Event(), threading.Event()

    def wait() -> None:
        gate.wait(30)
        ended.set()

    with Chores[None]() as chores:
        chores.begin("a", wait)
    gate.set()
    assert ended.wait(30)
    chores.settle(30)
    assert chores.results() == {}
    chores.close()
