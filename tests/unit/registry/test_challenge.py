"""Challenges of registries as they come, and what a token request says."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from bennu.registry import challenge
from bennu.registry.challenge import Challenge


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ()),
        ('Basic realm="x"', (Challenge("basic", {"realm": "x"}),)),
        (
            'Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push"',
            (
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.example/token",
                        "service": "registry",
                        "scope": "repository:a/b:pull,push",
                    },
                ),
            ),
        ),
        ('Basic realm="a \\"b\\" c"', (Challenge("basic", {"realm": 'a "b" c'}),)),
        (
            'Negotiate, Bearer realm="https://a/t" , service = s, Basic realm="r"',
            (
                Challenge("negotiate", {}),
                Challenge("bearer", {"realm": "https://a/t", "service": "s"}),
                Challenge("basic", {"realm": "r"}),
            ),
        ),
        ("BEARER REALM=https://a/t", (Challenge("bearer", {"realm": "https://a/t"}),)),
        ('=broken "', ()),
    ],
)
def test_challenges(header, expected):
    assert challenge.parse(header) == expected


def test_a_token_comes_before_a_password():
    found = challenge.choose(challenge.parse('Basic realm="r", Bearer realm="https://a/t"'))
    assert found is not None
    assert found.scheme == "bearer"
    assert challenge.choose(challenge.parse("Negotiate")) is None


def test_the_address_of_a_token_keeps_the_realms_own_query():
    asked = Challenge("bearer", {"realm": "https://a/t?x=1#f", "service": "reg"})
    parts = urlsplit(challenge.token_address(asked, ["repository:a:pull", "repository:b:pull"], "me"))
    assert (parts.netloc, parts.path, parts.fragment) == ("a", "/t", "")
    assert parse_qs(parts.query) == {
        "x": ["1"],
        "service": ["reg"],
        "scope": ["repository:a:pull", "repository:b:pull"],
        "account": ["me"],
        "client_id": ["bennu"],
    }


def test_an_identity_token_is_posted():
    form = parse_qs(challenge.token_form(Challenge("bearer", {"service": "reg"}), ["repository:a:pull"], "secret"))
    assert form == {
        b"grant_type": [b"refresh_token"],
        b"refresh_token": [b"secret"],
        b"service": [b"reg"],
        b"scope": [b"repository:a:pull"],
        b"client_id": [b"bennu"],
    }
