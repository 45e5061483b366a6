"""An image's configuration and a container's options become a process and a sandbox. Pure.

Docker's rules: an entrypoint that is given drops the image's command; the environment begins with ``PATH``,
``HOSTNAME`` and, on a terminal, ``TERM``, then comes the image's, then what was asked for, and ``HOME`` where nobody
set it. Source: Docker's ``run`` reference and the Dockerfile reference, "Understand how CMD and ENTRYPOINT interact".
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import Final

from bennu.errors import Invalid
from bennu.oci.image_config import ContainerConfig
from bennu.runtime import capabilities
from bennu.runtime.options import ContainerOptions
from bennu.runtime.spec import Process
from bennu.runtime.users import User

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT_TARGET: Final = "/run/bennu-init"


def command_of(config: ContainerConfig, options: ContainerOptions) -> tuple[str, ...]:
    """The words of the process. ``Invalid`` where neither the image nor the options name a program."""
    entrypoint = config.entrypoint if options.entrypoint is None else options.entrypoint
    command = options.command
    if command is None:
        command = config.cmd if options.entrypoint is None else ()
    words = (*entrypoint, *command)
    if not words or not words[0]:
        raise Invalid("no command: the image has none and none was given", "name a program after the image")
    return words


def environment(
    image: Iterable[str], wanted: Iterable[str], *, hostname: str, home: str, terminal: bool
) -> tuple[str, ...]:
    """``K=V`` items in order, each name once. An item without ``=`` takes the variable away."""
    found: dict[str, str] = {"PATH": DEFAULT_PATH}
    if hostname:
        found["HOSTNAME"] = hostname
    if terminal:
        found["TERM"] = "xterm"
    for item in (*image, *wanted):
        name, equals, value = item.partition("=")
        if equals:
            found[name] = value
        else:
            found.pop(name, None)
    found.setdefault("HOME", home)
    return tuple(f"{name}={value}" for name, value in found.items())


def working_directory(config: ContainerConfig, options: ContainerOptions) -> str:
    """Where the process starts, absolute and normalised. ``Invalid`` if the options name a relative one."""
    if options.working_dir is not None and not options.working_dir.startswith("/"):
        raise Invalid(f"working directory {options.working_dir!r} is not absolute")
    return posixpath.normpath(posixpath.join("/", options.working_dir or config.working_dir or "/"))


def process_of(config: ContainerConfig, options: ContainerOptions, user: User, hostname: str) -> Process:
    """The container's first process."""
    words = command_of(config, options)
    return Process(
        args=(INIT_TARGET, "--", *words) if options.init else words,
        env=environment(config.env, options.env, hostname=hostname, home=user.home, terminal=options.terminal),
        cwd=working_directory(config, options),
        uid=user.uid,
        gid=user.gid,
        additional_gids=user.additional_gids,
        terminal=options.terminal,
        capabilities=capabilities.chosen(options.cap_add, options.cap_drop),
        no_new_privileges=options.no_new_privileges,
        rlimits=options.rlimits,
        oom_score_adj=options.oom_score_adj,
    )
