"""A project's policy: how it is looked after, which is no part of what runs and so no part of a release. Pure.

Hooks, ages and windows come from the fleet file that was applied last. A plan carries the policy that it was made
under; when it has been carried out that one is in force, for the agent as well. A rollback does not bring an old one
back: to go back to last week's image is no reason to send news to last week's address.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bennu.compose.extension import Hooks, Window
from bennu.compose.model import Project
from bennu.compose.struct import Value


class Origin(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Where a release came from: the directory and the files that were read there, and the commit if there is one.

    ``files`` are absolute. ``reference`` is the branch or tag that ``commit`` was the tip of, ``repository`` where.
    """

    directory: str
    files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    commit: str | None = None
    reference: str | None = None
    repository: str | None = None


class Policy(Value, frozen=True, kw_only=True, omit_defaults=True):
    """What the fleet file says about the project as a whole, besides what is kept."""

    hooks: Hooks = Hooks()
    max_age_seconds: float | None = None
    rebuild: bool = False
    windows: tuple[Window, ...] = ()
    jitter_seconds: float = 0.0
    directory: str = "/"
    """Where the file of this policy is, and commands of its hooks run."""
    origin: Origin | None = None
    """Where the release that runs came from: after a rollback that is not where the policy came from."""


NO_POLICY: Final = Policy()


def policy_of(project: Project, origin: Origin) -> Policy:
    """The policy that a fleet file is."""
    return Policy(
        hooks=project.x_bennu.hooks,
        max_age_seconds=project.x_bennu.max_age_seconds,
        rebuild=project.x_bennu.rebuild,
        windows=project.x_bennu.windows,
        jitter_seconds=project.x_bennu.jitter_seconds,
        directory=project.directory,
        origin=origin,
    )


def origin_of(project: Project, profiles: tuple[str, ...] = ()) -> Origin:
    """Where a fleet file that lies in a directory came from; its files are as they were named."""
    return Origin(directory=project.directory, files=project.files, profiles=profiles)


def returned(policy: Policy | None, origin: Origin | None) -> Policy:
    """The policy after a rollback to a release of that origin: as it is now, of another release."""
    return msgspec.structs.replace(policy or NO_POLICY, origin=origin)
