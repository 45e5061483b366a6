"""``RUN --mount=type=...,key=value``: from the flag's text to a typed mount.

``check`` finds what is wrong with a flag before any variable is known, ``resolve`` needs the variables. Both follow
BuildKit: keys are read from left to right, so that ``type`` stands before the keys that only its type takes, and
``from`` takes no variable. A target that is missing or ``/`` is for the lowering to refuse, which knows the working
directory.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from bennu.dockerfile import numbers, spelling
from bennu.dockerfile.expansion import ExpansionError, expand_word
from bennu.dockerfile.instructions import MountFlag
from bennu.errors import Invalid


class MountType(enum.Enum):
    """What is mounted."""

    BIND = "bind"
    CACHE = "cache"
    TMPFS = "tmpfs"
    SECRET = "secret"  # noqa: S105 - the mount type's name, not a password
    SSH = "ssh"


class Sharing(enum.Enum):
    """Whether several steps may use one cache at a time."""

    SHARED = "shared"
    PRIVATE = "private"
    LOCKED = "locked"


class Mount(msgspec.Struct, frozen=True):
    """A mount with its variables put in. ``target`` is the empty string where it was not given.

    ``id`` names a cache, secret or agent; ``env`` is the variable that a secret goes into, empty for its own name,
    None where it is not to; ``size_bytes`` 0 means no limit.
    """

    type: MountType = MountType.BIND
    from_: str | None = None
    source: str = ""
    target: str = ""
    read_only: bool = True
    size_bytes: int = 0
    id: str = ""
    sharing: Sharing | None = None
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


_Choice = TypeVar("_Choice", bound=enum.Enum)
_ALIASES: Final = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
_KEYS: Final = (
    *("type", "from", "source", "target", "readonly", "readwrite", "id", "sharing", "required"),
    *("size", "mode", "uid", "gid", "env"),
)
_WITH_OWNER: Final = frozenset({MountType.SECRET, MountType.SSH, MountType.CACHE})
_WRITABLE: Final = frozenset({MountType.CACHE, MountType.TMPFS})


def check(flag: MountFlag) -> None:
    """Raise ``Invalid`` for what no value of a variable could mend."""
    for field in _fields(flag):
        key, equals, value = field.partition("=")
        if equals and key.lower() == "from" and "$" in value[:-1]:
            raise flag.span.narrow(field).invalid(
                f"RUN: mount key 'from' takes no variable, but is '{value}'", "name a stage whose FROM has the variable"
            )
    if "$" not in flag.text:
        resolve(flag, lambda word: expand_word(word, {}))


def origin(flag: MountFlag) -> str | None:
    """What a flag's ``from`` names, which takes no variable, if it has one that its type makes use of."""
    values = {key.lower(): value for key, _, value in (field.partition("=") for field in _fields(flag))}
    is_tree = values.get("type", "bind").lower() not in {MountType.TMPFS.value, MountType.SSH.value}
    return values.get("from") or None if is_tree else None


def resolve(flag: MountFlag, expander: Callable[[str], str]) -> Mount:
    """The mount that a flag describes; ``expander`` puts variables into one value. Raises ``Invalid`` at the flag."""
    reading = _Reading(flag, expander)
    for field in _fields(flag):
        reading.field(field)
    return reading.mount()


def _fields(flag: MountFlag) -> list[str]:
    """Comma-separated values; a field may stand in double quotes, in which two of them mean one (RFC 4180)."""
    fields: list[str] = []
    rest = flag.text
    while True:
        if rest.startswith('"'):
            parts = rest[1:].split('"')
            taken = 0
            while taken + 2 < len(parts) and parts[taken + 1] == "":
                taken += 2
            if taken + 1 >= len(parts):
                raise flag.span.invalid("RUN: a quoted field of --mount is not closed", 'close it with "')
            fields.append('"'.join(parts[: taken + 1 : 2]))
            rest = '"'.join(parts[taken + 1 :])
            if rest and not rest.startswith(","):
                raise flag.span.invalid("RUN: text follows a quoted field of --mount", "separate fields with a comma")
        else:
            field = rest.partition(",")[0]
            if '"' in field:
                raise flag.span.invalid(f"RUN: a quote stands inside the field '{field}'", "quote the whole field")
            fields.append(field)
            rest = rest[len(field) :]
        if not rest:
            return fields
        rest = rest[1:]


