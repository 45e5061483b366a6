"""One commit deployed: its files in a directory of their own, then what ``bennu apply --yes`` does there.

What both ways of deploying by git have in common: a push (``git receive``) and a repository elsewhere (``follow``).
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bennu.cli.context import Context

if TYPE_CHECKING:
    from bennu.wiring import Fleet

TURN = "1h"
"""How long a deploy waits for another one of the project."""


class Deployment(NamedTuple):
    """What is deployed. ``name`` is what the project is called if the file and ``project`` do not say; ``file`` is
    within the commit; ``variables`` a file with more variables for it, if it is there.
    """

    commit: str
    reference: str
    repository: str
    name: str
    by: str
    project: str = ""
    file: str = ""
    profiles: tuple[str, ...] = ()
    variables: Path | None = None


def deploy(what: Deployment, fill: Callable[[Path], None], fleet: Fleet, context: Context) -> None:
    """Deploy a commit whose files ``fill`` puts into a directory. Raises what ``bennu apply`` does."""
    from bennu.cli import apply
    from bennu.cli.command import GLOBAL
    from bennu.cli.parser import parse
    from bennu.deploy import checkouts
    from bennu.errors import NotFound

    where = checkouts.place(fleet.settings, what.repository, what.commit, what.name)
    checkouts.ensure(where, fill, fleet.settings.temporary)
    environ = _environ(what, context)
    words = ["--yes", "--wait", TURN, "--progress", "plain", "--by", what.by, "--commit", what.commit]
    words += ["--reference", what.reference, "--repository", what.repository]
    words += [word for profile in what.profiles for word in ("--profile", profile)]
    words += ["--project-name", what.project] if what.project else []
    if what.file:
        file = where / what.file
        if not file.resolve().is_relative_to(where) or not file.is_file():
            raise NotFound(f"commit {what.commit[:10]} has no file {what.file!r}")
        words += ["--file", str(file)]
    before = Path.cwd()
    os.chdir(where)
    try:
        inside = Context(
            environ, stdin=io.StringIO(), stdout=context.stderr, stderr=context.stderr, root=str(fleet.settings.root)
        )
        apply.run(parse(apply.COMMAND, words, environ, extra=GLOBAL).arguments, inside)
    finally:
        os.chdir(before)
        checkouts.sweep(fleet.settings, fleet.history, besides=(where,))


def _environ(what: Deployment, context: Context) -> dict[str, str]:
    """The variables of this process without git's own and what would name another file, then ``variables``."""
    from bennu.compose import dotenv

    environ = {
        name: value
        for name, value in context.environ.items()
        if not name.startswith("GIT_") and name not in ("COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES")
    }
    if what.variables is not None and what.variables.is_file():
        environ |= dotenv.parse(what.variables.read_text(), str(what.variables), environ)
    return environ
