"""Credentials as Docker keeps them: the file, the helpers, and the many ways to write one host."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from bennu.errors import Failed, Invalid, Unavailable
from bennu.registry.credentials import HUB, Credential, Credentials

HELPER = """#!/usr/bin/env python3
import json, pathlib, sys
kept = pathlib.Path({kept!r})
known = json.loads(kept.read_text()) if kept.exists() else {{}}
verb, text = sys.argv[1], sys.stdin.read()
if verb == "get":
    if text not in known:
        print("credentials not found in native keychain"); sys.exit(1)
    print(json.dumps(known[text]))
elif verb == "store":
    entry = json.loads(text); known[entry["ServerURL"]] = entry
elif verb == "erase":
    known.pop(text, None)
kept.write_text(json.dumps(known))
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "config.json"


@pytest.fixture
def credentials(config: Path) -> Credentials:
    return Credentials(config.parent)


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "docker-credential-test"
    program.parent.mkdir()
    kept = tmp_path / "kept.json"
    program.write_text(HELPER.format(kept=str(kept)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return kept


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def written(config: Path, content: object) -> None:
    config.parent.mkdir(exist_ok=True)
    config.write_text(json.dumps(content))


def test_what_is_put_is_found_and_only_ours_to_read(credentials, config):
    written(config, {"psFormat": "x", "auths": {"other.example": {"auth": encoded("a:b")}}})
    assert credentials.put("registry.example:5000", Credential("me", "pass:word")) == str(config)
    assert credentials.get("registry.example:5000") == Credential("me", "pass:word")
    assert config.stat().st_mode & 0o777 == 0o600
    content = json.loads(config.read_text())
    assert content["psFormat"] == "x"
    assert set(content["auths"]) == {"other.example", "registry.example:5000"}
    assert credentials.remove("registry.example:5000")
    assert not credentials.remove("registry.example:5000")
    assert credentials.get("registry.example:5000") is None
    assert credentials.get("other.example") == Credential("a", "b")


@pytest.mark.parametrize("key", ["r.example", "https://r.example", "https://r.example/v1/", "http://r.example/v2/"])
def test_a_host_is_found_however_it_is_written(credentials, config, key):
    written(config, {"auths": {key: {"auth": encoded("me:x")}}})
    assert credentials.get("r.example") == Credential("me", "x")
    assert credentials.get("r.example.org") is None


@pytest.mark.parametrize("key", [HUB, "docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_has_many_names(credentials, config, key):
    written(config, {"auths": {key: {"auth": encoded("me:x")}}})
    assert credentials.get("docker.io") == Credential("me", "x")


def test_docker_hub_is_kept_by_its_old_address(credentials, config):
    credentials.put("docker.io", Credential("me", "x"))
    assert list(json.loads(config.read_text())["auths"]) == [HUB]


def test_an_identity_token(credentials, config):
    written(config, {"auths": {"r.example": {"auth": encoded("me:"), "identitytoken": "long"}}})
    assert credentials.get("r.example") == Credential("me", "", "long")


def test_no_file_and_an_empty_one_know_nothing(credentials, config):
    assert credentials.get("r.example") is None
    written(config, {})
    assert credentials.get("r.example") is None


@pytest.mark.parametrize("content", ["{", "[]", '{"auths": {"r.example": {"auth": "no base64"}}}'])
def test_a_damaged_file_is_named(credentials, config, content):
    config.parent.mkdir()
    config.write_text(content)
    with pytest.raises(Invalid) as caught:
        credentials.get("r.example")
    assert caught.value.file == str(config)


@pytest.mark.parametrize("setting", [{"credsStore": "test"}, {"credHelpers": {"r.example": "test"}}])
def test_a_helper_keeps_them(credentials, config, helper, setting):
    written(config, setting)
    assert credentials.get("r.example") is None
    assert "test" in credentials.put("r.example", Credential("me", "x"))
    assert credentials.get("r.example") == Credential("me", "x")
    assert encoded("me:x") not in config.read_text()
    assert credentials.remove("r.example")
    assert credentials.get("r.example") is None


def test_a_helper_for_one_host_says_nothing_of_others(credentials, config, helper):
    written(config, {"credHelpers": {"r.example": "test"}, "auths": {"o.example": {"auth": encoded("a:b")}}})
    assert credentials.get("o.example") == Credential("a", "b")


def test_an_identity_token_of_a_helper(credentials, config, helper):
    written(config, {"credsStore": "test"})
    credentials.put("r.example", Credential(identity_token="long"))
    assert credentials.get("r.example") == Credential(identity_token="long")


def test_a_helper_that_is_not_there(credentials, config):
    written(config, {"credsStore": "nowhere"})
    with pytest.raises(Unavailable, match="docker-credential-nowhere"):
        credentials.get("r.example")


def test_a_helper_that_fails_never_shows_a_secret(credentials, config, helper, tmp_path):
    (tmp_path / "bin/docker-credential-test").write_text("#!/bin/sh\necho locked; exit 3\n")
    written(config, {"credsStore": "test"})
    with pytest.raises(Failed, match="locked") as caught:
        credentials.put("r.example", Credential("me", "hush"))
    assert "hush" not in str(caught.value)
