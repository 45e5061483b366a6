"""Saved plans as files of a command line: written whole or not at all, read with everything checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bennu.cli.context import Context
from bennu.errors import AlreadyExists, BennuError, Conflict, Failed, Invalid, NotFound, Usage

if TYPE_CHECKING:
    from bennu.cli.command import Arguments
    from bennu.deploy.planning.file import SavedPlan
    from bennu.wiring import Fleet

MODE: Final = 0o600
"""It holds environments: for its owner's eyes."""
LIMIT_BYTES: Final = 64 << 20


def check_place(name: str) -> Path:
    """Where a plan is to be saved. ``Usage``, ``NotFound`` or ``AlreadyExists`` before anything is built for it."""
    from bennu.deploy.planning.file import is_saved_plan

    if name == "-":
        raise Usage("a saved plan goes to a file", "`bennu plan --format json` prints a plan for other programs")
    path = Path(name)
    if not path.parent.is_dir():
        raise NotFound(f"directory {str(path.parent)!r} does not exist")
    if path.is_dir():
        raise AlreadyExists(f"{name!r} is a directory", "name a file in it")
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            if not is_saved_plan(file.read(100)):
                raise AlreadyExists(f"file {name!r} exists and is not a saved plan", "give another name")
    return path


def write(fleet: Fleet, saved: SavedPlan, path: Path) -> None:
    """Write it, and keep its images for it."""
    from bennu.deploy.planning.file import digest, encode
    from bennu.host.files import write_atomic

    images = [entry.image for entry in saved.release.services.values()]
    fleet.history.save_plan(digest(saved), saved.plan, images, saved.made)
    try:
        write_atomic(path, encode(saved), mode=MODE)
    except OSError as error:
        raise Failed(f"plan cannot be saved to {str(path)!r}: {error.strerror}") from error


def read(name: str) -> SavedPlan:
    """A saved plan. ``NotFound``, ``Invalid``, ``Unsupported``, ``Corrupt``."""
    from bennu.deploy.planning.file import AGAIN, decode

    try:
        if os.path.getsize(name) > LIMIT_BYTES:
            raise Invalid(f"file {name!r} is not a saved plan", AGAIN)
        return decode(Path(name).read_bytes(), name)
    except FileNotFoundError as error:
        raise NotFound(f"saved plan {name!r} does not exist", AGAIN) from error
    except OSError as error:
        raise Failed(f"saved plan {name!r} cannot be read: {error.strerror}") from error


def check(saved: SavedPlan, args: Arguments, context: Context, fleet: Fleet) -> None:
    """``Conflict`` where it is of another project than the command line's; ``NotFound`` for images that are gone."""
    given = _project(args, context)
    if given is not None and given != saved.plan.project:
        raise Conflict(
            f"saved plan {args.plan!r} is of project {saved.plan.project!r}, and this is project {given!r}",
            f"`bennu apply -p {saved.plan.project} {args.plan}` applies it all the same",
        )
    for service, entry in saved.release.services.items():
        try:
            fleet.images.snapshot(fleet.images.get(entry.image))
        except BennuError as error:
            raise NotFound(
                f"saved plan {args.plan!r}: image {entry.image_name!r} ({entry.image}) of service {service!r} is gone "
                "from the store",
                f"`bennu plan -o {args.plan}` builds it again and makes a new plan",
            ) from error


def _project(args: Arguments, context: Context) -> str | None:
    """The project that the command line means, None where it says nothing; a fleet file that is broken says nothing."""
    from bennu.compose.load import load

    if args.project:
        return str(args.project)
    try:
        return load(args.files, environ=context.environ, name=None, profiles=()).name
    except (BennuError, OSError):
        if args.files:
            raise
        return None
