"""From what runs to what should: the order and content of the commands."""

from bennu.switch import model
from bennu.switch.config import backend_names, map_entries, server_name, streams
from bennu.switch.control import ServerState
from bennu.switch.model import Bind, Frontend, Server, SwitchState
from bennu.switch.running import Corrections, Running, backends_of, corrections

WEB = Frontend("web", 80, "http", (Bind("*", 8080),))


def committed() -> SwitchState:
    state = model.with_frontends(SwitchState(), [WEB])
    state = model.with_set(state, "web", "a", [Server("1", "10.0.0.1"), Server("2", "10.0.0.2", ready=False)])
    return model.with_active(state, {"web": "a"})


def running(state: SwitchState) -> Running:
    """A process that does exactly what the state says."""
    backends = [name for one in streams(state) for slot in range(4) for name in backend_names(one, slot)]
    servers = [
        ServerState(name, server_name(placed.set, server), server.address, server.port_of(one), not server.ready)
        for placed in state.sets
        for one in streams(state)
        for name in backend_names(one, placed.slot)
        for server in placed.servers
    ]
    return Running(frozenset(backends), tuple(servers), map_entries(state))


def test_nothing_is_said_to_a_process_that_does_what_it_should():
    assert corrections(committed(), running(committed())) == Corrections()
    assert corrections(committed(), running(committed())).is_empty


def test_a_new_set_comes_in_ready_before_the_map_moves():
    old = committed()
    new = model.with_active(model.with_set(old, "web", "b", [Server("1", "10.0.0.9")]), {"web": "b"})
    assert corrections(new, running(old)) == Corrections(
        before=(
            "add server web.1.80/b:1 10.0.0.9:80 pool-max-conn -1 pool-purge-delay 5s",
            "set server web.1.80/b:1 state ready",
            "add server web.1.80.fresh/b:1 10.0.0.9:80 pool-max-conn 0",
            "set server web.1.80.fresh/b:1 state ready",
        ),
        map={"web": "web.1"},
    )


def test_what_is_not_wanted_leaves_after_the_map_has_moved():
    old = model.with_active(model.with_set(committed(), "web", "b", [Server("1", "10.0.0.9")]), {"web": "b"})
    new = model.without_set(old, "web", "a")
    found = corrections(new, running(old))
    assert found.before == ()
    assert found.map is None
    # one of the two was in maintenance already
    assert found.after == (
        "set server web.0.80/a:1 state maint",
        "set server web.0.80.fresh/a:1 state maint",
    )
    assert len(found.removals) == 4
    assert found.removals[0] == "del server web.0.80/a:1"


def test_readiness_and_addresses_are_corrected_in_place():
    old = committed()
    new = model.with_set(old, "web", "a", [Server("1", "10.0.0.1", ready=False), Server("2", "10.0.0.7")])
    found = corrections(new, running(old))
    assert found.before == (
        "set server web.0.80/a:2 addr 10.0.0.7 port 80",
        "set server web.0.80/a:2 state ready",
        "set server web.0.80.fresh/a:2 addr 10.0.0.7 port 80",
        "set server web.0.80.fresh/a:2 state ready",
    )
    assert found.after == (
        "set server web.0.80/a:1 state maint",
        "set server web.0.80.fresh/a:1 state maint",
    )


def test_an_older_process_is_told_only_what_it_can_do():
    new = model.with_frontends(committed(), [WEB, Frontend("api", 81, "tcp", (Bind("*", 81),))])
    new = model.with_set(new, "api", "x", [Server("1", "10.0.0.5")])
    assert corrections(new, running(committed())).is_empty


def test_the_backends_of_a_set():
    assert backends_of(committed(), "web", "a") == {"web.0.80", "web.0.80.fresh"}
    assert backends_of(committed(), "web", "b") == frozenset()
