import pytest

from bennu.cli import container_flags, ps
from bennu.cli import run as run_verb
from bennu.cli.container_record import listed, status_text
from bennu.cli.parser import parse
from bennu.errors import Invalid, Unsupported, Usage
from bennu.oci.image_config import ContainerConfig
from bennu.runtime.containers import Container
from bennu.runtime.options import ContainerOptions, MountOption
from bennu.runtime.records import Record
from bennu.runtime.spec import Limits, Rlimit
from bennu.runtime.status import Status

NOW = 1_700_000_000.0


def container(**status):
    record = Record(
        id="ab" * 32, name="web.1", image_name="site:1", manifest="sha256:" + "c" * 64, snapshot="s",
        config=ContainerConfig(cmd=("serve", "--a-long-option=value"), labels={"from": "image"}),
        options=ContainerOptions(labels={"k": "v"}, mounts=(MountOption(type="volume", source="data", target="/d"),)),
        created=NOW - 3600,
    )  # fmt: skip
    return Container(record, Status(**{"state": "running", "started": NOW - 90, **status}))


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({}, "Up About a minute"),
        ({"state": "paused"}, "Up About a minute (Paused)"),
        ({"state": "exited", "exit_status": 3, "finished": NOW - 7}, "Exited (3) 7 seconds ago"),
        ({"state": "created", "started": None}, "Created"),
        ({"state": "dead"}, "Dead"),
    ],
)
def test_the_status_as_people_read_it(status, text):
    assert status_text(container(**status).status, NOW) == text


def test_a_line_of_ps():
    found = listed(container(), NOW)
    assert found["ID"] == "ab" * 6
    assert found["Command"] == '"serve --a-long-opti…"'
    assert found["Labels"] == "from=image,k=v"
    assert (found["Names"], found["Networks"], found["RunningFor"]) == ("web.1", "bridge", "About an hour ago")
    assert listed(container(), NOW, in_full=True)["Command"] == '"serve --a-long-option=value"'


@pytest.mark.parametrize(
    ("filters", "matches"),
    [
        (["name=web"], True), (["name=db"], False), (["name=db", "name=web"], True), (["id=abab"], True),
        (["label=k"], True), (["label=k=v", "label=from=image"], True), (["label=k=v", "label=nosuch"], False),
        (["status=running"], True), (["status=exited"], False), (["ancestor=site:1"], True), (["ancestor=site"], False),
        (["ancestor=ccc"], True), (["volume=data"], True), (["volume=/d"], True), (["network=bridge"], True),
        (["exited=0"], False),
    ],
)  # fmt: skip
def test_filters(filters, matches):
    assert ps._matches(container(), [ps._parsed(each) for each in filters]) is matches


def test_a_filter_that_is_none():
    for text in ("nosuch=x", "name"):
        with pytest.raises(Usage):
            ps._parsed(text)


def options(*words, environ=None):
    arguments = parse(run_verb.COMMAND, [*words], {}).arguments
    return container_flags.options_of(arguments, arguments.command, environ or {})


def test_flags_to_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = options(
        "-it", "-e", "A=1", "-e", "B", "-e", "C", "-m", "64m", "--cpus=1.5", "--pids-limit", "-1", "-v", "./x:/x:ro",
        "--tmpfs", "/t", "--ulimit", "nofile=1:2", "--add-host", "db:10.0.0.1", "--add-host", "db:[::1]", "--network",
        "bridge", "--entrypoint", "", "--security-opt", "no-new-privileges:true", "-h", "me", "image", "cmd", "-x",
        environ={"B": "ours"},
    )  # fmt: skip
    assert found.command == ("cmd", "-x")
    assert found.env == ("A=1", "B=ours", "C")
    assert found.limits == Limits(memory_bytes=64 << 20, cpus=1.5, pids=None)
    assert [mount.type for mount in found.mounts] == ["bind", "tmpfs"]
    assert found.mounts[0].source == str(tmp_path / "x")
    assert found.rlimits == (Rlimit("RLIMIT_NOFILE", 1, 2),)
    assert found.extra_hosts == {"db": ("10.0.0.1", "::1")}
    assert (found.network, found.entrypoint, found.hostname) == (None, (), "me")
    assert (found.terminal, found.interactive, found.no_new_privileges) == (True, True, True)


@pytest.mark.parametrize(
    "words",
    [("-p", "80:80"), ("-P",), ("--privileged",), ("--device", "/dev/sda"), ("--restart", "always"),
     ("--security-opt", "apparmor=x")],
)  # fmt: skip
def test_what_is_refused_is_named(words):
    with pytest.raises(Unsupported, match=words[0] if words[0] not in {"-p", "-P"} else "--publish"):
        options(*words, "image")


def test_env_files(tmp_path):
    file = tmp_path / "env"
    file.write_text("\ufeff# c\n\nA=1\n  B = 2\nFROM\nNOT\n")
    with pytest.raises(Invalid) as found:
        container_flags.environment_of((), (str(file),), {})
    assert (found.value.file, found.value.line) == (str(file), 4)
    file.write_text("A=a b # no comment\r\nFROM\nNOT\n")
    assert container_flags.environment_of((("A", "flag"),), (str(file),), {"FROM": "us"}) == (
        "A=a b # no comment", "FROM=us", "A=flag",
    )  # fmt: skip
