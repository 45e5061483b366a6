"""The environment of a service: ``env_file``s and ``environment``, put together.

Source: the Compose Specification, 05-services.md. ``environment`` wins over ``env_file``, a later file over an earlier
one; a name without a value takes it from the surroundings and is left out where these have none. The files' texts come
from outside: ``wanted`` says which are needed, ``load`` reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bennu.compose import dotenv, schema
from bennu.compose.fields import Field
from bennu.compose.mounts import Base
from bennu.errors import Invalid


@dataclass(frozen=True, slots=True)
class EnvFile:
    """A file of variables that a service names, by absolute path."""

    path: str
    required: bool
    field: Field
    is_raw: bool = False


def wanted(service: Field, base: Base) -> tuple[EnvFile, ...]:
    """The env files of a service, in the order in which they count."""
    field = service.get("env_file")
    return tuple(_files(field, base)) if field else ()


def _files(field: Field, base: Base) -> Iterator[EnvFile]:
    for item in [field] if field.is_mapping else field.items_or_one():
        path, required, is_raw = item, True, False
        if item.is_mapping:
            schema.check(item, schema.ENV_FILE, "an env_file")
            named, flag, form = item.get("path"), item.get("required"), item.get("format")
            is_raw = form is not None and form.choice(("raw",), "format of an env file") == "raw"
            if named is None:
                item.fail("has no 'path'")
                continue
            path = named
            required = (flag.boolean() if flag else None) is not False
        text = path.filled()
        if text is not None:
            yield EnvFile(base.path(text), required, path, is_raw)


def label_files(service: Field, base: Base) -> tuple[EnvFile, ...]:
    """The files of labels of a service, in the order in which they count."""
    field = service.get("label_file")
    texts = ((item, item.filled()) for item in field.items_or_one()) if field else ()
    return tuple(EnvFile(base.path(text), True, item) for item, text in texts if text is not None)


def read_labels(
    service: Field, base: Base, environ: Mapping[str, str], texts: Mapping[str, str | None]
) -> dict[str, str]:
    """The labels of a service: its files', then its own."""
    found: dict[str, str] = {}
    for file in label_files(service, base):
        found.update(_variables(file, texts, environ))
    field = service.get("labels")
    found.update({name: value or "" for name, value, _ in field.pairs()} if field else {})
    return found


def _variables(file: EnvFile, texts: Mapping[str, str | None], environ: Mapping[str, str]) -> dict[str, str]:
    """What a file sets; nothing for one that is not to be read."""
    text = texts.get(file.path)
    if text is None:
        if file.path in texts and file.required:
            file.field.fail(f"file {file.path!r} does not exist", "write required: false if it need not")
        return {}
    if file.is_raw:
        lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
        return {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}
    try:
        return dotenv.parse(text, file.path, environ)
    except Invalid as error:
        file.field.problems.take(error)
        return {}


def read_environment(
    service: Field, base: Base, environ: Mapping[str, str], texts: Mapping[str, str | None]
) -> dict[str, str]:
    """The whole environment. ``texts``: by path, None for a file that does not exist; one not in it is left out."""
    found: dict[str, str] = {}
    for file in wanted(service, base):
        found.update(_variables(file, texts, environ))
    field = service.get("environment")
    for name, value, place in field.pairs() if field else ():
        if not name or "=" in name or "\0" in name:
            place.fail(f"{name!r} cannot be the name of a variable")
        elif value is not None:
            found[name] = value
        elif name in environ:
            found[name] = environ[name]
    return found
