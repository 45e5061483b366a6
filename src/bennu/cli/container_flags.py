"""The flags with which a container is described, and what they make: ``ContainerOptions``.

One list serves ``run`` and whatever else creates containers. What Docker has and bennu refuses is refused by its name
with a reason, never ignored. Source: Docker's ``run`` reference.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from bennu.cli.command import Arg, Arguments, option, switch
from bennu.cli.values import (
    assignment,
    count,
    duration_seconds,
    host_address,
    positive,
    size_bytes,
    ulimit,
)

if TYPE_CHECKING:
    from bennu.runtime.options import ContainerOptions, MountOption
    from bennu.runtime.spec import Rlimit


FLAGS: tuple[Arg, ...] = (
    switch("-i", "--interactive", help="Keep standard input open"),
    switch("-t", "--tty", help="Give the container a terminal"),
    option("-e", "--env", metavar="K=V", help="Set a variable", convert=assignment, repeatable=True),
    option("--env-file", metavar="FILE", help="Set variables from a file", repeatable=True, complete="file"),
    option("-v", "--volume", metavar="SOURCE:TARGET", dest="volumes", help="Mount a volume or a host directory",
           repeatable=True, complete="directory"),
    option("--mount", metavar="KEY=VALUE,...", dest="mounts", help="Mount a volume, a host directory or a tmpfs",
           repeatable=True),
    option("--tmpfs", metavar="TARGET[:OPTIONS]", help="Mount a tmpfs", repeatable=True),
    option("-w", "--workdir", metavar="DIR", help="Working directory"),
    option("-u", "--user", metavar="USER[:GROUP]", help="User and group, by name or number"),
    option("--group-add", metavar="GROUP", help="Another group", repeatable=True),
    option("--name", metavar="NAME", help="Name of the container"),
    option("--entrypoint", metavar="PROGRAM", help="Instead of the image's entrypoint"),
    option("-h", "--hostname", metavar="NAME", help="Host name"),
    option("-l", "--label", metavar="K=V", dest="labels", help="Set a label", convert=assignment, repeatable=True),
    option("--network", "--net", metavar="NETWORK", help="none, host, bridge or a network's name"),
    option("--add-host", metavar="NAME:ADDRESS", help="Another line of /etc/hosts", convert=host_address,
           repeatable=True),
    option("--dns", metavar="ADDRESS", help="Name server", repeatable=True),
    switch("--read-only", help="Mount the root file system read-only"),
    option("-m", "--memory", metavar="BYTES", help="Limit of memory", convert=size_bytes),
    option("--cpus", metavar="NUMBER", help="Limit of processor cores", convert=positive),
    option("--pids-limit", metavar="NUMBER", help="Limit of processes", convert=int),
    option("--shm-size", metavar="BYTES", help="Size of /dev/shm", convert=size_bytes),
    option("--ulimit", metavar="NAME=SOFT[:HARD]", help="Resource limit", convert=ulimit, repeatable=True),
    option("--sysctl", metavar="K=V", help="Kernel parameter of the container's namespaces", convert=assignment,
           repeatable=True),
    option("--restart", metavar="POLICY", help="no; services of a Compose file have the others"),
    switch("--init", help="Run an init that forwards signals and reaps processes"),
    option("--cap-add", metavar="CAP", help="Give a capability", repeatable=True),
    option("--cap-drop", metavar="CAP", help="Take a capability away", repeatable=True),
    option("--security-opt", metavar="OPTION", help="no-new-privileges, seccomp=unconfined", repeatable=True),
    option("--oom-score-adj", metavar="NUMBER", help="How readily the kernel ends it for memory", convert=int),
    option("--stop-signal", metavar="SIGNAL", help="Signal that stops it"),
    option("--stop-timeout", metavar="SECONDS", help="Time between that and SIGKILL", convert=count),
    option("-p", "--publish", metavar="PORT", help="Publish a port: Compose files can, this verb cannot",
           repeatable=True, hidden=True),
    switch("-P", "--publish-all", help="Publish all ports", hidden=True),
    switch("--privileged", help="All privileges", hidden=True),
    option("--device", metavar="DEVICE", help="A device of the host", repeatable=True, hidden=True),
)  # fmt: skip


def options_of(args: Arguments, command: tuple[str, ...], environ: Mapping[str, str]) -> ContainerOptions:
    """The options that the flags and the words after the image say. ``Invalid``, ``Unsupported``."""
    from bennu.runtime.options import DEFAULT_STOP_SECONDS, ContainerOptions
    from bennu.runtime.spec import DEFAULT_SHM_BYTES, Limits

    _refuse(args)
    security = _security(args.security_opt)
    hosts: dict[str, tuple[str, ...]] = {}
    for name, address in args.add_host:
        hosts[name] = (*hosts.get(name, ()), address)
    return ContainerOptions(
        command=command or None,
        entrypoint=None if args.entrypoint is None else ((args.entrypoint,) if args.entrypoint else ()),
        env=environment_of(args.env, args.env_file, environ),
        working_dir=args.workdir,
        user=args.user,
        groups=args.group_add,
        hostname=args.hostname,
        labels={name: value or "" for name, value in args.labels},
        mounts=_mounts(args),
        network=None if args.network in {None, "bridge", "default"} else args.network,
        extra_hosts=hosts,
        dns=args.dns,
        readonly=args.read_only,
        terminal=args.tty,
        interactive=args.interactive,
        init=args.init,
        limits=Limits(memory_bytes=args.memory or None, cpus=args.cpus, pids=_pids(args.pids_limit)),
        rlimits=tuple(map(_rlimit, args.ulimit)),
        cap_add=args.cap_add,
        cap_drop=args.cap_drop,
        no_new_privileges="no-new-privileges" in security,
        confined="seccomp=unconfined" not in security,
        shm_bytes=args.shm_size or DEFAULT_SHM_BYTES,
        oom_score_adj=args.oom_score_adj or 0,
        stop_signal=args.stop_signal,
        stop_timeout_seconds=DEFAULT_STOP_SECONDS if args.stop_timeout is None else float(args.stop_timeout),
        sysctls={name: value or "" for name, value in args.sysctl},
    )


def _refuse(args: Arguments) -> None:
    from bennu.errors import Unsupported

    if args.publish or args.publish_all:
        raise Unsupported(
            f"--publish {(args.publish or ('all',))[0]!r}: a single container publishes no ports",
            "write a Compose file with 'ports:' and run `bennu apply`; there the switch answers them",
        )
    if args.privileged:
        raise Unsupported("--privileged is not supported", "--cap-add names what is really needed")
    if args.device:
        raise Unsupported(f"--device {args.device[0]!r}: devices of the host are not supported")
    if args.restart not in {None, "no"}:
        raise Unsupported(
            f"--restart {args.restart!r}: a single container is not restarted",
            "write a Compose file with 'restart:' and run `bennu apply`",
        )


def _security(words: Iterable[str]) -> set[str]:
    from bennu.errors import Unsupported

    known = {"no-new-privileges", "seccomp=unconfined"}
    found = {word.replace(":", "=").removesuffix("=true") for word in words}
    for word in sorted(found - known):
        raise Unsupported(f"--security-opt {word!r} is not supported", f"known: {', '.join(sorted(known))}")
    return found


def _mounts(args: Arguments) -> tuple[MountOption, ...]:
    if not (args.volumes or args.mounts or args.tmpfs):
        return ()
    from bennu.runtime.volume_specs import parse_mount, parse_tmpfs, parse_volume

    here = os.getcwd()
    return (
        *(parse_volume(text, here) for text in args.volumes),
        *(parse_mount(text, here) for text in args.mounts),
        *map(parse_tmpfs, args.tmpfs),
    )


def _pids(limit: int | None) -> int | None:
    return limit if limit is not None and limit > 0 else None


def _rlimit(limit: tuple[str, int, int]) -> Rlimit:
    from bennu.runtime.spec import Rlimit

    name, soft, hard = limit
    return Rlimit(f"RLIMIT_{name.upper()}", soft, hard)


def environment_of(
    pairs: Iterable[tuple[str, str | None]], files: Iterable[str], environ: Mapping[str, str]
) -> tuple[str, ...]:
    """``K=V`` items of the files, then of the flags. A name without a value takes ours, or is dropped without one."""
    items: list[str] = []
    for file in files:
        items += _env_file(file, environ)
    for name, value in pairs:
        taken = environ.get(name) if value is None else value
        items.append(name if taken is None else f"{name}={taken}")
    return tuple(items)


def _env_file(path: str, environ: Mapping[str, str]) -> list[str]:
    from bennu.errors import Invalid

    items = []
    with open(path, encoding="utf-8-sig") as file:
        for number, text in enumerate(file, start=1):
            line = text.lstrip().rstrip("\r\n")
            if not line or line.startswith("#"):
                continue
            name, equals, _ = line.partition("=")
            if not name or " " in name or "\t" in name:
                raise Invalid(f"{name!r} is not a variable's name", file=path, line=number, column=1, excerpt=line)
            if equals:
                items.append(line)
            elif name in environ:
                items.append(f"{name}={environ[name]}")
    return items


def seconds(word: str) -> float:
    """A duration for ``--timeout``; -1 is for ever."""
    return -1.0 if word == "-1" else duration_seconds(word)
