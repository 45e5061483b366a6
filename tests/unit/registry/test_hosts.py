"""Where registries are: mirrors, plain HTTP and certificates as configured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bennu.errors import Invalid
from bennu.registry.hosts import Endpoint, Hosts


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "registries.toml"


def test_docker_hub_is_elsewhere():
    assert Hosts(None, None).endpoints("docker.io") == (Endpoint("docker.io", "registry-1.docker.io"),)


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000"])
def test_a_registry_on_this_host_may_speak_plainly(host):
    assert Hosts(None, None).endpoints(host)[0].scheme is None


def test_other_registries_must_not():
    assert Hosts(None, None).endpoints("10.0.0.5:5000")[0] == Endpoint("10.0.0.5:5000", "10.0.0.5:5000")


def test_what_the_file_says(file):
    file.write_text(
        '[registry."docker.io"]\nmirrors = ["https://m.example:5000/hub", "http://10.0.0.9"]\n'
        '[registry."r.example"]\nca = "/ca.pem"\nclient_cert = "/c"\nclient_key = "/k"\n'
        '[registry."10.0.0.5:5000"]\ninsecure = true\n'
    )
    hosts = Hosts(file, None)
    first, second, last = hosts.endpoints("docker.io")
    assert (first.host, first.scheme, first.prefix, first.is_mirror) == ("m.example:5000", "https", "hub", True)
    assert (second.host, second.scheme, second.domain) == ("10.0.0.9", "http", "docker.io")
    assert (last.host, last.is_mirror) == ("registry-1.docker.io", False)
    assert hosts.endpoints("docker.io", writing=True) == (last,)
    assert hosts.endpoints("r.example")[0].ca == "/ca.pem"
    plain = hosts.endpoints("10.0.0.5:5000")[0]
    assert (plain.scheme, plain.verify) == (None, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[registry", "registries"),
        ("[other]\n", "unknown key 'other'"),
        ('[registry."a.b"]\nmirror = []\n', "mirror"),
        ('[registry."a.b"]\ninsecure = "yes"\n', "insecure"),
    ],
)
def test_a_wrong_file_is_named(file, text, said):
    file.write_text(text)
    with pytest.raises(Invalid, match=said) as caught:
        Hosts(file, None)
    assert caught.value.file == str(file)


def test_a_mirror_that_is_no_address(file):
    file.write_text('[registry."a.b"]\nmirrors = ["ftp://x"]\n')
    with pytest.raises(Invalid, match="ftp://x"):
        Hosts(file, None).endpoints("a.b")


def test_what_docker_was_told_counts(tmp_path):
    (tmp_path / "daemon.json").write_text(
        json.dumps({"insecure-registries": ["10.0.0.5:5000"], "registry-mirrors": ["https://m.example"]})
    )
    certs = tmp_path / "certs.d/r.example"
    certs.mkdir(parents=True)
    (certs / "ca.crt").write_text("x")
    hosts = Hosts(None, tmp_path)
    assert hosts.endpoints("10.0.0.5:5000")[0].verify is False
    assert [each.host for each in hosts.endpoints("docker.io")] == ["m.example", "registry-1.docker.io"]
    assert hosts.endpoints("r.example")[0].ca == str(certs / "ca.crt")


def test_a_configuration_of_docker_that_is_no_json_is_dockers_affair(tmp_path):
    (tmp_path / "daemon.json").write_text("{")
    assert Hosts(None, tmp_path).endpoints("a.b")[0].verify
