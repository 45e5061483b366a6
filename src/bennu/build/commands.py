"""RUN and WORKDIR: the steps that a process or a directory is. Pure.

A RUN is complete once it is lowered: arguments with their shell, the environment, the directory, the user. What is
refused here by name is what the runner does not do. ``copies`` does the steps that bring files.
"""

from __future__ import annotations

import posixpath
from typing import cast

from bennu.build import graph, history
from bennu.build.stages import Stage
from bennu.dockerfile.heredoc import parse_opening
from bennu.dockerfile.instructions import Run, ShellForm, Workdir


def lower_run(stage: Stage, run: Run) -> None:
    """RUN. Raises ``Unsupported`` at the flag that is not built."""
    _refuse(run)
    arguments, script, summary = _arguments(stage, run)
    step = graph.Run(
        parent=stage.tip,
        arguments=arguments,
        environment=tuple(f"{name}={value}" for name, value in stage.variables.items()),
        directory=stage.directory,
        user=stage.config.user,
        network=cast("graph.Network", run.network or "default"),
        script=script,
        proxies=stage.build.proxies,
    )
    stage.step(step, stage.label(run, addition=summary, is_command=True), run.span)
    in_force = {name: stage.variables.get(name, value) for name, value in stage.arguments.items()}
    stage.record(history.run(arguments, in_force), has_layer=True)


def _refuse(run: Run) -> None:
    if run.mounts:
        raise run.mounts[0].span.unsupported("RUN: --mount is not built", "copy what the command needs with COPY")
    if run.security == "insecure":
        raise run.span.narrow("--security").unsupported("RUN: --security=insecure is not built", "leave the flag out")
    if run.devices:
        raise run.span.narrow("--device").unsupported("RUN: --device is not built", "leave the flag out")


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
