"""The verbs, in the order that ``bennu --help`` lists them.

A row is all that help and the search for a verb need; the verb's own file (``bennu.cli.`` and its name, blanks and
dashes as underscores) holds the full ``COMMAND`` and ``run`` and is imported only when that verb is chosen. A test
holds rows and records together. A verb that does not exist has no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from bennu.cli.command import Arguments, Command
    from bennu.cli.context import Context

    Run = Callable[[Arguments, Context], int]


class Row(NamedTuple):
    """One verb as the listing knows it. ``aliases`` are other names that people bring along (``image ls``)."""

    name: str
    summary: str
    aliases: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The module that holds ``COMMAND`` and ``run``."""
        return "bennu.cli." + self.name.replace(" ", "_").replace("-", "_")


GROUPS: dict[str, tuple[Row, ...]] = {
    "Fleet": (
        Row("apply", "Make what runs equal to the Compose file"),
        Row("plan", "Show what apply would change"),
        Row("rollback", "Put an earlier revision back into service"),
        Row("reprovision", "Make services again from scratch"),
        Row("status", "Show a project: sets, replicas, traffic, revision"),
        Row("drift", "Show what is not as it was made"),
        Row("history", "Show who changed a project when, and what came of it"),
        Row("releases", "List the releases of a project, and what is kept of them"),
        Row("diff", "Show what differs between two revisions, or to the Compose file"),
        Row("hold", "Let one replica drift, for a time"),
        Row("hold ls", "List the holds of a project", ("hold list",)),
        Row("hold show", "Show a hold and the journal of what drifted in it"),
        Row("down", "Stop and remove a project"),
        Row("hooks", "Show what is told to whom, and what could not be"),
        Row("git init", "Make a repository that deploys what is pushed to it"),
        Row("git receive", "Deploy what is being pushed, as a hook of git"),
        Row("follow", "Deploy every commit of a repository elsewhere"),
        Row("config", "Check the Compose file and print it resolved"),
    ),
    "Images": (
        Row("build", "Build an image from a Dockerfile, or those of a Compose file", ("image build",)),
        Row("why", "Say why the steps of a build ran again"),
        Row("shell", "Open a shell in an image, or where a build failed"),
        Row("builder du", "Show what the build cache takes on the disk"),
        Row("builder prune", "Remove the build cache"),
        Row("builder export", "Write the content of a cache mount to a file"),
        Row("images", "List images", ("image ls", "image list")),
        Row("tag", "Give an image a name", ("image tag",)),
        Row("rmi", "Remove images", ("image rm", "image remove")),
        Row("image history", "Show how an image came to be"),
        Row("save", "Write images to a file", ("image save",)),
        Row("load", "Load images from a file", ("image load",)),
        Row("pull", "Fetch images from a registry", ("image pull",)),
        Row("push", "Send images to a registry", ("image push",)),
        Row("copy", "Copy an image from one registry to another"),
        Row("login", "Log in to a registry"),
        Row("logout", "Log out from a registry"),
        Row("registry ls", "List the tags of a repository in its registry"),
        Row("manifest inspect", "Show the manifest that a name means in its registry"),
        Row("image inspect", "Show everything about images"),
        Row("image diff", "Show what is different inside two images"),
        Row("image bootstrap", "Make a base image from a distribution's packages"),
    ),
    "Containers": (
        Row("run", "Run a command in a new container", ("container run",)),
        Row("ps", "List containers", ("container ls", "container list", "container ps")),
        Row("logs", "Show what a container wrote", ("container logs",)),
        Row("exec", "Run a command in a running container", ("container exec",)),
        Row("attach", "Attach to a running container", ("container attach",)),
        Row("inspect", "Show everything about containers or images", ("container inspect",)),
        Row("start", "Start containers that do not run", ("container start",)),
        Row("stop", "Stop running containers", ("container stop",)),
        Row("kill", "Send a signal to running containers", ("container kill",)),
        Row("wait", "Wait until containers have ended, and print their exit statuses", ("container wait",)),
        Row("rm", "Remove containers", ("container rm", "container remove")),
    ),
    "Volumes": (
        Row("volume create", "Create a volume"),
        Row("volume ls", "List volumes", ("volume list",)),
        Row("volume inspect", "Show everything about volumes"),
        Row("volume rm", "Remove volumes and what they hold", ("volume remove",)),
        Row("volume prune", "Remove volumes that nothing uses"),
        Row("volume backup", "Write what a volume holds to a file"),
        Row("volume restore", "Put back what a volume held"),
        Row("volume snapshots", "List the snapshots of volumes", ("volume snapshot ls", "volume snapshot")),
        Row("volume snapshot-rm", "Remove snapshots of volumes", ("volume snapshot rm",)),
    ),
    "Host": (
        Row("agent run", "Tend the fleet: health checks, restarts, kept sets"),
        Row("agent install", "Install the agent as a unit of systemd"),
        Row("agent status", "Say whether the agent runs"),
        Row("system reset", "Remove everything in a state directory"),
        Row("doctor", "Say what this host lacks and the command that installs it"),
        Row("gc", "Remove what nothing needs any more"),
        Row("system df", "Show what the store takes on the disk"),
        Row("completion", "Print the completion script of a shell"),
        Row("man", "Print the manual page"),
        Row("version", "Show the version"),
    ),
}  # fmt: skip


def rows() -> tuple[Row, ...]:
    """Every row, in the order of the listing."""
    return tuple(row for group in GROUPS.values() for row in group)


def find(words: list[str]) -> tuple[Row, int] | None:
    """The row that the longest leading run of ``words`` names, and how many words that took."""
    names = {name: row for row in rows() for name in (row.name, *row.aliases)}
    for count in (3, 2, 1):
        row = names.get(" ".join(words[:count]))
        if row is not None and len(words) >= count:
            return row, count
    return None


def load(row: Row) -> tuple[Command, Run]:
    """Import the verb's module and give its record, with the group that the table puts it in, and its ``run``."""
    from importlib import import_module

    module = import_module(row.module)
    group = next(name for name, members in GROUPS.items() if row in members)
    command: Command = module.COMMAND
    run: Run = module.run
    return command._replace(group=group), run
