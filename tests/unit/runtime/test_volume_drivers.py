"""What ``driver_opts`` mean to mount(2), and what is refused before anything is mounted."""

import pytest

from bennu.errors import BennuError, Invalid
from bennu.runtime.volume_drivers import Device, _data, _source, parse_device

NOSUID_NODEV = 2 | 4


def test_nothing_is_nothing():
    assert parse_device({}) is None


@pytest.mark.parametrize(
    ("options", "device"),
    [
        ({"type": "ext4", "device": "/dev/vdb"}, Device("ext4", "/dev/vdb", NOSUID_NODEV)),
        (
            {"type": "xfs", "device": "/dev/vdb", "o": "ro,noatime,logbufs=8"},
            Device("xfs", "/dev/vdb", NOSUID_NODEV | 1 | 1024, "logbufs=8"),
        ),
        ({"type": "none", "device": "/srv", "o": "bind"}, Device("none", "/srv", NOSUID_NODEV | 4096)),
        ({"device": "/srv", "o": "rbind,rw"}, Device("none", "/srv", NOSUID_NODEV | 4096 | 16384)),
        (
            {"type": "nfs", "device": ":/export", "o": "addr=127.0.0.1,vers=4"},
            Device("nfs", ":/export", NOSUID_NODEV, "addr=127.0.0.1,vers=4"),
        ),
    ],
)
def test_devices(options, device):
    assert parse_device(options) == device
    assert parse_device(options).is_bind == ("bind" in options.get("o", ""))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "1"}, "option 'size' is not known"),
        ({"type": "ext4"}, "'device' is missing"),
        ({"type": "tmpfs", "device": "tmpfs"}, "memory of each container's own"),
        ({"device": "/srv"}, "needs the option 'bind'"),
        ({"type": "ext4", "device": "vdb"}, "not an absolute path"),
    ],
)
def test_what_is_refused(options, words):
    with pytest.raises(BennuError, match=words):
        parse_device(options)


def test_nfs_gets_its_address_in_numbers():
    named = Device("nfs4", "localhost:/export", 0, "vers=4.2")
    assert _source(named) == "localhost:/export"
    assert _data(named).startswith("vers=4.2,addr=")
    given = Device("nfs", ":/export", 0, "addr=127.0.0.1,soft")
    assert _source(given) == "127.0.0.1:/export"
    assert _data(given) == "soft,addr=127.0.0.1"
    with pytest.raises(Invalid, match="names no host"):
        _source(Device("nfs", ":/export"))
