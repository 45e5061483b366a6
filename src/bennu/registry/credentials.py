"""Who we are at a registry: Docker's ``config.json`` and its credential helpers, read and written as Docker does.

A host's helper (``credHelpers``) comes before the store of all (``credsStore``), that before ``auths``. Docker Hub goes
by the address that it had in 2013. Nothing that is secret is ever in a command line, a log or an error.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any, Final

import msgspec

from bennu.errors import BennuError, Failed, Invalid, Unavailable
from bennu.host import files, process

HUB: Final = "https://index.docker.io/v1/"
HUB_DOMAIN: Final = "docker.io"
TOKEN_USER: Final = "<token>"  # noqa: S105 - what Docker calls the user of an identity token
HELPER_SECONDS: Final = 30.0
_NOT_FOUND: Final = "credentials not found"


class Credential(msgspec.Struct, frozen=True):
    """A user with a password, or an identity token that gives tokens."""

    username: str = ""
    password: str = ""
    identity_token: str = ""

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class Credentials:
    """The credentials of one configuration directory of Docker's; None: of nobody."""

    def __init__(self, directory: Path | None) -> None:
        self._file = (directory or Path("/nonexistent")) / "config.json"

    def get(self, domain: str) -> Credential | None:
        """The credential for a registry, None where nothing is known. ``Invalid`` for a file that cannot be read."""
        config = self._read()
        helper = self._helper(config, domain)
        if helper is not None:
            return _from_helper(helper, _key(domain))
        auths = config.get("auths") or {}
        for key, entry in auths.items():
            if _host_of(key) == domain and isinstance(entry, dict):
                return self._entry(entry, key)
        return None

    def put(self, domain: str, credential: Credential) -> str:
        """Keep a credential; where, for people."""
        config = self._read()
        helper = self._helper(config, domain)
        if helper is not None:
            user = TOKEN_USER if credential.identity_token else credential.username
            secret = credential.identity_token or credential.password
            body = {"ServerURL": _key(domain), "Username": user, "Secret": secret}
            _ask(helper, "store", json.dumps(body))
            config.setdefault("auths", {}).setdefault(_key(domain), {})
            self._write(config)
            return f"credential helper {helper!r}"
        auth = base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()
        entry = {"auth": auth} if not credential.identity_token else {"identitytoken": credential.identity_token}
        self._forget(config, domain)
        config.setdefault("auths", {})[_key(domain)] = entry
        self._write(config)
        return str(self._file)

    def remove(self, domain: str) -> bool:
        """Forget the credential for a registry; whether there was one."""
        config = self._read()
        helper = self._helper(config, domain)
        had = self._forget(config, domain)
        if helper is not None:
            had = _from_helper(helper, _key(domain)) is not None or had
            _ask(helper, "erase", _key(domain))
        if had:
            self._write(config)
        return had

    def _forget(self, config: dict[str, Any], domain: str) -> bool:
        auths = config.get("auths") or {}
        keys = [key for key in auths if _host_of(key) == domain]
        for key in keys:
            del auths[key]
        return bool(keys)

    def _helper(self, config: dict[str, Any], domain: str) -> str | None:
        helpers = config.get("credHelpers") or {}
        found = next((helper for key, helper in helpers.items() if _host_of(key) == domain), None)
        return found or config.get("credsStore") or None

    def _entry(self, entry: dict[str, Any], key: str) -> Credential | None:
        token = entry.get("identitytoken") or ""
        if entry.get("auth"):
            try:
                user, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError, TypeError) as error:
                raise self._invalid(f"the entry of {key!r} is not base64 of USER:PASSWORD") from error
            if not colon:
                raise self._invalid(f"the entry of {key!r} is not base64 of USER:PASSWORD")
            return Credential(user, password.rstrip("\0"), token)
        if token or entry.get("username"):
            return Credential(entry.get("username") or "", entry.get("password") or "", token)
        return None

    def _read(self) -> dict[str, Any]:
        try:
            data = self._file.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise BennuError(f"{str(self._file)!r}: {error.strerror}") from error
        try:
            config = json.loads(data or b"{}")
        except ValueError as error:
            raise self._invalid(f"is not JSON: {error}") from error
        if not isinstance(config, dict):
            raise self._invalid("is not a JSON object")
        return config

    def _write(self, config: dict[str, Any]) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = Path(self._file.resolve())  # a link to somewhere stays one
        files.write_atomic(target, json.dumps(config, indent="\t").encode() + b"\n", mode=0o600)

    def _invalid(self, reason: str) -> Invalid:
        return Invalid(f"credentials file: {reason}", "mend or remove it, then `bennu login`", file=str(self._file))


def _key(domain: str) -> str:
    return HUB if domain == HUB_DOMAIN else domain


def _host_of(key: str) -> str:
    """The registry that an entry is for: ``https://host/v1/`` is one way to write ``host``."""
    bare = key.partition("://")[2] or key
    host = bare.partition("/")[0]
    return HUB_DOMAIN if host in {"index.docker.io", "registry-1.docker.io"} else host


def _from_helper(helper: str, key: str) -> Credential | None:
    answer = _ask(helper, "get", key)
    if answer is None:
        return None
    try:
        found = json.loads(answer)
        user, secret = found.get("Username") or "", found.get("Secret") or ""
    except (ValueError, AttributeError) as error:
        raise Failed(f"credential helper {helper!r} gave no JSON for {key!r}") from error
    if not user and not secret:
        return None
    return Credential(identity_token=secret) if user == TOKEN_USER else Credential(user, secret)


def _ask(helper: str, verb: str, text: str) -> str | None:
    """What a helper answers; None where it knows nothing."""
    program = f"docker-credential-{helper}"
    try:
        done = process.run([program, verb], input=text.encode(), check=False, timeout_seconds=HELPER_SECONDS)
    except Unavailable as error:
        raise Unavailable(error.message, "install it, or take it out of Docker's config.json") from error
    output = (done.stdout or done.stderr).decode(errors="replace").strip()
    if done.status == 0:
        return done.stdout.decode(errors="replace").strip()
    if _NOT_FOUND in output.lower():
        return None
    raise Failed(f"credential helper {program!r}: `{verb}` failed: {output[:200]}", status=done.status)
