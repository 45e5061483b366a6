"""The instructions that change an image's configuration and no file. Pure.

One function an instruction; each leaves an entry without a layer in the history, except ONBUILD, which leaves none, as
in BuildKit. ``SETTINGS`` is the table that ``lowering`` reads.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from bennu.build import history
from bennu.build.stages import Stage
from bennu.dockerfile import spelling
from bennu.dockerfile.fields import expand_value
from bennu.dockerfile.instructions import (
    Arg,
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Shell,
    ShellForm,
    StopSignal,
    User,
    Volume,
)
from bennu.dockerfile.source import decoded
from bennu.oci import image_config
from bennu.oci.image_config import NOTHING

_PROTOCOLS: Final = ("tcp", "udp", "sctp")
_PORTS: Final = re.compile(r"(\+?[0-9]{1,18})(?:-(\+?[0-9]{1,18}))?")
_SIGNALS: Final = frozenset(
    (
        *(
            "ABRT",
            "ALRM",
            "BUS",
            "CHLD",
            "CLD",
            "CONT",
            "FPE",
            "HUP",
            "ILL",
            "INT",
            "IO",
            "IOT",
            "KILL",
            "PIPE",
            "POLL",
        ),
        *("PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG"),
        *("USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX"),
        *(f"RTMIN+{number}" for number in range(1, 16)),
        *(f"RTMAX-{number}" for number in range(1, 15)),
    )
)


def _arg(stage: Stage, arg: Arg) -> None:
    words: list[str] = []
    for declaration in arg.declarations:
        name, value = declaration.name, stage.build.build_args.get(declaration.name)
        if value is None and declaration.default is None:
            value = stage.build.globals.get(name)
        elif value is None and declaration.default is not None:
            value = expand_value(declaration.default, stage.variables, arg.span, stage.escape).text
        if value is not None:
            stage.set_variable(name, value)
        stage.arguments[name] = value or ""
        words.append(name if value is None else f"{name}={value}")
    stage.record(f"ARG {' '.join(words)}")


def _cmd(stage: Stage, cmd: Cmd) -> None:
    words = stage.arguments_of(cmd.command)
    stage.change(cmd=tuple(map(decoded, words)), args_escaped=True)
    stage.has_cmd = True
    stage.record(f"CMD {history.listed_quoted(words)}")


def _entrypoint(stage: Stage, entrypoint: Entrypoint) -> None:
    words = stage.arguments_of(entrypoint.command)
    stage.change(entrypoint=tuple(map(decoded, words)))
    if not stage.has_cmd:
        stage.change(cmd=())  # a CMD of the base image was meant for its own ENTRYPOINT
    stage.record(f"ENTRYPOINT {history.listed_quoted(words)}")


def _env(stage: Stage, env: Env) -> None:
    pairs = stage.expanded(env).pairs
    items = list(stage.config.env)
    for pair in pairs:
        stage.set_variable(pair.key, pair.value)
        at = next((at for at, item in enumerate(items) if item.partition("=")[0] == pair.key), len(items))
        items[at : at + 1] = [f"{pair.key}={pair.value}"]
    stage.change(env=tuple(items))
    stage.record(" ".join(("ENV", *(f"{pair.key}={pair.value}" for pair in pairs))))


def _expose(stage: Stage, expose: Expose) -> None:
    ports = tuple(port for text in stage.expanded(expose).ports for port in _ports(expose, text))
    stage.change(exposed_ports={**stage.config.exposed_ports, **dict.fromkeys(ports, NOTHING)})
    stage.record(f"EXPOSE {history.listed(ports)}")


def _ports(expose: Expose, text: str) -> list[str]:
    """``80``, ``80/udp``, ``8000-8010/tcp`` as ``PORT/PROTOCOL``; a host's address and port before it mean nothing."""
    *host, port = text.rsplit(":", 2)
    numbers, _, protocol = port.partition("/")
    place = expose.span.narrow(text)
    if (protocol.lower() or "tcp") not in _PROTOCOLS:
        raise place.invalid(
            f"EXPOSE: unknown protocol '{protocol}' of the port '{text}'",
            spelling.hint(protocol, _PROTOCOLS, f"it is one of {', '.join(_PROTOCOLS)}"),
        )
    address, host_port = host[0] if len(host) == 2 else "", host[-1] if host else ""
    if address and not _is_address(address):
        raise place.invalid(f"EXPOSE: '{address}' is no IP address", f"write the container's port alone: {port}")
    found = _range(numbers)
    beside = found if not host_port else _range(host_port)
    if found is None or beside is None:
        raise place.invalid(f"EXPOSE: '{text}' is no port", "write one such as 80, 53/udp or 8000-8010")
    if len(found) > 1 and len(found) != len(beside):
        raise place.invalid(f"EXPOSE: the ranges of '{text}' are not of one length", f"write {port} alone")
    return [f"{number}/{protocol.lower() or 'tcp'}" for number in found]


