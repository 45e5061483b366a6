"""Ports that are chosen for people."""

import socket

import pytest

from bennu.host import network


@pytest.mark.parametrize("datagrams", [False, True])
def test_a_free_port_is_none_that_the_kernel_lends(datagrams: bool):
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        lowest, highest = map(int, file.read().split())
    found = {network.free_port("127.0.0.1", datagrams=datagrams) for _ in range(50)}
    assert len(found) > 1
    assert all(port >= network.FIRST_FREE_PORT and not lowest <= port <= highest for port in found)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", found.pop()))
