"""``bennu follow``: deploy every commit of a branch of a repository elsewhere."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bennu.cli.command import PROFILE, PROJECT_NAME, Arguments, Command, operand, option, switch
from bennu.cli.context import Context
from bennu.cli.values import duration_seconds

if TYPE_CHECKING:
    from bennu.build.git_source import Resolved
    from bennu.build.remotes import GitReference
    from bennu.wiring import Fleet

COMMAND = Command(
    "follow",
    "Deploy every commit of a repository elsewhere",
    (
        operand("URL#REF", dest="source", help="Repository, and its branch or tag: the default branch unless given"),
        PROJECT_NAME,
        PROFILE,
        option("-f", "--file", metavar="FILE", help="Compose file within the repository", complete="file"),
        option("--env-file", metavar="FILE", help="Variables for the Compose file", complete="file"),
        option(
            "--interval", metavar="TIME", help="How often to look", default=60.0, convert=duration_seconds,
        ),
        switch("--once", help="Look once; exit with 1 if the commit there is not deployed"),
        switch("--retry", help="Try a commit again that has failed"),
    ),
    description=(
        "Asks the repository what the branch is at, and does with a new commit what a push to a repository of "
        "`bennu git init` does: builds, validates, switches; or leaves everything as it is and says why. A commit that "
        "has failed is not tried again: the next one is. What was tried is remembered in the state directory, so this "
        "can be ended and started at will."
    ),
    examples=(
        ("bennu follow https://git.example/shop.git#main", "look every minute"),
        ("bennu follow --once -p shop /srv/git/shop.git", "for cron"),
    ),
)  # fmt: skip


class Followed(NamedTuple):
    """One branch elsewhere, and the flags that say how it is deployed."""

    reference: GitReference
    name: str
    args: Arguments

    @property
    def source(self) -> str:
        """Its name in the records."""
        return f"{self.reference.shown}#{self.reference.ref}"


def run(args: Arguments, context: Context) -> int:
    """Look, deploy, wait; until a signal ends it, or once."""
    from bennu.digest import sha256_hex
    from bennu.host import locks
    from bennu.wiring import Fleet

    followed = _followed(args)
    key = sha256_hex(followed.source.encode())[:12]
    with (
        Fleet(context.settings) as fleet,
        locks.held(
            context.settings.locks / f"follow-{key}.lock", wait_seconds=0, owner=f"bennu follow, pid {os.getpid()}",
            subject=f"what is followed at {followed.source!r}",
        ),
    ):  # fmt: skip
        if args.once:
            return 0 if _look(followed, fleet, context, retry=args.retry) else 1
        said = ""
        while True:
            said = _patient_look(followed, fleet, context, said, retry=args.retry)
            args.retry = False
            time.sleep(args.interval)


def _patient_look(followed: Followed, fleet: Fleet, context: Context, said: str, *, retry: bool) -> str:
    """One look that ends nothing; what went wrong, which is said once as long as it stays the same."""
    from bennu.cli.report import render
    from bennu.errors import BennuError

    try:
        _look(followed, fleet, context, retry=retry, quiet=bool(said) or not retry)
    except BennuError as error:
        if error.message != said:
            context.stderr.write(render(error, coloured=context.is_coloured(context.stderr)))
            context.stderr.flush()
        return error.message
    return ""


def _look(followed: Followed, fleet: Fleet, context: Context, *, retry: bool, quiet: bool = False) -> bool:
    """Deploy what the branch is at, if that is new; whether it is deployed then. What goes wrong is raised."""
    from bennu.build import git_source

    resolved = git_source.resolve(followed.reference)
    known = fleet.commits.get(followed.source, resolved.commit)
    shown = resolved.commit[:10]
    if known is not None and known.state in {"deployed", "landed"}:
        if not quiet:
            context.say(f"{followed.source}: {shown} is deployed")
        return True
    if known is not None and known.state == "failed" and not retry:
        if not quiet:
            context.say(f"{followed.source}: {shown} has failed and is not tried again ({known.reason}); see --retry")
        return False
    context.say(f"{followed.source}: deploying {shown}")
    _deploy(followed, resolved, fleet, context)
    return True


def _deploy(followed: Followed, resolved: Resolved, fleet: Fleet, context: Context) -> None:
    from bennu.build import git_source
    from bennu.cli.commit import Deployment, deploy
    from bennu.errors import BennuError, Conflict, Unavailable

    args, commit = followed.args, resolved.commit

    def fill(directory: Path) -> None:
        git_source.checkout(followed.reference, resolved, directory, scratch=fleet.settings.temporary)

    fleet.commits.begin(followed.source, commit, time.time())
    what = Deployment(
        commit=commit,
        reference=resolved.ref.removeprefix("refs/heads/").removeprefix("refs/tags/"),
        repository=followed.reference.shown,
        name=followed.name,
        by=f"follow of {commit[:10]}",
        project=args.project or "",
        file=args.file or "",
        profiles=tuple(args.profiles),
        variables=Path(args.env_file).absolute() if args.env_file else None,
    )
    try:
        deploy(what, fill, fleet, context)
    except (Conflict, Unavailable):  # somebody was at it, or something does not answer: no fault of the commit's
        fleet.commits.forget(followed.source, commit)
        raise
    except BennuError as error:
        fleet.commits.end(followed.source, commit, "failed", error.message)
        raise
    except BaseException:
        fleet.commits.forget(followed.source, commit)
        raise
    fleet.commits.end(followed.source, commit, "deployed")


def _followed(args: Arguments) -> Followed:
    """What a URL means: all that git itself takes, a directory of this host too."""
    from bennu.build.remotes import GitReference, parse_git_reference
    from bennu.errors import Invalid

    reference = parse_git_reference(args.source)
    if reference is None:
        remote, _, ref = args.source.partition("#")
        if not remote or remote.startswith("-"):
            raise Invalid(f"{args.source!r} is no repository", "write URL#BRANCH")
        is_here = "://" not in remote and not re.match(r"[^/]+:", remote)
        reference = GitReference(remote=str(Path(remote).absolute()) if is_here else remote, ref=ref)
    last = re.split("[/:]", reference.remote.rstrip("/"))[-1].removesuffix(".git")
    return Followed(reference, last or "project", args)
