"""Checks of what instructions do in their stage, with the variables in force. Each is a rule of the reference.

``CHECKS`` says which look at which instruction; ``step`` runs them and carries the ``State`` over the instruction. An
instruction whose variables cannot be put in is passed over: the build refuses it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from bennu.dockerfile import mounts, spelling
from bennu.dockerfile.checks.facts import Facts
from bennu.dockerfile.checks.report import Report, variable
from bennu.dockerfile.checks.stages import Argument, Need, State
from bennu.dockerfile.expansion import Expanded, ExpansionError, Options, expand
from bennu.dockerfile.fields import expand_instruction, expand_value
from bennu.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Run,
    Shell,
    ShellForm,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from bennu.dockerfile.mounts import MountType
from bennu.errors import Invalid

_SECRETS: Final = frozenset(
    ("apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token")
)
_NO_SECRETS: Final = frozenset(("public", "file", "version"))
_NEVER_SET: Final = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})
_REMOTE: Final = ("http://", "https://", "git://", "ssh://", "git@")
_EVERYTHING: Final = frozenset({"*", "**", "**/*"})


class Scene(msgspec.Struct, frozen=True):
    """Where a check looks: the stage so far, what is known besides it, the global ARGs, the file's escape."""

    state: State
    facts: Facts
    values: Mapping[str, str]
    escape: str
    report: Report


def step(scene: Scene, instruction: Instruction) -> None:
    """Check one instruction and go on behind it."""
    try:
        found = expand_instruction(instruction, scene.state.variables, scene.escape)
    except Invalid:
        return
    if isinstance(instruction, _REPORTED):
        undefined_var(scene, instruction, found.unset)
    for one in CHECKS.get(type(instruction), ()):
        one(scene, found.instruction)


def undefined_var(scene: Scene, instruction: Instruction, unset: frozenset[str]) -> None:
    """UndefinedVar. An ARG without a value is defined."""
    state = scene.state
    for name in sorted(unset - state.declared - _NEVER_SET):
        guess = spelling.nearest(name, sorted({*state.variables, *state.declared}))
        hint = f", did you mean ${guess}?" if guess else ""
        if state.missing and not guess:
            hint = f", unless the image {state.missing} sets it, which is not at hand"
        scene.report.of(instruction, "UndefinedVar", f"${name} is not set here{hint}", variable(instruction, name))


def _mounted(scene: Scene, run: Run) -> None:
    """UndefinedVar in ``RUN --mount``, and what the mounts need."""
    unset: set[str] = set()

    def expander(word: str) -> str:
        found = expand(word, scene.state.variables, Options(escape=scene.escape))
        unset.update(found.unset)
        return found.text

    for flag in run.mounts:
        try:
            mount = mounts.resolve(flag, expander)
        except Invalid:
            continue
        if mount.type is MountType.SECRET:
            name = mount.source or mount.id or posixpath.basename(mount.target)
            scene.state.secrets.setdefault(name, Need(mount.required, run))
        elif mount.type is MountType.SSH:
            scene.state.agents.setdefault(mount.id or "default", Need(mount.required, run))
    undefined_var(scene, run, frozenset(unset))


def _arg(scene: Scene, arg: Arg) -> None:
    """UndefinedVar and SecretsUsedInArgOrEnv, name by name: each sees those before it."""
    state, given = scene.state, scene.facts.build_args
    for declaration in arg.declarations:
        name = declaration.name
        _secret(scene, arg, "ARG", name)
        value = given.get(name)
        if value is None and declaration.default is not None:
            try:
                found: Expanded = expand_value(declaration.default, state.variables, arg.span, scene.escape)
            except (Invalid, ExpansionError):
                return
            undefined_var(scene, arg, found.unset)
            value = found.text
        elif value is None:
            value = scene.values.get(name)
        is_global = declaration.default is None and name not in given and name in scene.values
        state.arguments[name] = Argument(value, arg, is_global)
        state.declared.add(name)
        if value is not None and name not in _NEVER_SET:
            state.variables[name] = value


def _env(scene: Scene, env: Env) -> None:
    """LegacyKeyValueFormat and SecretsUsedInArgOrEnv."""
    legacy_key_value_format(scene, env)
    for pair in env.pairs:
        _secret(scene, env, "ENV", pair.key)
        scene.state.variables[pair.key] = pair.value


