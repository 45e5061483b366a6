"""The text that HAProxy reads. ``UPDATE_GOLDEN=1`` writes the golden file anew; read its diff."""

import os
from pathlib import Path

import msgspec

from bennu.switch import model
from bennu.switch.config import Places, config_text, map_text, shape
from bennu.switch.model import Bind, Frontend, Server, SwitchState

GOLDEN = Path(__file__).with_name("golden") / "haproxy.cfg"
PLACES = Places("/run/s/1.sock", "/run/s/1.map", "/run/s/empty", "haproxy", "haproxy")


def example() -> SwitchState:
    state = model.with_frontends(
        SwitchState(),
        [
            Frontend("web", 80, "http", (Bind("*", 8080), Bind("10.64.3.254", 80), Bind("::1", 8080))),
            Frontend("db", 5432, "tcp", (Bind("10.64.3.253", 5432),), proxy_header=True),
            Frontend("dns", 53, "udp", (Bind("*", 53),)),
            Frontend("quiet", 9, "tcp"),
        ],
    )
    state = model.with_set(state, "web", "web-aa", [Server("1", "10.64.0.2"), Server("2", "10.64.0.3", ready=False)])
    state = model.with_set(state, "web", "web-bb", [Server("1", "10.64.0.4", ports={80: 8000})])
    state = model.with_set(state, "db", "db-aa", [Server("1", "fd00::2")])
    return model.with_active(state, {"web": "web-bb", "db": "db-aa"})


def test_the_configuration_is_the_golden_one():
    text = config_text(example(), PLACES)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_the_map_names_the_slots():
    assert map_text(example()) == "db db.0\nweb web.1\n"


def test_what_candidates_ask_for_goes_to_candidates():
    state = model.with_candidates(example(), {"web": "web-aa"})
    assert map_text(state) == "db db.0\nweb web.1\n10.64.0.2/web web.0\n10.64.0.3/web web.0\n"
    assert shape(state, PLACES) == shape(example(), PLACES)


def test_the_shape_is_about_what_cannot_be_said_over_the_socket():
    state = example()
    same = model.with_active(model.with_set(state, "web", "web-cc", [Server("1", "10.64.0.9")]), {"web": "web-cc"})
    elsewhere = msgspec.structs.replace(state, slots={**state.slots, "web": 8})
    other_places = Places("/run/s/2.sock", "/run/s/2.map", "/run/s/empty", "haproxy", "haproxy")
    assert shape(same, PLACES) == shape(state, PLACES) == shape(state, other_places)
    assert shape(elsewhere, PLACES) != shape(state, PLACES)
    assert shape(model.without_active(state, ["db"]), PLACES) != shape(state, PLACES)
