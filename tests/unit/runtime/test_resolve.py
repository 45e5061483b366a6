import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.errors import Invalid, NotFound, Unsupported
from bennu.oci.image_config import ContainerConfig
from bennu.runtime import etc_files
from bennu.runtime.mount_points import complete
from bennu.runtime.options import ContainerOptions, MountOption
from bennu.runtime.resolve import command_of, environment, process_of, working_directory
from bennu.runtime.signals import signal_number
from bennu.runtime.users import User, resolve_groups, resolve_user
from bennu.runtime.volume_specs import parse_mount, parse_tmpfs, parse_volume

PASSWD = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\nbroken\n1000:x:7:7::/odd:/bin/sh\n"
GROUP = "root:x:0:\nweb:x:34:\ntape:x:26:root,web\ndup:x:26:web\nshort:x:5\nbroken\n"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", User(0, 0, (26,), "/root", "root")),
        ("root", User(0, 0, (26,), "/root", "root")),
        ("web", User(33, 34, (26,), "/srv", "web")),
        ("33", User(33, 34, (26,), "/srv", "web")),
        ("web:tape", User(33, 26, (), "/srv", "web")),
        ("web:99", User(33, 99, (), "/srv", "web")),
        ("500", User(500, 0, (), "/", "")),
        ("500:600", User(500, 600, (), "/", "")),
        (":5", User(0, 5, (), "/root", "root")),
        ("1000", User(1000, 0, (), "/", "")),  # a number, whoever has it for a name
    ],
)
def test_users(spec, expected):
    assert resolve_user(spec, PASSWD, GROUP) == expected


def test_users_without_files():
    assert resolve_user("", "", "") == User(0, 0)
    for spec in ("web", "0:web", "-1", "4294967295"):
        with pytest.raises(NotFound):
            resolve_user(spec, "", "")
    assert resolve_groups(("tape", "7"), GROUP) == (26, 7)


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=20))
def test_no_passwd_file_breaks_it(passwd, group, spec):
    try:
        user = resolve_user(spec, passwd, group)
    except NotFound:
        return
    assert user.uid >= 0
    assert user.gid >= 0


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        ({"cmd": ("a", "b")}, {}, ("a", "b")),
        ({"entrypoint": ("e",), "cmd": ("a",)}, {}, ("e", "a")),
        ({"entrypoint": ("e",), "cmd": ("a",)}, {"command": ("x",)}, ("e", "x")),
        ({"entrypoint": ("e",), "cmd": ("a",)}, {"entrypoint": ("f",)}, ("f",)),
        ({"entrypoint": ("e",), "cmd": ("a",)}, {"entrypoint": ("f",), "command": ("x",)}, ("f", "x")),
        ({"entrypoint": ("e",), "cmd": ("a",)}, {"entrypoint": (), "command": ("x",)}, ("x",)),
        ({"entrypoint": ("e",), "cmd": ("a",)}, {"command": ()}, ("e",)),
    ],
)
def test_commands(image, options, expected):
    assert command_of(ContainerConfig(**image), ContainerOptions(**options)) == expected


def test_no_command():
    for image, options in (({}, {}), ({"cmd": ("a",)}, {"entrypoint": ()}), ({"cmd": ("",)}, {})):
        with pytest.raises(Invalid, match="no command"):
            command_of(ContainerConfig(**image), ContainerOptions(**options))


def test_the_environment():
    found = environment(("A=1", "B=2", "A=3"), ("B", "C=x=y"), hostname="h", home="/srv", terminal=True)
    assert found[1:] == ("HOSTNAME=h", "TERM=xterm", "A=3", "C=x=y", "HOME=/srv")
    assert found[0].startswith("PATH=")
    assert environment(("HOME=/own", "PATH=/p"), (), hostname="", home="/", terminal=False) == ("PATH=/p", "HOME=/own")


def test_the_working_directory():
    assert working_directory(ContainerConfig(), ContainerOptions()) == "/"
    assert working_directory(ContainerConfig(working_dir="srv/../x"), ContainerOptions()) == "/x"
    assert working_directory(ContainerConfig(working_dir="/a"), ContainerOptions(working_dir="/b/")) == "/b"
    with pytest.raises(Invalid):
        working_directory(ContainerConfig(), ContainerOptions(working_dir="b"))


def test_init_goes_in_front():
    process = process_of(ContainerConfig(cmd=("a",)), ContainerOptions(init=True), User(1, 2, (3,)), "h")
    assert process.args == ("/run/bennu-init", "--", "a")
    assert (process.uid, process.gid, process.additional_gids) == (1, 2, (3,))


@pytest.mark.parametrize(
    ("text", "number"),
    [("SIGTERM", 15), ("term", 15), ("9", 9), ("RTMIN+3", signal.SIGRTMIN + 3), ("SIGRTMAX-1", signal.SIGRTMAX - 1)],
)
def test_signals(text, number):
    assert signal_number(text) == number


