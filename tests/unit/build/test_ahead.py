"""Layers that are found out while a build goes on."""

import threading

import pytest

from bennu.build.ahead import LayersAhead
from bennu.errors import Failed
from bennu.store.base import CommittedSnapshot, LayerInfo

TREES = [CommittedSnapshot(f"s{number}", ()) for number in range(4)]


class Layers:
    """Remembers whose layers were asked for; waits where it is told to."""

    def __init__(self):
        self.asked = []
        self.begun = threading.Event()
        self.hold = None

    def info(self, snapshot, *, give_up=None):
        self.begun.set()
        if self.hold is not None and give_up.wait(self.hold):
            raise Failed("given up")
        self.asked.append(snapshot.id)
        return LayerInfo("sha256:" + "0" * 64, 0)


def test_the_layers_of_the_image_are_found_in_their_order_and_no_others():
    layers = Layers()
    with LayersAhead(layers, {1, 3}) as ahead:
        for number, tree in enumerate(TREES):
            ahead.made(number, tree)
    assert layers.asked == ["s1", "s3"]


def test_nothing_begins_where_no_step_ran():
    with LayersAhead(Layers(), {1}):
        assert "bennu-layers" not in {thread.name for thread in threading.enumerate()}


def test_a_build_that_fails_waits_for_no_layer():
    layers = Layers()
    layers.hold = 60.0
    with pytest.raises(ValueError, match="failed"), LayersAhead(layers, {0, 1}) as ahead:
        ahead.made(0, TREES[0])
        ahead.made(1, TREES[1])
        layers.begun.wait()
        raise ValueError("failed")
    assert layers.asked == []


def test_what_goes_wrong_is_left_to_whoever_makes_the_image():
    layers = Layers()
    layers.info = lambda _tree, *, give_up: (_ for _ in ()).throw(OSError("gone"))
    with LayersAhead(layers, {0}) as ahead:
        ahead.made(0, TREES[0])