class _Reading:
    def __init__(self, flag: MountFlag, expander: Callable[[str], str]) -> None:
        self.flag = flag
        self.expander = expander
        self.type = MountType.BIND
        self.read_only: bool | None = None
        self.texts: dict[str, str] = {}
        self.numbers: dict[str, int] = {}
        self.sharing: Sharing | None = None
        self.required = False

    def fail(self, message: str, field: str = "", hint: str | None = None) -> Invalid:
        return self.flag.span.narrow(field).invalid(f"RUN: {message}", hint)

    def field(self, field: str) -> None:
        written, equals, value = field.partition("=")
        key = _ALIASES.get(written.lower(), written.lower())
        if not equals:
            if key not in ("readonly", "readwrite", "required"):
                raise self.fail(f"mount field '{field}' is no key=value pair", field, spelling.hint(key, _KEYS))
            value = "true"
        else:
            value = self._expand(value, field)
        if key not in _KEYS:
            raise self.fail(
                f"unknown mount key '{written}'", field, spelling.hint(key, _KEYS, f"its keys are {', '.join(_KEYS)}")
            )
        if key == "type":
            self.type = self._choice(MountType, "mount type", value, field)
        elif key == "sharing":
            self.sharing = self._choice(Sharing, "cache sharing", value, field)
        elif key in ("readonly", "readwrite", "required"):
            self._truth(key, written, value, field)
        elif key in ("size", "mode", "uid", "gid"):
            self._number(key, value, field)
        else:
            self.texts[key] = value

    def _expand(self, value: str, field: str) -> str:
        try:
            return self.expander(value)
        except ExpansionError as error:
            raise self.fail(str(error), field) from error

    def _choice(self, choices: type[_Choice], what: str, value: str, field: str) -> _Choice:
        valid = {choice.value: choice for choice in choices}
        if value.lower() not in valid:
            known = f"it is one of {', '.join(valid)}"
            raise self.fail(f"unknown {what} '{value}'", field, spelling.hint(value, valid, known))
        return valid[value.lower()]

    def _only_for(self, types: frozenset[MountType], key: str, field: str) -> None:
        if self.type not in types:
            names = " or ".join(sorted(kind.value for kind in types))
            raise self.fail(
                f"mount key '{key}' does not go with type '{self.type.value}'", field, f"put type={names} before it"
            )

    def _truth(self, key: str, written: str, value: str, field: str) -> None:
        if key == "required":
            self._only_for(frozenset({MountType.SECRET, MountType.SSH}), key, field)
        truth = numbers.boolean(value)
        if truth is None:
            raise self.fail(f"mount key '{written}' is neither true nor false but '{value}'", field)
        if key == "required":
            self.required = truth
        else:
            self.read_only = truth is (key == "readonly")

    def _number(self, key: str, value: str, field: str) -> None:
        if key == "size":
            self._only_for(frozenset({MountType.TMPFS}), key, field)
            number = numbers.size_bytes(value)
        else:
            number = numbers.unsigned(value, base=8 if key == "mode" else 10)
        if number is None:
            what = {"size": "a size such as 64m", "mode": "an octal mode such as 0600"}.get(key, "a number")
            raise self.fail(f"mount key '{key}' is not {what} but '{value}'", field)
        self.numbers[key] = number

    def mount(self) -> Mount:
        """The result, after the rules that concern several keys."""
        for key in ("mode", "uid", "gid"):
            if key in self.numbers and self.type not in _WITH_OWNER:
                raise self.fail(f"mount key '{key}' does not go with type '{self.type.value}'", key)
        if self.type is MountType.SECRET:
            self._check_secret()
        if self.sharing is not None and self.type is not MountType.CACHE:
            raise self.fail(f"mount key 'sharing' does not go with type '{self.type.value}'", "sharing")
        return Mount(
            type=self.type,
            from_=self.texts.get("from") or None,
            source=self.texts.get("source", ""),
            target=self.texts.get("target", ""),
            read_only=self.type not in _WRITABLE if self.read_only is None else self.read_only,
            size_bytes=self.numbers.get("size", 0),
            id=self.texts.get("id", ""),
            sharing=self.sharing,
            required=self.required,
            env=self.texts.get("env"),
            mode=self.numbers.get("mode"),
            uid=self.numbers.get("uid"),
            gid=self.numbers.get("gid"),
        )

    def _check_secret(self) -> None:
        source, target, name = (self.texts.get(key) for key in ("source", "target", "id"))
        if self.texts.get("from"):
            raise self.fail("a secret mount takes no 'from'", "from")
        if not (source or target or name):
            raise self.fail("a secret mount needs an 'id', a 'source' or a 'target'", hint="write id=NAME")
        if source and name:
            raise self.fail("a secret mount takes 'id' or 'source', not both", "source")
