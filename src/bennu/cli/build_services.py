"""``bennu build`` without a CONTEXT: the images of a Compose file's services, all at once.

Flags that say what one image is (``--tag``, ``--target``) make no sense for several and are refused; those about how it
is built count for all of them. ``bennu.build.batch`` builds.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.build_flags import FLAGS, SERVICES, SHOWN, STEPS
from bennu.cli.build_flags import SANDBOX as AROUND
from bennu.cli.command import Arg, Arguments
from bennu.cli.context import Context

if TYPE_CHECKING:
    from bennu.compose.model import Project
    from bennu.deploy.images import Wanted

ONE_IMAGE = frozenset({"target", "verify"})


def run_services(args: Arguments, context: Context) -> int:
    """Build, name, tell: one line an image."""
    from bennu.cli.build_progress import watched
    from bennu.cli.build_request import common
    from bennu.cli.build_summary import summary
    from bennu.wiring import Fleet

    started = time.monotonic()
    _refuse_flags_of_one_image(args)
    project, wanted = _wanted(args, context)
    prototype = common(args, context)
    with Fleet(context.settings) as fleet, watched("quiet" if args.quiet else args.progress, context) as listener:
        built = fleet.build_services(wanted, prototype, listener)
    for name, each in built.items():
        if args.quiet:
            context.print(each.image.id)
        elif args.progress != "quiet":
            summary(each, time.monotonic() - started, context, of=", ".join(wanted[name].services))
    if not built and args.progress != "quiet":
        context.say(f"project {project.name}: no service has a build section, there is nothing to build")
    return 0


def _wanted(args: Arguments, context: Context) -> tuple[Project, dict[str, Wanted]]:
    """The project, and what is to be built of it. ``Usage`` where no Compose file can have been meant."""
    from bennu.cli.fleet import load_project
    from bennu.deploy.images import wanted_images
    from bennu.errors import NotFound, Usage

    for file in args.files:
        if file != "-" and not file.endswith((".yaml", ".yml")):
            raise Usage(
                f"--file {file!r} without a CONTEXT is a Compose file, and that is none by its name",
                f"`bennu build -f {file} .` builds that Dockerfile",
            )
    try:
        project = load_project(args, context)
    except NotFound as error:
        if args.files:
            raise
        raise Usage(
            f"there is no CONTEXT, and {error.message}", "`bennu build .` builds the Dockerfile here"
        ) from error
    wanted = wanted_images(project, args.services or None)
    for service in args.services:
        if project.services[service].build is None:
            raise Usage(
                f"service {service!r} has no build section: its image is {project.image_name(service)!r}",
                "`bennu load` and `bennu image bootstrap` bring images in",
            )
    return project, wanted


def _refuse_flags_of_one_image(args: Arguments) -> None:
    from bennu.errors import Usage

    shared = {arg.dest for arg in (*STEPS, *AROUND, *SHOWN, *SERVICES)} - ONE_IMAGE | {"pull"}
    for arg in FLAGS:
        if arg.dest not in {*shared, "context", "files", "labels"} and _is_given(arg, args):
            raise Usage(
                f"{arg.label} is about one image, and without a CONTEXT all services of the Compose file are built",
                f"`bennu build {arg.label} ... .` builds the Dockerfile here",
            )


def refuse_flags_of_services(args: Arguments) -> None:
    """``Usage`` for what says which services, where a CONTEXT says that there are none."""
    from bennu.errors import Usage

    for arg in SERVICES:
        if _is_given(arg, args):
            raise Usage(
                f"{arg.label} is about a Compose file, and CONTEXT {args.context!r} is built by its Dockerfile",
                f"`bennu build {arg.label} ...` without a CONTEXT",
            )
    if len(args.files) > 1:
        raise Usage(f"--file is given {len(args.files)} times, and a Dockerfile is one file", "give it once")


def _is_given(arg: Arg, args: Arguments) -> bool:
    return bool(getattr(args, arg.dest)) and getattr(args, arg.dest) != arg.default
