"""Secrets and agents: what a flag means, and that a value is shown nowhere."""

import socket

import pytest

from bennu.build.agents import forwarded
from bennu.build.mounts import Look
from bennu.build.secrets import LIMIT_BYTES, AgentSource, Grants, SecretSource, parse_agent, parse_secret
from bennu.config import Settings
from bennu.errors import Invalid, NotFound
from bennu.runtime.private_mounts import MemoryFile


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "key"
    path.write_text("value")
    return path


def test_a_file(file):
    for word in (f"id=k,src={file}", f"id=k,source={file}", f"type=file,ID=k,src={file}"):
        source = parse_secret(word, {})
        assert source == SecretSource("k", file=file)
        assert source.read({}) == b"value"


def test_a_variable(file):
    assert parse_secret("id=k,env=A", {}) == SecretSource("k", env="A")
    assert parse_secret("id=A,type=env", {}) == SecretSource("A", env="A")
    assert parse_secret("id=k,type=env,src=A", {}) == SecretSource("k", env="A")
    assert parse_secret("id=A", {"A": "1"}) == SecretSource("A", env="A")
    assert parse_secret(f"id={file}", {}).file == file
    assert SecretSource("k", env="A").read({"A": "1"}) == b"1"
    assert SecretSource("k", env="A").read({}) == b""


@pytest.mark.parametrize(
    ("word", "category", "words"),
    [
        ("src=x", Invalid, "has no id"),
        ("id", Invalid, "no key=value pair"),
        ("id=k,scr=x", Invalid, "unknown key 'scr'"),
        ("id=k,type=fiel", Invalid, "unknown type 'fiel'"),
        ("id=k,src=/nowhere/at/all", NotFound, "No such file"),
        ("id=k,src=/", Invalid, "is a directory"),
    ],
)
def test_refusals(word, category, words):
    with pytest.raises(category) as caught:
        parse_secret(word, {})
    assert words in caught.value.message


def test_a_secret_is_small(file):
    file.write_bytes(b"x" * (LIMIT_BYTES + 1))
    with pytest.raises(Invalid, match="at most"):
        parse_secret(f"id=k,src={file}", {})


def test_what_nobody_gave_is_missing():
    assert Grants().secret("k") is None


def test_a_value_is_shown_nowhere():
    assert "hidden" not in repr(MemoryFile(target="/x", content=b"hidden", mode=0o400))


class TestAgents:
    @pytest.fixture
    def agent(self, tmp_path):
        """An agent that answers each message with the same in capitals."""
        path = tmp_path / "agent"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            yield listener

    def test_the_one_of_the_session(self, agent):
        path = agent.getsockname()
        for word in ("default", "", f"default={path}"):
            assert str(parse_agent(word, {"SSH_AUTH_SOCK": path}).socket) == path
        assert parse_agent(f"k={path}", {}).id == "k"

    def test_keys(self, file, agent):
        assert parse_agent(f"k={file},{file}", {}) == AgentSource("k", keys=(file, file))
        with pytest.raises(Invalid, match="stands alone"):
            parse_agent(f"k={file},{agent.getsockname()}", {})

    def test_refusals(self):
        with pytest.raises(Invalid, match="SSH_AUTH_SOCK is not set"):
            parse_agent("default", {})
        with pytest.raises(NotFound, match="does not exist"):
            parse_agent("k=/nowhere/at/all", {})

    def test_messages_go_both_ways_until_the_end(self, tmp_path, agent):
        settings = Settings(root=tmp_path, run=tmp_path / "run")
        source = AgentSource("k", socket=parse_agent(f"k={agent.getsockname()}", {}).socket)
        with forwarded(settings, source, Look(0o640)) as path:
            assert path.stat().st_mode & 0o777 == 0o640
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                near, _ = agent.accept()
                with near:
                    client.sendall(b"hello")
                    assert near.recv(100) == b"hello"
                    near.sendall(b"HELLO")
                    assert client.recv(100) == b"HELLO"
                    client.close()
                    assert near.recv(100) == b""
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                near, _ = agent.accept()
        with near:
            assert near.recv(100) == b""  # what was open at the end is closed
        assert not path.exists()


@pytest.mark.parametrize(
    ("given", "kind", "url", "expected"),
    [
        ({"GIT_AUTH_TOKEN": "t"}, "GIT", "https://h.example/x.git", "basic eC1hY2Nlc3MtdG9rZW46dA=="),
        ({"GIT_AUTH_HEADER": "basic zzz\n", "GIT_AUTH_TOKEN": "t"}, "GIT", "https://h.example/x.git", "basic zzz"),
        ({"GIT_AUTH_TOKEN": "t", "GIT_AUTH_HEADER.h.example": "own"}, "GIT", "https://u:p@h.example/x", "own"),
        ({"GIT_AUTH_TOKEN.other": "t"}, "GIT", "https://h.example/x.git", None),
        ({"GIT_AUTH_TOKEN": "t"}, "GIT", "git@h.example:x", None),
        ({"GIT_AUTH_TOKEN": "t"}, "HTTP", "https://h.example/x", None),
        ({"HTTP_AUTH_TOKEN.h.example:8080": "t"}, "HTTP", "http://h.example:8080/x", "Bearer t"),
        ({}, "HTTP", "http://h.example/x", None),
    ],
)
def test_what_servers_are_told(given, kind, url, expected):
    grants = Grants({name: SecretSource(name, env=name) for name in given}, environ=given)
    assert grants.authorization(kind, url) == expected
