"""RUN and WORKDIR: the steps that a process or a directory is. Pure.

A RUN is complete once it is lowered: arguments with their shell, the environment, the directory, the user, the mounts
(``run_mounts``). ``copies`` does the steps that bring files.
"""

from __future__ import annotations

import posixpath
from typing import cast

from bennu.build import graph, history
from bennu.build.mounts import AgentMount, Mount, SecretMount
from bennu.build.run_mounts import AGENT_SOCKET, lower_mounts
from bennu.build.stages import Stage
from bennu.dockerfile.heredoc import parse_opening
from bennu.dockerfile.instructions import Run, ShellForm, Workdir


def lower_run(stage: Stage, run: Run) -> None:
    """RUN. Raises ``Unsupported`` at the flag that is not built."""
    if run.devices:
        raise run.span.narrow("--device").unsupported(
            "RUN: --device is not supported: it needs descriptions of devices that are made for one host",
            "leave the flag out, or run what needs the device in a container",
        )
    arguments, script, summary = _arguments(stage, run)
    mounts = lower_mounts(stage, run)
    step = graph.Run(
        parent=stage.tip,
        arguments=arguments,
        environment=_environment(stage, mounts),
        directory=stage.directory,
        user=stage.config.user,
        network=cast("graph.Network", run.network or "default"),
        script=script,
        proxies=stage.build.proxies,
        mounts=mounts,
        security=cast("graph.Security", run.security or "sandbox"),
        platform=stage.foreign,
        declared=tuple(stage.arguments),
    )
    hidden = [mount.env for mount in mounts if isinstance(mount, SecretMount) and mount.env is not None]
    stage.step(step, stage.label(run, addition=summary, is_command=True, hidden=hidden), run.span)
    in_force = {name: stage.variables.get(name, value) for name, value in stage.arguments.items()}
    stage.record(history.run(arguments, in_force), has_layer=True)


def _environment(stage: Stage, mounts: tuple[Mount, ...]) -> tuple[str, ...]:
    """The variables in force; where an SSH agent is mounted, the one that its clients look at."""
    sockets = [mount.target for mount in mounts if isinstance(mount, AgentMount)]
    agent = {AGENT_SOCKET: sockets[0]} if sockets and AGENT_SOCKET not in stage.variables else {}
    return tuple(f"{name}={value}" for name, value in {**stage.variables, **agent}.items())


def _arguments(stage: Stage, run: Run) -> tuple[tuple[str, ...], graph.InlineFile | None, str]:
    """The process's arguments, the file that it needs, and what the label adds for a heredoc.

    A line that is nothing but one heredoc is a script: its text goes to the shell, or, with a ``#!`` line, into a file
    that the shell starts. In any other line the documents are the shell's own business, so it gets them as they
    stand in the file.
    """
    if not run.heredocs or not isinstance(run.command, ShellForm):
        return stage.arguments_of(run.command), None, ""
    text = run.command.text
    if parse_opening(text) is None:
        documents = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in run.heredocs)
        return stage.with_shell(text + documents), None, ""
    body = run.heredocs[0].body
    first, *more = body.strip().splitlines() or [""]
    summary = f" ({first}{'...' if more else ''})"
    if body.startswith("#!"):
        script = graph.InlineFile(run.heredocs[0].name, body)
        return stage.with_shell(f"{graph.SCRIPTS}/{script.name}"), script, summary
    return stage.with_shell(body), None, summary


def lower_workdir(stage: Stage, workdir: Workdir) -> None:
    """WORKDIR: relative to the one before; ``/`` makes no layer."""
    written = stage.expanded(workdir).path
    path = written if written.startswith("/") else cleaned(f"{stage.directory}/{written}")
    stage.change(working_dir=path)
    if cleaned(path) != "/":
        stage.step(graph.MakeDirectory(stage.tip, cleaned(path), stage.config.user), stage.label(workdir), workdir.span)
    stage.record(f"WORKDIR {path}", has_layer=cleaned(path) != "/")


def cleaned(path: str) -> str:
    """An absolute path without ``.``, ``..`` and double slashes; ``..`` stops at the root."""
    return "/" + posixpath.normpath(f"/{path}").lstrip("/")