@pytest.mark.parametrize("text", ["", "0", "-1", "65", "SIGNO", "SIG_DFL", "RTMIN+99", "RTMINx"])
def test_no_signal(text):
    with pytest.raises(Invalid):
        signal_number(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data", {"type": "volume", "target": "/data"}),
        ("data:/data", {"type": "volume", "source": "data", "target": "/data"}),
        ("data:/data:ro,exec", {"type": "volume", "source": "data", "target": "/data", "readonly": True, "exec": True}),
        ("/host:/in/", {"type": "bind", "source": "/host", "target": "/in", "create": True}),
        ("./sub:/in:ro", {"type": "bind", "source": "/here/sub", "target": "/in", "create": True, "readonly": True}),
        ("../x:/in:z", {"type": "bind", "source": "/x", "target": "/in", "create": True}),
        ("v:/in:nocopy", {"type": "volume", "source": "v", "target": "/in", "nocopy": True}),
    ],
)
def test_volumes(text, expected):
    assert parse_volume(text, "/here") == MountOption(**expected)


@pytest.mark.parametrize("text", ["", "a:b", "a:/b:c", "a:/b:ro:x", ":/b", "/a:/", "v!:/x", "/a:", "v:/x:"])
def test_bad_volumes(text):
    with pytest.raises(Invalid):
        parse_volume(text, "/here")


def test_shared_propagation_is_refused_by_name():
    for word in ("shared", "rslave"):
        with pytest.raises(Unsupported, match=word):
            parse_volume(f"/a:/b:{word}", "/")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=bind,src=x,dst=/y,ro", {"type": "bind", "source": "/here/x", "target": "/y", "readonly": True}),
        ("source=v,target=/y,volume-nocopy=true", {"type": "volume", "source": "v", "target": "/y", "nocopy": True}),
        ("target=/y", {"type": "volume", "target": "/y"}),
        ("type=tmpfs,target=/y,tmpfs-size=1k", {"type": "tmpfs", "target": "/y", "size_bytes": 1024, "mode": 0o1777}),
        ("type=volume,src=v,dst=/y,volume-subpath=a/b", {"type": "volume", "source": "v", "target": "/y",
                                                        "subpath": "a/b"}),
    ],
)  # fmt: skip
def test_mounts(text, expected):
    assert parse_mount(text, "/here") == MountOption(**expected)


@pytest.mark.parametrize(
    "text", ["", "type=npipe,target=/x", "type=bind,target=/x", "type=tmpfs,src=a,target=/x", "source=v", "target=x",
             "target=/x,nosuch=1", "target=/x,tmpfs-mode=9"]
)  # fmt: skip
def test_bad_mounts(text):
    with pytest.raises(Invalid):
        parse_mount(text, "/here")


def test_tmpfs():
    assert parse_tmpfs("/t") == MountOption(type="tmpfs", target="/t", mode=0o1777)
    assert parse_tmpfs("/t:size=64k,mode=700,uid=5,exec,ro") == MountOption(
        type="tmpfs", target="/t", size_bytes=65536, mode=0o700, uid=5, exec=True, readonly=True
    )
    for bad in ("t", "/t:nosuch", "/t:size=x", "/t:mode=9"):
        with pytest.raises(Invalid):
            parse_tmpfs(bad)


def test_the_images_volumes_are_added_where_nothing_covers_them():
    own = MountOption(type="tmpfs", target="/a")
    assert [mount.target for mount in complete((own,), ("/a", "/b"))] == ["/a", "/b"]
    with pytest.raises(Invalid, match="/a"):
        complete((own, own), ())


def test_resolv_conf():
    host = "search x\nnameserver 127.0.0.53\noptions edns0\n"
    assert etc_files.resolv_text(host, None, shares_network=True) == host
    real = "nameserver 10.0.0.1\n"
    assert etc_files.resolv_text(host, real, shares_network=False) == real
    fallback = etc_files.resolv_text(host, None, shares_network=False)
    assert "127.0.0.53" not in fallback
    assert "nameserver 8.8.8.8" in fallback
    mixed = "nameserver ::1\nnameserver fe80::1%eth0\nnameserver 9.9.9.9\n"
    assert etc_files.resolv_text(mixed, real, shares_network=False) == "nameserver fe80::1%eth0\nnameserver 9.9.9.9\n"
    assert etc_files.resolv_text(host, real, shares_network=False, servers=("1.1.1.1",)) == "nameserver 1.1.1.1\n"


def test_hosts():
    text = etc_files.hosts_text("me", "10.0.0.5", {"db": ("10.0.0.6", "10.0.0.7")})
    assert text.endswith("10.0.0.6\tdb\n10.0.0.7\tdb\n10.0.0.5\tme\n")
    assert text.startswith("127.0.0.1\tlocalhost\n")