def _range(text: str) -> range | None:
    """A port, or a range of them, all within 0 to 65535."""
    found = _PORTS.fullmatch(text)
    if found is None:
        return None
    first, last = int(found[1]), int(found[2] or found[1])
    return range(first, last + 1) if first <= last <= 0xFFFF else None


def _is_address(text: str) -> bool:
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        ipaddress.ip_address(inner)
    except ValueError:
        return False
    return "%" not in inner


def _healthcheck(stage: Stage, check: Healthcheck) -> None:
    if check.command is None:
        test: tuple[str, ...] = ("NONE",)
    elif isinstance(check.command, ShellForm):
        test = ("CMD-SHELL", check.command.text)
    else:
        test = ("CMD", *check.command.arguments)
    value = image_config.Healthcheck(
        test=test,
        interval_ns=check.interval_nanoseconds,
        timeout_ns=check.timeout_nanoseconds,
        start_period_ns=check.start_period_nanoseconds,
        start_interval_ns=check.start_interval_nanoseconds,
        retries=check.retries,
    )
    stage.change(healthcheck=msgspec.structs.replace(value, test=tuple(map(decoded, test))))
    stage.record(history.healthcheck(value))


def _label(stage: Stage, label: Label) -> None:
    pairs = stage.expanded(label).pairs
    stage.change(labels={**stage.config.labels, **{pair.key: pair.value for pair in pairs}})
    stage.record(" ".join(("LABEL", *(f"{pair.key}={pair.value}" for pair in pairs))))


def _maintainer(stage: Stage, maintainer: Maintainer) -> None:
    stage.image = msgspec.structs.replace(stage.image, author=maintainer.name)
    stage.record(f"MAINTAINER {maintainer.name}")


def _onbuild(stage: Stage, onbuild: Onbuild) -> None:
    stage.change(on_build=(*stage.config.on_build, onbuild.expression))


def _shell(stage: Stage, shell: Shell) -> None:
    stage.change(shell=shell.command)
    stage.record(f"SHELL {history.listed(shell.command)}")


def _stop_signal(stage: Stage, instruction: StopSignal) -> None:
    signal = stage.expanded(instruction).signal
    name = signal.upper().removeprefix("SIG")
    is_number = re.fullmatch(r"[+-]?[0-9]{1,18}", signal) is not None and int(signal) != 0
    if not is_number and name not in _SIGNALS:
        raise instruction.span.narrow(instruction.signal).invalid(
            f"STOPSIGNAL: unknown signal '{signal}'", spelling.hint(name, sorted(_SIGNALS), "write one such as SIGTERM")
        )
    stage.change(stop_signal=signal)
    stage.record(f"STOPSIGNAL {signal}")


def _user(stage: Stage, instruction: User) -> None:
    user = stage.expanded(instruction).user
    stage.change(user=user)
    stage.record(f"USER {user}")


def _volume(stage: Stage, instruction: Volume) -> None:
    paths = stage.expanded(instruction).paths
    if "" in paths:
        raise instruction.span.invalid("VOLUME: a volume's path is empty once its variables are put in")
    stage.change(volumes={**stage.config.volumes, **dict.fromkeys(paths, NOTHING)})
    stage.record(f"VOLUME {history.listed(paths)}")


SETTINGS: Final[Mapping[type[Instruction], Callable[[Stage, Any], None]]] = {
    Arg: _arg,
    Cmd: _cmd,
    Entrypoint: _entrypoint,
    Env: _env,
    Expose: _expose,
    Healthcheck: _healthcheck,
    Label: _label,
    Maintainer: _maintainer,
    Onbuild: _onbuild,
    Shell: _shell,
    StopSignal: _stop_signal,
    User: _user,
    Volume: _volume,
}
