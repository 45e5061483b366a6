"""What a registry asks for when it answers 401: the challenges of ``WWW-Authenticate``, and what a token request says.
Pure.

Source: RFC 9110, 11.2 to 11.6; the distribution project's token and OAuth2 documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

CLIENT_ID: Final = "bennu"
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER: Final = rf"\s*({_WORD})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]*))"
_SCHEME: Final = rf"\s*({_WORD})(?:\s+|$|(?=,))"


class Challenge(msgspec.Struct, frozen=True):
    """One way to authenticate: its scheme in lower case, its parameters by their names in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse(header: str) -> tuple[Challenge, ...]:
    """The challenges of a header, in order. What is malformed ends the list: nothing is guessed."""
    found: list[Challenge] = []
    at = 0
    while at < len(header):
        scheme = re.compile(_SCHEME).match(header, at)
        if scheme is None:
            break
        at = scheme.end()
        parameters: dict[str, str] = {}
        while (parameter := re.compile(_PARAMETER).match(header, at)) is not None:
            name, quoted, plain = parameter.groups()
            parameters[name.lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            at = parameter.end()
            comma = re.compile(r"\s*,").match(header, at)
            if comma is None:
                break
            at = comma.end()
        found.append(Challenge(scheme[1].lower(), parameters))
        comma = re.compile(r"[\s,]*").match(header, at)
        at = comma.end() if comma else at
    return tuple(found)


def choose(challenges: Iterable[Challenge]) -> Challenge | None:
    """The one to answer: tokens before passwords; None where there is neither."""
    known = {each.scheme: each for each in reversed(tuple(challenges))}
    return known.get("bearer") or known.get("basic")


def token_address(challenge: Challenge, scopes: Iterable[str], account: str | None) -> str:
    """Where a token for these scopes is to be had with GET. The realm's own query stays."""
    parts = urlsplit(challenge.parameters.get("realm", ""))
    service = challenge.parameters.get("service")
    asked = [("service", service)] if service else []
    asked += [("scope", scope) for scope in scopes]
    asked += [("account", account), ("client_id", CLIENT_ID)] if account else []
    query = "&".join(part for part in (parts.query, urlencode(asked)) if part)
    return urlunsplit(parts._replace(query=query, fragment=""))


def token_form(challenge: Challenge, scopes: Iterable[str], refresh_token: str) -> bytes:
    """What is posted to the realm to have a token for an identity token."""
    return urlencode(
        {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "service": challenge.parameters.get("service", ""),
            "scope": " ".join(scopes),
            "client_id": CLIENT_ID,
        }
    ).encode()


def repository_scope(path: str, actions: str) -> str:
    """``repository:library/debian:pull,push``."""
    return f"repository:{path}:{actions}"
