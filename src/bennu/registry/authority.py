"""The right to ask: which ``Authorization`` goes with a request, got from a password, a token server or nobody.

One object serves one registry. A token is kept for its scopes until it is refused or about to expire.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from bennu.errors import Unavailable
from bennu.registry import challenge as challenges
from bennu.registry.challenge import Challenge
from bennu.registry.credentials import Credential

SHORTEST_SECONDS: Final = 60.0
"""A token lives so long where its server says nothing."""
MARGIN_SECONDS: Final = 10.0

TokenRequest = Callable[[str, str, Mapping[str, str], bytes | None], bytes]
"""Method, address, headers and body of a request to a token server; the answer's body."""


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float = SHORTEST_SECONDS


class Authority:
    """Authorisation at one registry. Safe with several threads; one of them gets a token, the others wait for it."""

    def __init__(self, credential: Callable[[], Credential | None], request: TokenRequest) -> None:
        self._credential = credential
        self._request = request
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._headers: dict[frozenset[str], tuple[str, float]] = {}
        self._known: Credential | None = None
        self._asked = False

    def headers(self, scopes: Collection[str]) -> dict[str, str]:
        """What to send with a request: nothing before the registry has asked for it."""
        with self._lock:
            if self._challenge is None:
                return {}
            kept = self._headers.get(frozenset(scopes))
            if kept is None or kept[1] < time.monotonic():
                kept = self._fetch(scopes)
            return {} if kept is None else {"Authorization": kept[0]}

    def answer(self, headers: Mapping[str, str], scopes: Collection[str], sent: str | None) -> bool:
        """Take a 401 in, to a request that had ``sent`` as its ``Authorization``; whether asking again makes sense."""
        found = challenges.choose(challenges.parse(headers.get("WWW-Authenticate", "")))
        if found is None:
            return False
        with self._lock:
            self._challenge = found
            kept = self._headers.get(frozenset(scopes))
            if kept is not None and kept[0] != sent:
                return True  # another thread has been here since
            if found.scheme == "basic" and sent is not None:
                return False  # the password was refused: it will be again
            self._headers.pop(frozenset(scopes), None)
            return self._fetch(scopes) is not None

    def _fetch(self, scopes: Collection[str]) -> tuple[str, float] | None:
        assert self._challenge is not None
        credential = self._who()
        if self._challenge.scheme == "basic":
            if credential is None or not credential.username:
                return None
            kept = (credential.basic, float("inf"))
        else:
            token = self._token(self._challenge, scopes, credential)
            kept = (f"Bearer {token.token or token.access_token}", time.monotonic() + token.expires_in - MARGIN_SECONDS)
        self._headers[frozenset(scopes)] = kept
        return kept

    def _who(self) -> Credential | None:
        if not self._asked:
            self._known, self._asked = self._credential(), True
        return self._known

    def _token(self, challenge: Challenge, scopes: Collection[str], credential: Credential | None) -> _Token:
        realm = challenge.parameters.get("realm", "")
        if not realm.startswith(("http://", "https://")):
            raise Unavailable(f"the registry asks for a token of {realm!r}, which is no address")
        wanted = sorted(scopes) or [challenge.parameters.get("scope", "")]
        wanted = [scope for scope in wanted if scope]
        if credential is not None and credential.identity_token:
            form = challenges.token_form(challenge, wanted, credential.identity_token)
            data = self._request("POST", realm, {"Content-Type": "application/x-www-form-urlencoded"}, form)
        else:
            account = credential.username if credential else None
            address = challenges.token_address(challenge, wanted, account or None)
            headers = {"Authorization": credential.basic} if credential and credential.username else {}
            data = self._request("GET", address, headers, None)
        try:
            token = msgspec.json.decode(data, type=_Token)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise Unavailable(f"token server {realm!r} gave no token: {error}") from error
        if not (token.token or token.access_token):
            raise Unavailable(f"token server {realm!r} gave no token")
        return token
