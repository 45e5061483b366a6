"""``bennu git receive``: what the hooks of ``bennu git init`` run. Reads from git what is being pushed.

One push at a time: a second one waits for the first, and is refused if that moved the branch. What is being pushed is
only there for this process until the hook has ended well, so files are written out before anything else.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from bennu.cli.command import Arguments, Command, operand
from bennu.cli.context import Context

if TYPE_CHECKING:
    from bennu.deploy.bare import Bare
    from bennu.wiring import Fleet

LANDING_SECONDS = 60.0
"""So long git may take from the end of the hook until the branch has moved."""

COMMAND = Command(
    "git receive",
    "Deploy what is being pushed, as a hook of git",
    (operand("HOOK", help="Its name", choices=("pre-receive", "post-receive")),),
    description="Run by git in a repository that `bennu git init` has made.",
    reads_stdin="a line for each reference: old object, new object, name",
)


def run(args: Arguments, context: Context) -> int:
    """Deploy if the branch is pushed and this is the hook for it; 1 refuses the push."""
    from pathlib import Path

    from bennu.cli.patient import Patient
    from bennu.deploy.bare import HEADS, Bare
    from bennu.wiring import Fleet

    context.stdout = context.stderr = Patient(context.stderr)
    repository = Bare(Path(context.environ.get("GIT_DIR") or ".").absolute(), context.environ)
    for name in [each for each in os.environ if each.startswith("GIT_")]:
        del os.environ[name]  # what is started from here must not take this repository for its own
    updates = [line.split() for line in context.stdin.read().splitlines()]
    ours = [each for each in updates if each[2] == f"{HEADS}{repository.branch}"]
    is_before = args.hook == "pre-receive"
    if is_before:
        _say_ignored([each[2] for each in updates if each not in ours], repository, context)
    if not ours:
        return 0
    old, new, _ = ours[0]
    if is_before and not new.strip("0"):
        context.say(f"bennu: {repository.branch} is what is deployed and stays; `bennu down` takes the project down")
        return 1
    with Fleet(context.settings) as fleet:
        if is_before == repository.deploys_before:
            return _deploy(repository, old, new, fleet, context)
        if not is_before:
            fleet.commits.end(repository.source, repository.commit_of(new), "landed")
    return 0


def _say_ignored(names: list[str], repository: Bare, context: Context) -> None:
    for name in names:
        short = name.removeprefix("refs/heads/").removeprefix("refs/tags/")
        context.say(f"bennu: {short} is kept and not deployed; {repository.branch} is what is deployed")


def _deploy(repository: Bare, old: str, new: str, fleet: Fleet, context: Context) -> int:
    from bennu.cli.commit import Deployment, deploy
    from bennu.errors import BennuError
    from bennu.host import locks

    commit = repository.commit_of(new)
    name, subject = repository.about(commit)
    owner = f"push of {commit[:10]} by {name}, pid {os.getpid()}"
    with locks.held(
        repository.directory / "bennu.lock", owner=owner, on_wait=lambda who: context.say(f"bennu: waiting for {who}")
    ):
        moved = _moved(repository, old, commit, fleet)
        if moved:
            context.say(f"bennu: {moved}")
            return 1
        context.say(f"bennu: deploying {commit[:10]} ({subject}) of {repository.branch}")
        fleet.commits.begin(repository.source, commit, time.time(), parent=old)
        try:
            deploy(
                Deployment(
                    commit=commit,
                    reference=repository.branch,
                    repository=str(repository.directory),
                    name=repository.name,
                    by=f"push of {commit[:10]} by {name}",
                    project=repository.setting("project"),
                    file=repository.setting("file"),
                    variables=repository.directory / "bennu.env",
                ),
                lambda directory: repository.write_out(commit, directory),
                fleet,
                context,
            )
        except BennuError as error:
            fleet.commits.end(repository.source, commit, "failed", error.message)
            raise
        except BaseException:
            fleet.commits.forget(repository.source, commit)
            raise
        fleet.commits.end(repository.source, commit, "deployed" if repository.deploys_before else "landed")
    return 0


def _moved(repository: Bare, old: str, commit: str, fleet: Fleet) -> str:
    """Why a push cannot be deployed any more: another one was first. Empty if it can."""
    tip = repository.tip()
    if not repository.deploys_before:
        return (
            "" if tip == commit else f"{repository.branch} has moved on to {str(tip)[:10]}, which is deployed instead"
        )
    again = "fetch, merge, and push again"
    if tip != (old if old.strip("0") else None):
        return f"{repository.branch} has moved to {str(tip)[:10]} by another push: {again}"
    last = fleet.commits.last(repository.source)
    fresh = last is not None and 0 <= time.time() - last.tried < LANDING_SECONDS
    if last is not None and last.state == "deployed" and last.commit not in (tip, commit) and fresh:
        return f"another push has just deployed {last.commit[:10]} and moves {repository.branch}: {again}"
    return ""
