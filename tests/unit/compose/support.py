"""Short ways from text to values, for the tests of the fleet file."""

from __future__ import annotations

import textwrap

from bennu.compose import reader, yaml
from bennu.compose.model import Project, Service
from bennu.errors import Invalid, InvalidMany


def project(*texts: str, **options) -> Project:
    """Resolve texts as files f0.yaml, f1.yaml, ... in /work."""
    trees = [yaml.parse(textwrap.dedent(text), f"f{number}.yaml") for number, text in enumerate(texts)]
    environ = options.pop("environ", {})
    return reader.resolve(trees, environ, **{"directory": "/work/shop", "home": "/home/ada", **options})


def service(keys: str, rest: str = "", **options) -> Service:
    """One service ``web`` with an image and the keys of a text, and top-level text behind it."""
    body = textwrap.indent(textwrap.dedent(keys).strip("\n"), "    ")
    text = f"services:\n  web:\n    image: nginx\n{body}\n{rest}"
    return project(text, **options).services["web"]


def errors(call, *args, **options) -> list[Invalid]:
    """All errors that a call raises; none is a failure of the test."""
    try:
        call(*args, **options)
    except InvalidMany as error:
        return list(error.errors)
    except Invalid as error:
        return [error]
    raise AssertionError("nothing was refused")


def service_error(keys: str, rest: str = "", **options) -> Invalid:
    """The one error of a service."""
    found = errors(service, keys, rest, **options)
    assert len(found) == 1, [str(each) for each in found]
    return found[0]
