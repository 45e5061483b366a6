"""Platforms: ``linux/amd64``, ``linux/arm64/v8``; how they are spelled, made canonical and matched.

Source: OCI image specification, image-index.md, "platform"; the normal forms are those that containerd's ``platforms``
package documents (``aarch64`` is ``arm64``, ``arm`` is ``arm/v7``, ``arm64/v8`` is ``arm64``). The machine's own name
(``uname -m``) is an argument: this module asks no host.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from bennu.errors import Invalid

_WORD: Final = re.compile(r"^[A-Za-z0-9_.-]+$")
_ARCHITECTURES: Final = {
    "i386": ("386", ""),
    "i686": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
}
_IMPLIED: Final = {("arm64", "8"), ("arm64", "v8"), ("amd64", "v1")}
_OPERATING_SYSTEMS: Final = {"macos": "darwin"}

_KNOWN_SYSTEMS: Final = frozenset(
    (
        *("aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux", "nacl"),
        *("netbsd", "openbsd", "plan9", "solaris", "windows", "zos"),
    )
)
_KNOWN_ARCHITECTURES: Final = frozenset(
    (
        *("386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "loong64", "mips", "mipsle", "mips64"),
        *("mips64le", "mips64p32", "mips64p32le", "ppc", "ppc64", "ppc64le", "riscv", "riscv64", "s390", "s390x"),
        *("sparc", "sparc64", "wasm"),
    )
)
"""What a word that stands alone can mean: the names that Go knows."""


class Platform(
    msgspec.Struct, frozen=True, omit_defaults=True, rename={"os_version": "os.version", "os_features": "os.features"}
):
    """What an image runs on. Fields in the order in which Go writes them; ``variant`` is empty where there is none."""

    architecture: str
    os: str
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def normalised(self) -> Platform:
        """The same platform in its normal form."""
        system = self.os.lower()
        architecture, variant = self.architecture.lower(), self.variant.lower()
        if architecture in _ARCHITECTURES:
            architecture, implied = _ARCHITECTURES[architecture]
            variant = variant or implied
        if architecture == "arm":
            variant = f"v{variant.removeprefix('v') or '7'}"
        elif (architecture, variant) in _IMPLIED:
            variant = ""
        return Platform(
            architecture, _OPERATING_SYSTEMS.get(system, system), self.os_version, self.os_features, variant
        )


def parse_platform(text: str, default: Platform) -> Platform:
    """``OS/ARCH[/VARIANT]``, ``OS`` or ``ARCH`` alone, in normal form; what is left out comes from ``default``.

    ``Invalid`` for more than three parts, characters that no platform has, or a word alone that is neither.
    """
    parts = text.split("/")
    if len(parts) > 3 or not all(_WORD.match(part) for part in parts):
        raise Invalid(f"platform {text!r} is not OS/ARCH or OS/ARCH/VARIANT", "write it as linux/amd64")
    if len(parts) > 1:
        return Platform(parts[1], parts[0], variant=parts[2] if len(parts) > 2 else "").normalised()
    word = parts[0].lower()
    if _OPERATING_SYSTEMS.get(word, word) in _KNOWN_SYSTEMS:
        return Platform(default.architecture, word, variant=default.variant).normalised()
    if _ARCHITECTURES.get(word, (word,))[0] not in _KNOWN_ARCHITECTURES:
        raise Invalid(f"platform {text!r} is no operating system and no architecture", "write it as linux/amd64")
    return Platform(word, default.os).normalised()


def platform_of_machine(machine: str) -> Platform:
    """The Linux platform of a machine, by its hardware name (``uname -m``)."""
    return Platform(machine, "linux").normalised()


def fit(want: Platform, have: Platform) -> int | None:
    """How well an image of ``have`` serves ``want``: 0 exactly, more is worse, None not at all.

    A 32-bit ARM machine runs what was built for an earlier variant; an amd64 machine of a later level likewise.
    """
    wanted, had = want.normalised(), have.normalised()
    if (wanted.os, wanted.architecture) != (had.os, had.architecture):
        return None
    if wanted.variant == had.variant:
        return 0
    if wanted.architecture in {"arm", "amd64"}:
        distance = _level(wanted) - _level(had)
        return distance if distance > 0 else None
    return 100 if not wanted.variant or not had.variant else None


def _level(platform: Platform) -> int:
    digits = platform.variant.removeprefix("v")
    return int(digits) if digits.isdigit() else 1
