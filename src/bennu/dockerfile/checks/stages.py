"""What is known of one stage, instruction by instruction: the variables in force, and what was already said.

``State`` is the one owner of it. A stage begins with what its base has: the environment of an image, everything of a
stage. ``settings`` asks it and changes it; ``outline`` reads what the stage asked of whoever builds.
"""

from __future__ import annotations

import msgspec

from bennu.dockerfile.instructions import Arg, Instruction, Run
from bennu.oci.image_config import ImageConfig

_ALWAYS = "PATH"


class Argument(msgspec.Struct, frozen=True):
    """An ARG of a stage: its value, None without one. ``is_global``: the stage only names an ARG of the whole file."""

    value: str | None
    instruction: Arg
    is_global: bool


class Need(msgspec.Struct, frozen=True):
    """A secret or an agent that a RUN mounts, by its id."""

    required: bool
    instruction: Run


class State:
    """``variables`` are ENV and ARG with their values; ``declared`` the names of all ARGs, those without a value too.

    ``missing`` names the base image that is not at hand, whose variables are not known therefore. ``last`` holds the
    newest CMD, ENTRYPOINT and HEALTHCHECK of this stage; ``arguments``, ``secrets`` and ``agents`` are what it asks of
    whoever builds, without what its base asks.
    """

    def __init__(self, image: ImageConfig | None = None, *, missing: str | None = None) -> None:
        self.variables: dict[str, str] = {_ALWAYS: ""}
        self.declared: set[str] = set()
        self.has_shell = False
        self.has_directory = False
        self.missing = missing
        self.last: dict[type[Instruction], Instruction] = {}
        self.arguments: dict[str, Argument] = {}
        self.secrets: dict[str, Need] = {}
        self.agents: dict[str, Need] = {}
        if image is not None:
            self.variables.update(image.config.environment)
            self.has_shell = bool(image.config.shell)

    @classmethod
    def upon(cls, base: State) -> State:
        """A stage that goes on from another."""
        state = cls(missing=base.missing)
        state.variables = dict(base.variables)
        state.declared = set(base.declared)
        state.has_shell = base.has_shell
        state.has_directory = base.has_directory
        return state
