"""The way in: all checks of one file, in the order in which BuildKit would speak. Pure.

First how the file is written, then every FROM, then the stages that are needed, one instruction after the other. A
file that does not parse never comes here.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bennu.dockerfile.checks import origins, writing
from bennu.dockerfile.checks.facts import Facts, needed
from bennu.dockerfile.checks.options import Options
from bennu.dockerfile.checks.report import Report
from bennu.dockerfile.checks.settings import Scene, step
from bennu.dockerfile.checks.stages import State
from bennu.dockerfile.fields import expand_instruction
from bennu.dockerfile.global_args import global_values
from bennu.dockerfile.instructions import Dockerfile, From, Instruction, Onbuild
from bennu.dockerfile.parser import parse_trigger
from bennu.dockerfile.warning import Warning  # noqa: A004 - the word of the Dockerfile reference
from bennu.errors import Invalid
from bennu.oci.platform import Platform, parse_platform

SCRATCH = "scratch"


def check(dockerfile: Dockerfile, facts: Facts, options: Options) -> tuple[Warning, ...]:
    """The warnings, by line. What the build refuses is passed over, as far as it goes."""
    report = Report(options)
    writing.check(dockerfile, report)
    try:
        values = global_values(dockerfile, facts.predefined, facts.build_args)
    except Invalid:
        return report.warnings
    origins.check(dockerfile, facts, values, report)
    Walk(dockerfile, facts, values, report).run()
    return report.warnings


class Walk:
    """One pass over the stages. ``states`` are how those that are done end; ``origins`` every FROM, expanded."""

    def __init__(self, dockerfile: Dockerfile, facts: Facts, values: Mapping[str, str], report: Report) -> None:
        self.dockerfile = dockerfile
        self.facts = facts
        self.values = values
        self.report = report
        self.origins = [self._origin(stage.from_) for stage in dockerfile.stages]
        self.states: dict[int, State] = {}

    def _origin(self, origin: From) -> From:
        try:
            return expand_instruction(origin, self.values, self.dockerfile.escape).instruction
        except Invalid:
            return origin

    def run(self) -> None:
        """Go through the stages that are needed."""
        for index in needed(self.dockerfile, self.origins, self.facts.target):
            stage = self.dockerfile.stages[index]
            state, triggers = self._begin(index)
            self.states[index] = state
            scene = Scene(state, self.facts, self.values, self.dockerfile.escape, self.report)
            for trigger in triggers:
                step(scene, msgspec.structs.replace(trigger, span=stage.from_.span, comments=()))
            for instruction in stage.instructions:
                step(scene, instruction)

    def _begin(self, index: int) -> tuple[State, list[Instruction]]:
        """The state that a stage begins with, and the triggers that its base hands it."""
        origin = self.origins[index]
        base = self.dockerfile.base(origin.image, before=index)
        if base is not None and base.index in self.states:
            parsed = [each.trigger for each in base.instructions if isinstance(each, Onbuild)]
            triggers = [each for each in parsed if each is not None]
            return State.upon(self.states[base.index]), triggers
        if origin.image == SCRATCH:
            return State(), []
        platform = self._platform(origin)
        image = self.facts.image(origin.image, platform)
        if image is None:
            return State(missing=origin.image), []
        self._invalid_base_image_platform(index, platform, Platform(image.architecture, image.os))
        return State(image), _triggers(image.config.on_build, origin.image)

    def _platform(self, origin: From) -> Platform:
        try:
            return parse_platform(origin.platform or str(self.facts.platform), self.facts.platform)
        except Invalid:
            return self.facts.platform  # the build refuses it

    def _invalid_base_image_platform(self, index: int, want: Platform, have: Platform) -> None:
        """InvalidBaseImagePlatform."""
        have = have.normalised()
        if (want.os, want.architecture) != (have.os, have.architecture):
            from_ = self.dockerfile.stages[index].from_
            message = f"the image {self.origins[index].image} is for {have}, but {want} is built for"
            self.report.add("InvalidBaseImagePlatform", from_.span, message, from_.span.narrow(from_.image))


def _triggers(expressions: tuple[str, ...], image: str) -> list[Instruction]:
    try:
        return [parse_trigger(text, image) for text in expressions]
    except Invalid:
        return []  # the build refuses it
