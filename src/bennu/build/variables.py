"""Variables of a build: the predefined ARGs, and the proxies that no step is known by. Pure.

Those that the file declares before its first FROM are in ``dockerfile.global_args``; a stage sees a global only where
it declares the name again (``stages``). Source: Dockerfile reference, "ARG".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from bennu.dockerfile import spelling
from bennu.dockerfile.source import Span
from bennu.dockerfile.warning import Warning  # noqa: A004 - the word of the Dockerfile reference
from bennu.oci.platform import Platform

PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_OF_THE_BUILDER: Final = ("BUILDKIT_", "SOURCE_DATE_EPOCH")


def platform_variables(build: Platform, target: Platform, stage: str, build_args: Mapping[str, str]) -> dict[str, str]:
    """BUILD* and TARGET*, of the platform that is built on and of the one that is built for. A build argument may
    override each.
    """
    values: dict[str, str] = {}
    for side, platform in (("BUILD", build), ("TARGET", target)):
        values[f"{side}PLATFORM"] = str(platform)
        values[f"{side}OS"] = platform.os
        values[f"{side}OSVERSION"] = platform.os_version
        values[f"{side}ARCH"] = platform.architecture
        values[f"{side}VARIANT"] = platform.variant
    values["TARGETSTAGE"] = stage or "default"
    return {name: build_args.get(name, value) for name, value in values.items()}


def proxies(build_args: Mapping[str, str]) -> tuple[str, ...]:
    """The proxies among the build arguments as ``K=V``, each in upper and in lower case as programs look for both."""
    given = {name.upper(): build_args[name] for name in sorted(build_args) if name.upper() in PROXIES}
    return tuple(f"{spelled}={given[name]}" for name in PROXIES if name in given for spelled in (name, name.lower()))


def unused(
    build_args: Mapping[str, str], declared: Collection[str], known: Iterable[str], span: Span
) -> tuple[Warning, ...]:
    """A warning for each build argument that nothing declares."""
    ignored = {*declared, *known}
    return tuple(
        Warning(
            f"build argument '{name}' is declared by no ARG of the stages that were built"
            + (f", did you mean {nearest}?" if (nearest := spelling.nearest(name, declared)) else ""),
            span,
        )
        for name in sorted(build_args)
        if name not in ignored and name.upper() not in PROXIES and not name.startswith(_OF_THE_BUILDER)
    )
