"""``bennu git init``: a bare repository that deploys what is pushed to it."""

from __future__ import annotations

import sys

from bennu.cli.command import PROJECT_NAME, Arguments, Command, operand, option, switch
from bennu.cli.context import Context

COMMAND = Command(
    "git init",
    "Make a repository that deploys what is pushed to it",
    (
        operand(
            "DIR", dest="directory", help="Where; ./NAME.git of the working directory unless given", required=False
        ),
        PROJECT_NAME,
        option("-f", "--file", metavar="FILE", help="Compose file within the repository", complete="file"),
        option("-b", "--branch", metavar="NAME", help="The branch that is deployed", default="main"),
        switch("--after", help="Deploy after the branch has moved: a push never fails"),
    ),
    description=(
        "Whoever pushes the branch sees the build, the validation and the switch as they happen. A push that cannot be "
        "built, is not valid or does not become ready is refused: nothing has changed then, the branch neither, and "
        "`git push` ends with 1. With --after the branch moves first, and the push ends well whatever becomes of the "
        "deploy. Other branches and tags are kept and not deployed. Variables for the Compose file that do not belong "
        "in the repository stand in bennu.env of the directory. To do it again changes the settings."
    ),
    examples=(
        ("bennu git init /srv/shop.git", "then: git push ssh://root@host/srv/shop.git main"),
        ("bennu git init -b production shop.git", "deploy another branch"),
    ),
)


def run(args: Arguments, context: Context) -> int:
    """Make it, and say what to type."""
    import socket
    from pathlib import Path

    from bennu.deploy import bare

    directory = Path(args.directory) if args.directory else Path(f"{Path.cwd().name}.git")
    directory = directory.absolute()
    hook = [sys.executable, "-m", "bennu", "--root", str(context.settings.root), "git", "receive"]
    made = bare.init(
        directory, hook, branch=args.branch, project=args.project or "", file=args.file or "", after=args.after
    )
    context.print(str(made.directory))
    context.say(f"git push {directory} {made.branch}            deploys, from this host")
    context.say(f"git push ssh://{socket.gethostname()}{directory} {made.branch}     from elsewhere")
    return 0