def _secret(scene: Scene, instruction: Instruction, what: str, name: str) -> None:
    """SecretsUsedInArgOrEnv: by the words of the name, with underscores between them."""
    words = name.lower().split("_")
    if not _SECRETS.isdisjoint(words) and _NO_SECRETS.isdisjoint(words):
        scene.report.of(
            instruction,
            "SecretsUsedInArgOrEnv",
            f"{what} '{name}' looks like a secret, which would stay in the image: use RUN --mount=type=secret",
            instruction.span.narrow(name),
        )


def legacy_key_value_format(scene: Scene, instruction: Env | Label) -> None:
    """LegacyKeyValueFormat."""
    if instruction.legacy:
        keyword = instruction.keyword.upper()
        message = f"{keyword} without an equals sign is an old form, write {keyword} {instruction.pairs[0].key}=VALUE"
        scene.report.of(instruction, "LegacyKeyValueFormat", message)


def used_once(scene: Scene, instruction: Instruction) -> None:
    """MultipleInstructionsDisallowed: the place is that of the one before, which counts for nothing."""
    before = scene.state.last.get(type(instruction))
    if before is not None:
        keyword = instruction.keyword
        options = scene.report.options.under(instruction.comments)
        message = f"another {keyword} below takes the place of this one (line {instruction.span.line})"
        scene.report.add("MultipleInstructionsDisallowed", before.span, message, options=options)
    scene.state.last[type(instruction)] = instruction


def json_args_recommended(scene: Scene, instruction: Cmd | Entrypoint) -> None:
    """JSONArgsRecommended. A stage with a SHELL of its own is taken to mean it."""
    if isinstance(instruction.command, ShellForm) and not scene.state.has_shell:
        keyword = instruction.keyword.upper()
        scene.report.of(
            instruction,
            "JSONArgsRecommended",
            f'{keyword} runs in a shell, which keeps signals from the program: write {keyword} ["PROGRAM", ...]',
        )


def _shell(scene: Scene, _: Shell) -> None:
    scene.state.has_shell = True


def workdir_relative_path(scene: Scene, workdir: Workdir) -> None:
    """WorkdirRelativePath: only the first WORKDIR; those behind it stand on it."""
    if not scene.state.has_directory and not workdir.path.startswith("/"):
        message = f"'{workdir.path}' begins wherever the base image happens to be, write an absolute path"
        scene.report.of(workdir, "WorkdirRelativePath", message, workdir.span.narrow(workdir.path))
    scene.state.has_directory = True


def copy_ignored_file(scene: Scene, instruction: Add | Copy) -> None:
    """CopyIgnoredFile. Rules that take something back are not judged: a part of what is left out may come back."""
    rules = scene.facts.rules
    if isinstance(instruction, Copy) and instruction.from_ is not None:
        return
    if rules is None or any(pattern.startswith("!") for pattern in rules.patterns):
        return
    for written in instruction.sources:
        if written.startswith(_REMOTE):
            continue
        source = posixpath.normpath(written)
        source = source[1:] if source.startswith("//") else source
        if source in (".", "/") and _EVERYTHING.isdisjoint(rules.patterns):
            continue
        if rules.excludes(source):
            message = f"'{source}' is left out by .dockerignore"
            scene.report.of(instruction, "CopyIgnoredFile", message, instruction.span.narrow(written))


def expose(scene: Scene, instruction: Expose) -> None:
    """ExposeProtoCasing and ExposeInvalidFormat."""
    for written in instruction.ports:
        *host, port = written.split(":")
        protocol = port.partition("/")[2]
        at = instruction.span.narrow(written)
        if protocol != protocol.lower():
            message = f"the protocol of '{written}' is not in lower case"
            scene.report.of(instruction, "ExposeProtoCasing", message, at)
        if any(host):
            message = f"'{written}' has an address or a port of the host, which means nothing here: write {port}"
            scene.report.of(instruction, "ExposeInvalidFormat", message, at)


_REPORTED: Final = (Add, Copy, Env, Label, StopSignal, User, Volume, Workdir)
"""The instructions in which UndefinedVar looks at all that is expanded: not EXPOSE, as in BuildKit."""

CHECKS: Final[Mapping[type[Instruction], tuple[Callable[[Scene, Any], None], ...]]] = {
    Add: (copy_ignored_file,),
    Arg: (_arg,),
    Cmd: (used_once, json_args_recommended),
    Copy: (copy_ignored_file,),
    Entrypoint: (used_once, json_args_recommended),
    Env: (_env,),
    Expose: (expose,),
    Healthcheck: (used_once,),
    Label: (legacy_key_value_format,),
    Run: (_mounted,),
    Shell: (_shell,),
    Workdir: (workdir_relative_path,),
}
