"""Secrets and SSH agents that whoever builds gives to steps: where they are, and how a flag says so.

Values are read when a step needs them, and stand in memory until it has ended: never in a key, a message or a file.
``mounting`` hands them to steps; ``agents`` forwards the sockets. Source of the flags: Docker's ``buildx build``
reference, and what BuildKit does where it says nothing.
"""

from __future__ import annotations

import os
import stat
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from bennu.dockerfile import spelling
from bennu.errors import BennuError, Invalid, NotFound

LIMIT_BYTES: Final = 500 * 1024
"""BuildKit's limit: a secret is a key or a password, and no place for data."""
DEFAULT_AGENT: Final = "default"
AGENT_SOCKET: Final = "SSH_AUTH_SOCK"
_KEYS: Final = ("id", "src", "source", "env", "type")


class SecretSource(msgspec.Struct, frozen=True):
    """Where a secret's value is: in a file, or in the variable ``env``."""

    id: str
    file: Path | None = None
    env: str = ""

    def read(self, environ: Mapping[str, str]) -> bytes:
        """The value, as it is now; a variable that is not set is an empty one, as in BuildKit."""
        if self.file is None:
            return environ.get(self.env, "").encode("utf-8", "surrogateescape")
        try:
            value = self.file.read_bytes()
        except OSError as error:
            raise BennuError(f"secret {self.id!r}: file {str(self.file)!r}: {error.strerror}") from error
        _check_size(self.id, len(value))
        return value


class AgentSource(msgspec.Struct, frozen=True):
    """An SSH agent: the socket of one that runs, or the keys that one is to be started with."""

    id: str
    socket: Path | None = None
    keys: tuple[Path, ...] = ()


class Grants(msgspec.Struct, frozen=True):
    """What the steps of a build may ask for, by id. ``environ`` is where secrets look their variables up."""

    secrets: Mapping[str, SecretSource] = {}
    agents: Mapping[str, AgentSource] = {}
    environ: Mapping[str, str] = {}

    def secret(self, name: str) -> bytes | None:
        """The value of a secret, or None if nobody gave it."""
        source = self.secrets.get(name)
        return None if source is None else source.read(self.environ)

    def authorization(self, kind: Literal["GIT", "HTTP"], url: str) -> str | None:
        """What the Authorization header is for a URL: of the secrets ``GIT_AUTH_HEADER``, ``GIT_AUTH_TOKEN`` (or
        ``HTTP_``), those first whose name ends with a dot and the host. None where there are none, or no host.
        """
        parts = urlsplit(url)
        if not self.secrets or parts.scheme not in {"http", "https"}:
            return None
        for suffix in (f".{parts.netloc.rpartition('@')[2]}", ""):
            header = (self.secret(f"{kind}_AUTH_HEADER{suffix}") or b"").decode("latin-1").strip()
            token = (self.secret(f"{kind}_AUTH_TOKEN{suffix}") or b"").strip()
            if header:
                return header
            if token and kind == "GIT":  # as BuildKit: any forge takes this user beside a token
                return f"basic {b64encode(b'x-access-token:' + token).decode()}"
            if token:
                return f"Bearer {token.decode('latin-1')}"
        return None


def parse_secret(text: str, environ: Mapping[str, str]) -> SecretSource:
    """``--secret id=X,src=FILE|env=VARIABLE[,type=file|env]``. ``Invalid``; ``NotFound`` for a missing file.

    Without a source it is the variable of the secret's name, where there is one, else the file of that name.
    """
    fields = _fields(text)
    name = fields.get("id", "")
    if not name:
        raise Invalid(f"--secret {text!r} has no id", "write id=NAME,src=FILE or id=NAME,env=VARIABLE")
    kind = fields.get("type", "")
    if kind not in {"", "file", "env"}:
        raise Invalid(f"--secret {name!r}: unknown type {kind!r}", spelling.hint(kind, ("file", "env"), "file or env"))
    file, env = fields.get("src", "") or fields.get("source", ""), fields.get("env", "")
    if kind == "env" and not env:
        file, env = "", file or name
    if not (file or env):
        env, file = (name, "") if kind != "file" and name in environ else ("", name)
    if env:
        return SecretSource(name, env=env)
    return SecretSource(name, file=_checked(name, Path(file)))


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if not equals:
            raise Invalid(f"--secret {text!r}: {field!r} is no key=value pair", "write id=NAME,src=FILE")
        if key.lower() not in _KEYS:
            raise Invalid(f"--secret {text!r}: unknown key {key!r}", spelling.hint(key, _KEYS, "id, src, env and type"))
        fields[key.lower()] = value
    return fields


def _checked(name: str, file: Path) -> Path:
    try:
        status = file.stat()
    except OSError as error:
        raise NotFound(f"secret {name!r}: file {str(file)!r}: {error.strerror}") from error
    if stat.S_ISDIR(status.st_mode):
        raise Invalid(f"secret {name!r}: {str(file)!r} is a directory", "a secret is one file")
    _check_size(name, status.st_size)
    return file.absolute()


def _check_size(name: str, size_bytes: int) -> None:
    if size_bytes > LIMIT_BYTES:
        raise Invalid(f"secret {name!r} has {size_bytes} bytes; at most {LIMIT_BYTES} are possible")


def parse_agent(text: str, environ: Mapping[str, str]) -> AgentSource:
    """``--ssh default|ID[=SOCKET|KEY[,KEY]]``. ``Invalid``; ``NotFound`` for a missing socket or key."""
    name, _, places = text.partition("=")
    name = name or DEFAULT_AGENT
    paths = [Path(each) for each in places.split(",") if each]
    if not paths:
        socket = environ.get(AGENT_SOCKET)
        if not socket:
            raise Invalid(
                f"--ssh {text!r} means the agent of this session, but {AGENT_SOCKET} is not set",
                "start one with `eval $(ssh-agent)`, or name a socket or key: --ssh default=PATH",
            )
        paths = [Path(socket)]
    for path in paths:
        if not path.exists():
            raise NotFound(f"--ssh {name!r}: {str(path)!r} does not exist")
    is_socket = [stat.S_ISSOCK(os.stat(path).st_mode) for path in paths]
    if not any(is_socket):
        return AgentSource(name, keys=tuple(path.absolute() for path in paths))
    if len(paths) > 1:
        raise Invalid(f"--ssh {name!r}: a socket stands alone, without keys or other sockets")
    return AgentSource(name, socket=paths[0].absolute())
