r"""Annotations that the command line puts on a build's result: on which document, for which platform. Pure.

``[LEVEL[,LEVEL][\[PLATFORM\]]:]KEY=VALUE``, where a level is a document (``manifest``, ``index``) or what refers to
one (``manifest-descriptor``, ``index-descriptor``); without one the manifest is meant. Source: buildx, "annotations".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from bennu.errors import Invalid
from bennu.oci.platform import Platform, parse_platform

LEVELS: Final = ("manifest", "index", "manifest-descriptor", "index-descriptor")
_PREFIX: Final = (
    r"((?:manifest|index)(?:-descriptor)?(?:\[[A-Za-z0-9_/.-]+\])?"
    r"(?:,(?:manifest|index)(?:-descriptor)?(?:\[[A-Za-z0-9_/.-]+\])?)*):"
)
_LEVEL: Final = r"([a-z-]+)(?:\[([^\]]+)\])?"


class Annotation(msgspec.Struct, frozen=True):
    """One annotation. ``platform`` None: of the manifests for every platform."""

    level: str
    key: str
    value: str
    platform: Platform | None = None


def parse_annotation(text: str) -> tuple[Annotation, ...]:
    """What ``--annotation`` says: one for each level. ``Invalid``."""
    prefix = re.match(_PREFIX, text)
    levels = prefix[1].split(",") if prefix else ["manifest"]
    key, equals, value = text[prefix.end() :].partition("=") if prefix else text.partition("=")
    if not equals or not key:
        raise Invalid(f"--annotation {text!r} is not KEY=VALUE", "write it as --annotation index:KEY=VALUE")
    return tuple(_annotation(level, key, value, text) for level in levels)


def parse_option(name: str, value: str) -> Annotation | None:
    """What an output's option ``annotation-LEVEL.KEY=VALUE`` says; None for another option. ``Invalid``."""
    head, dot, key = name.partition(".")
    level = head.removeprefix("annotation")
    if not dot or not key or level == head or (level and not level.startswith(("-", "["))):
        return None
    level = level.removeprefix("-")
    level = f"manifest{level}" if not level or level.startswith("[") else level
    return _annotation(level, key, value, f"{name}={value}")


def _annotation(level: str, key: str, value: str, text: str) -> Annotation:
    found = re.fullmatch(_LEVEL, level)
    if found is None or found[1] not in LEVELS:
        raise Invalid(f"annotation {text!r}: unknown level {level!r}", f"there are {', '.join(LEVELS)}")
    platform = parse_platform(found[2], Platform("amd64", "linux")) if found[2] else None
    if platform is not None and found[1].startswith("index"):
        raise Invalid(f"annotation {text!r}: an index is for all platforms", "leave the platform out")
    return Annotation(found[1], key, value, platform)


def chosen(annotations: Iterable[Annotation], level: str, platform: Platform | None = None) -> dict[str, str]:
    """The annotations of one document, the later of two with one key; those for a platform come after."""
    of_level = [each for each in annotations if each.level == level and each.platform in {None, platform}]
    return {each.key: each.value for each in sorted(of_level, key=lambda each: each.platform is not None)}
