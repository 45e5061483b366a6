"""The switch's state and its transitions."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.errors import Conflict, Invalid, NotFound
from bennu.switch import model
from bennu.switch.config import map_entries
from bennu.switch.model import SLOTS, Bind, Canary, Frontend, Server, SwitchState

WEB = Frontend("web", 80, "http", (Bind("*", 8080),))
DB = Frontend("db", 5432, "tcp", (Bind("10.64.0.9", 5432),))
ONE = (Server("1", "10.64.0.2"),)


def state_with(*sets: str) -> SwitchState:
    state = model.with_frontends(SwitchState(), [WEB, DB])
    for name in sets:
        state = model.with_set(state, "web", name, ONE)
    return state


def test_a_set_keeps_its_slot_and_a_freed_slot_is_used_again():
    state = state_with("a", "b", "c")
    assert [one.slot for one in state.sets] == [0, 1, 2]
    state = model.without_set(state, "web", "b")
    state = model.with_set(state, "web", "a", [*ONE, Server("2", "10.64.0.3")])
    state = model.with_set(state, "web", "d", ONE)
    assert {one.set: one.slot for one in state.sets} == {"a": 0, "d": 1, "c": 2}


def test_slots_grow_when_all_are_taken_and_never_shrink():
    state = state_with(*(f"s{number}" for number in range(SLOTS + 1)))
    assert state.slots["web"] == 2 * SLOTS
    for number in range(SLOTS + 1):
        state = model.without_set(state, "web", f"s{number}")
    assert model.with_frontends(state, [WEB]).slots == {"web": 2 * SLOTS}


def test_activation_of_several_services_is_one_state():
    state = model.with_set(state_with("a", "b"), "db", "x", ONE)
    state = model.with_active(state, {"web": "a", "db": "x"})
    assert map_entries(state) == {"web": "web.0", "db": "db.0"}
    state = model.with_active(state, {"web": "b"})
    assert map_entries(state) == {"db": "db.0", "web": "web.1"}


def test_a_canary_takes_its_share_of_the_buckets_until_the_next_activation():
    state = model.with_canaries(model.with_active(state_with("a", "b"), {"web": "a"}), {"web": Canary("b", 3)})
    assert map_entries(state) == {"web": "web.0", "web/0": "web.1", "web/1": "web.1", "web/2": "web.1"}
    assert state.active == {"web": "a"}
    assert map_entries(model.with_canaries(state, {})) == {"web": "web.0"}
    with pytest.raises(Conflict, match="'b'"):
        model.without_set(state, "web", "b")
    assert map_entries(model.with_active(state, {"web": "b"})) == {"web": "web.1"}
    with pytest.raises(Invalid, match="101"):
        model.with_canaries(state, {"web": Canary("b", 101)})


def test_the_active_set_cannot_be_removed_and_others_can_twice():
    state = model.with_active(state_with("a", "b"), {"web": "a"})
    with pytest.raises(Conflict, match="'a'"):
        model.without_set(state, "web", "a")
    state = model.without_set(model.without_set(state, "web", "b"), "web", "b")
    assert [one.set for one in state.sets] == ["a"]


def test_deactivation_takes_frontends_and_traffic_away_and_leaves_the_set():
    state = model.without_active(model.with_active(state_with("a"), {"web": "a"}), ["web"])
    assert state.frontends == (DB,)
    assert state.active == {}
    assert model.without_set(state, "web", "a").sets == ()


def test_readiness_changes_named_servers_only():
    state = model.with_set(state_with(), "web", "a", [Server("1", "10.0.0.1"), Server("2", "10.0.0.2")])
    state = model.with_ready(state, "web", "a", {"2": False, "9": False})
    found = state.find("web", "a")
    assert found is not None
    assert [server.ready for server in found.servers] == [True, False]


def test_unknown_sets_are_not_found():
    for change in (
        lambda: model.with_active(state_with(), {"web": "a"}),
        lambda: model.with_canaries(state_with("a"), {"web": Canary("b", 5)}),
        lambda: model.with_ready(state_with(), "web", "a", {}),
    ):
        with pytest.raises(NotFound):
            change()


def test_two_services_cannot_have_one_address_but_one_port_of_different_addresses_is_fine():
    other = Frontend("other", 81, "tcp", (Bind("*", 8080),))
    with pytest.raises(Conflict, match=r"8080.*'other'.*'web'|8080.*'web'.*'other'"):
        model.with_frontends(SwitchState(), [WEB, other])
    model.with_frontends(SwitchState(), [WEB, Frontend("other", 80, "tcp", (Bind("10.64.0.9", 8080),))])
    model.with_frontends(SwitchState(), [DB, Frontend("db", 5432, "udp", (Bind("10.64.0.9", 5432),))])


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "a;b", "a/b", "a:b", "ä"])
def test_names_that_could_end_a_word_are_refused(name: str):
    with pytest.raises(Invalid):
        model.with_set(state_with(), "web", name, ONE)
    with pytest.raises(Invalid):
        model.with_set(state_with(), "web", "a", [Server(name, "10.0.0.1")])
    with pytest.raises(Invalid):
        model.with_frontends(SwitchState(), [Frontend(name, 80)])


@pytest.mark.parametrize(
    "frontend", [Frontend("w", 0, "tcp", (Bind("*", 1),)), Frontend("w", 1, "tcp", (Bind("*", 70000),))]
)
def test_ports_are_ports(frontend: Frontend):
    with pytest.raises(Invalid):
        model.with_frontends(SwitchState(), [frontend])


def test_addresses_are_addresses():
    with pytest.raises(Invalid):
        model.with_set(state_with(), "web", "a", [Server("1", "localhost")])
    with pytest.raises(Invalid):
        model.with_set(state_with(), "web", "a", [Server("1", "10.0.0.1"), Server("1", "10.0.0.2")])


@given(st.lists(st.tuples(st.sampled_from("pra"), st.sampled_from("abcdefg")), max_size=40))
def test_every_life_of_sets_keeps_slots_apart_and_survives_json(steps: list[tuple[str, str]]):
    state = state_with()
    for step, name in steps:
        try:
            if step == "p":
                state = model.with_set(state, "web", name, ONE)
            elif step == "r":
                state = model.without_set(state, "web", name)
            else:
                state = model.with_active(state, {"web": name})
        except (Conflict, NotFound):
            continue
        slots = [one.slot for one in state.sets]
        assert len(set(slots)) == len(slots)
        assert all(slot < state.slots["web"] for slot in slots)
        assert "web" not in state.active or state.active_set("web") is not None
        assert msgspec.json.decode(msgspec.json.encode(state), type=SwitchState) == state
