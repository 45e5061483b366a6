"""Names and numbers of networks, and their rules."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.errors import Unavailable
from bennu.host.network import NAME_LENGTH
from bennu.runtime import addresses, firewall

SMALL = IPv4Network("10.64.0.0/29")
KEY = "0123abcd"


def test_a_subnet_is_fixed_by_key_and_name_and_avoids_what_is_taken():
    first = addresses.choose_subnet(KEY, "shop_default", ())
    assert first == addresses.choose_subnet(KEY, "shop_default", ())
    assert first.subnet_of(addresses.POOL)
    second = addresses.choose_subnet(KEY, "shop_default", (first,))
    assert not second.overlaps(first)
    assert addresses.choose_subnet("ffff0000", "shop_default", ()) != first


def test_a_full_pool_is_said():
    with pytest.raises(Unavailable, match="no subnet"):
        addresses.choose_subnet(KEY, "x", (IPv4Network("10.0.0.0/8"),))
    halves = [half for half in IPv4Network("10.64.0.0/10").subnets() if half != IPv4Network("10.96.0.0/11")]
    assert addresses.choose_subnet(KEY, "x", halves).subnet_of(IPv4Network("10.96.0.0/11"))


def test_addresses_go_round_and_a_freed_one_comes_last():
    used: set[IPv4Address] = set()
    after = None
    given_out = []
    for _ in range(5):
        after = addresses.next_address(SMALL, used, after)
        used.add(after)
        given_out.append(str(after))
    assert given_out == ["10.64.0.2", "10.64.0.3", "10.64.0.4", "10.64.0.5", "10.64.0.6"]
    with pytest.raises(Unavailable, match="no free address"):
        addresses.next_address(SMALL, used, after)
    used -= {IPv4Address("10.64.0.3"), IPv4Address("10.64.0.5")}
    assert str(addresses.next_address(SMALL, used, IPv4Address("10.64.0.3"))) == "10.64.0.5"
    assert str(addresses.next_address(SMALL, used, IPv4Address("10.64.0.6"))) == "10.64.0.3"


def test_stable_addresses_come_from_the_top():
    assert str(addresses.last_address(SMALL, set())) == "10.64.0.6"
    assert str(addresses.last_address(SMALL, {IPv4Address("10.64.0.6")})) == "10.64.0.5"
    with pytest.raises(Unavailable):
        addresses.last_address(SMALL, set(SMALL.hosts()))


@given(st.text(min_size=1, max_size=80))
def test_bridges_have_names_that_fit_and_differ(name: str):
    first = addresses.bridge_name(KEY, name, ())
    assert len(first) <= NAME_LENGTH
    second = addresses.bridge_name(KEY, name, {first})
    assert second != first
    assert len(second) <= NAME_LENGTH


private = st.one_of(
    *(st.ip_addresses(v=4, network=network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
)


@given(private, private)
def test_ports_of_private_addresses_have_names_that_fit_and_differ(one: IPv4Address, other: IPv4Address):
    assert len(addresses.port_name(KEY, one)) <= NAME_LENGTH
    assert (addresses.port_name(KEY, one) == addresses.port_name(KEY, other)) == (one == other)


def test_mac_addresses_are_local_and_unicast():
    assert addresses.mac_of(IPv4Address("10.64.0.2")) == "02:be:0a:40:00:02"


def test_the_rules_are_the_same_in_any_order_and_none_without_networks():
    pair = [("bn1", IPv4Network("10.64.4.0/22")), ("bn0", IPv4Network("10.64.0.0/22"))]
    assert firewall.ruleset(KEY, pair) == firewall.ruleset(KEY, pair[::-1])
    assert '"bn0" . "bn0", "bn1" . "bn1"' in firewall.ruleset(KEY, pair)
    assert firewall.ruleset(KEY, ()) == "table ip bennu_0123abcd\ndelete table ip bennu_0123abcd\n"
