"""How the configuration of two services differs, field by field."""

from __future__ import annotations

import pytest

from bennu.compose.extension import Watch, XBennu
from bennu.compose.model import Deploy, Healthcheck, Mount, Port, Service
from bennu.deploy.planning.configuration import differences


def lines(old: dict[str, object], new: dict[str, object]) -> list[str]:
    return [change.line for change in differences(Service(name="web", **old), Service(name="web", **new))]


DATA_READ_ONLY = Mount(type="volume", source="data", target="/data", read_only=True)
HTTP = Port(target=80, published=8081, host_ip="127.0.0.1", app_protocol="http")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {}, []),
        ({"image": "a"}, {"image": "b"}, []),
        ({"deploy": Deploy(replicas=1)}, {"deploy": Deploy(replicas=2)}, []),
        ({}, {"x_bennu": XBennu(watch=Watch(seconds=1))}, []),
        ({"user": "a"}, {}, ['user "a" -> (unset)']),
        (
            {"environment": {"A": "1", "B": "x"}},
            {"environment": {"A": "2", "C": "y"}},
            ["environment.A changed", "environment.B removed", "environment.C added"],
        ),
        ({"labels": {"a.b": "1"}}, {"labels": {"a.b": "2"}}, ['labels.a.b "1" -> "2"']),
        (
            {"mounts": (Mount(type="volume", source="data", target="/data"),)},
            {"mounts": (DATA_READ_ONLY, Mount(type="tmpfs", target="/t"))},
            [
                "mounts: - volume data at /data",
                'mounts: + volume data at /data {"read_only":true}',
                "mounts: + tmpfs at /t",
            ],
        ),
        (
            {"ports": (Port(target=80, published=8080),)},
            {"ports": (HTTP, Port(target=53, protocol="udp"))},
            ["ports: - 8080 -> 80", "ports: + 127.0.0.1:8081 -> 80 http", "ports: + any -> 53 udp"],
        ),
        ({"cap_add": ("A", "B")}, {"cap_add": ("B", "A")}, []),
        ({"command": ("a", "b")}, {"command": ("b", "a")}, ['command ["a","b"] -> ["b","a"]']),
        ({}, {"healthcheck": Healthcheck(test=("CMD", "x"))}, ['healthcheck.test (unset) -> ["CMD","x"]']),
    ],
)  # fmt: skip
def test_differences(old: dict[str, object], new: dict[str, object], expected: list[str]):
    assert lines(old, new) == expected
