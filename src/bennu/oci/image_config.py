"""Image configurations: what a container of the image starts with, its layers' diff_ids and its history.

Source: OCI image specification, config.md; Docker's extensions (Healthcheck, OnBuild, Shell) as the Moby image
specification v1.3 has them. Fields stand in the order in which BuildKit writes them and are left out where it leaves
them out, so ``encode`` of the same configuration gives the same bytes. Lists are tuples, empty where absent; sets
(ports, volumes) are maps to ``NOTHING``, as in the document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from bennu.digest import Digest, digest_of, parse_digest
from bennu.errors import Invalid
from bennu.oci import document
from bennu.oci.platform import Platform


class Nothing(msgspec.Struct, frozen=True):
    """The empty object that stands for membership in ExposedPorts and Volumes."""


NOTHING: Final = Nothing()


class Healthcheck(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    rename={
        "test": "Test",
        "interval_ns": "Interval",
        "timeout_ns": "Timeout",
        "start_period_ns": "StartPeriod",
        "start_interval_ns": "StartInterval",
        "retries": "Retries",
    },
):
    """How a container is probed. ``test`` begins with NONE, CMD or CMD-SHELL; empty inherits. Zero is the default."""

    test: tuple[str, ...] = ()
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


class ContainerConfig(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    kw_only=True,
    rename={
        "user": "User",
        "exposed_ports": "ExposedPorts",
        "env": "Env",
        "entrypoint": "Entrypoint",
        "cmd": "Cmd",
        "volumes": "Volumes",
        "working_dir": "WorkingDir",
        "labels": "Labels",
        "stop_signal": "StopSignal",
        "args_escaped": "ArgsEscaped",
        "healthcheck": "Healthcheck",
        "on_build": "OnBuild",
        "shell": "Shell",
    },
):
    """What a container starts with unless told otherwise.

    ``exposed_ports`` are keyed ``80/tcp``; ``env`` items are ``K=V``; ``on_build`` holds instructions as written.
    """

    user: str = ""
    exposed_ports: Mapping[str, Nothing] = msgspec.field(default_factory=dict)
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    volumes: Mapping[str, Nothing] = msgspec.field(default_factory=dict)
    working_dir: str = ""
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    on_build: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """``env`` as a mapping; the last of two equal names counts."""
        return {name: value for name, _, value in (item.partition("=") for item in self.env)}


class RootFS(msgspec.Struct, frozen=True):
    """The layers of an image by their diff_ids, the lowest first. ``type`` is always ``layers``."""

    type: str = "layers"
    diff_ids: tuple[Digest, ...] = ()

    def __post_init__(self) -> None:
        if self.type != "layers":
            raise Invalid(f"rootfs has the type {self.type!r}, not 'layers'")
        for diff_id in self.diff_ids:
            parse_digest(diff_id)


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of an image's history. ``empty_layer``: it made no layer. ``created`` is RFC 3339, empty if unknown."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    kw_only=True,
    rename={"os_features": "os.features", "os_version": "os.version"},
):
    """The configuration document. ``created`` is RFC 3339, empty if unknown."""

    architecture: str
    author: str = ""
    config: ContainerConfig = msgspec.field(default_factory=ContainerConfig)
    created: str = ""
    history: tuple[History, ...] = ()
    os: str
    os_features: tuple[str, ...] = ()
    os_version: str = ""
    rootfs: RootFS = msgspec.field(default_factory=RootFS)
    variant: str = ""

    @property
    def platform(self) -> Platform:
        """What the image runs on."""
        return Platform(self.architecture, self.os, self.os_version, self.os_features, self.variant)

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """The layers, the lowest first."""
        return self.rootfs.diff_ids


def empty_config(platform: Platform) -> ImageConfig:
    """The configuration of ``scratch``: no layer, nothing set."""
    return ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        os_version=platform.os_version,
        os_features=platform.os_features,
        variant=platform.variant,
    )


def parse_config(data: bytes, digest: Digest | str) -> ImageConfig:
    """A configuration's bytes as a value; ``digest`` names it in errors. ``Invalid`` if it is malformed.

    Unknown members are ignored. Where there is a history, it has one entry for each layer that is not ``empty_layer``.
    """
    what = f"image configuration {digest}"
    config = document.decode(data, ImageConfig, what)
    filled = sum(not entry.empty_layer for entry in config.history)
    if config.history and filled != len(config.diff_ids):
        raise Invalid(f"{what} is malformed: its history makes {filled} layers, its rootfs has {len(config.diff_ids)}")
    return config


def encode_config(config: ImageConfig) -> bytes:
    """The canonical bytes of a configuration: those whose digest is the image's ID."""
    return document.encode(config)


def chain_ids(diff_ids: Iterable[Digest]) -> tuple[Digest, ...]:
    """The chain_id of each layer: of all layers up to and including it (config.md, "Layer ChainID")."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        text = f"{chain[-1]} {diff_id}" if chain else ""
        chain.append(digest_of(text.encode()) if chain else diff_id)
    return tuple(chain)


def rfc3339(seconds: float) -> str:
    """A moment (Unix seconds) as Go writes it: UTC, a fraction only where there is one."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    fraction = f".{moment.microsecond:06}".rstrip("0") if moment.microsecond else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def moment(text: str) -> float | None:
    """RFC 3339 (nine digits of fraction too) as Unix seconds; None for the empty string and Go's zero time."""
    if not text or text.startswith("0001-"):
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
