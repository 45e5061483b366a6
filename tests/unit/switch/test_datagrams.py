"""UDP ports as nftables text."""

from bennu.switch import model
from bennu.switch.datagrams import ruleset, targets
from bennu.switch.model import Bind, Frontend, Server, SwitchState

DNS = Frontend("dns", 53, "udp", (Bind("*", 5353), Bind("10.64.3.254", 53)))


def test_datagrams_go_to_the_ready_replicas_of_the_active_set():
    state = model.with_frontends(SwitchState(), [DNS])
    servers = [
        Server("1", "10.64.0.2"),
        Server("2", "10.64.0.3", ready=False),
        Server("3", "10.64.0.4", ports={53: 54}),
    ]
    state = model.with_active(model.with_set(state, "dns", "a", servers), {"dns": "a"})
    assert targets(state) == {DNS: (("10.64.0.2", 53), ("10.64.0.4", 54))}
    pick = "dnat ip addr . port to numgen random mod 2 map { 0 : 10.64.0.2 . 53, 1 : 10.64.0.4 . 54 }"
    text = ruleset("bennu_x", state)
    assert text.count(f"fib daddr type local udp dport 5353 {pick}") == 2
    assert text.count(f"ip daddr 10.64.3.254 udp dport 53 {pick}") == 2
    assert text.startswith("table ip bennu_x\ndelete table ip bennu_x\ntable ip bennu_x {\n")


def test_without_an_active_set_or_ready_replicas_there_is_no_table():
    state = model.with_frontends(SwitchState(), [DNS])
    gone = "table ip bennu_x\ndelete table ip bennu_x\n"
    assert ruleset("bennu_x", state) == gone
    state = model.with_set(state, "dns", "a", [Server("1", "10.64.0.2", ready=False)])
    assert ruleset("bennu_x", model.with_active(state, {"dns": "a"})) == gone
