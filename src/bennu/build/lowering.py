"""From a Dockerfile to the graph of its target: only the stages that the target needs, and their images. Pure.

Owns what stages are to each other: names and numbers, FROM and ``--from``, triggers, the order in which they are
lowered. What one instruction does to one stage is in ``settings``, ``commands`` and ``copies``; the values of
variables are in ``variables``. Images are looked up by the caller's ``bases``, so nothing here touches a store.

The rules are those of the Dockerfile reference and, where it is silent, of BuildKit: stages are lowered in the order
of the file, a stage may copy only from earlier ones, and what the target does not need is not even looked up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from bennu.build import variables
from bennu.build.commands import lower_run, lower_workdir
from bennu.build.copies import lower_add, lower_copy
from bennu.build.graph import (
    Base,
    BaseImage,
    Graph,
    Local,
    Lowered,
    MakeDirectory,
    Source,
)
from bennu.build.graph import (
    Copy as CopyStep,
)
from bennu.build.origins import Directory, Layout, NamedImage, NamedOrigin, Remote, Repository, named_context
from bennu.build.settings import SETTINGS
from bennu.build.stages import Build, Numbering, Stage
from bennu.build.triggers import named, triggers_of_image, triggers_of_stage
from bennu.dockerfile import instructions, mounts, spelling
from bennu.dockerfile.fields import expand_instruction
from bennu.dockerfile.global_args import global_values
from bennu.dockerfile.instructions import Add, Copy, Dockerfile, From, Instruction, Run, Workdir
from bennu.dockerfile.source import Span
from bennu.dockerfile.warning import Warning  # noqa: A004 - the word of the Dockerfile reference
from bennu.errors import Invalid, NotFound
from bennu.oci.image_config import ImageConfig, RootFS, empty_config
from bennu.oci.platform import Platform, parse_platform
from bennu.oci.reference import parse_reference

Bases = Callable[[str | Layout, Span, Platform], BaseImage]
"""Looks up the image that FROM or ``--from`` names, for a platform, and raises at the place where it stands."""

SCRATCH: Final = "scratch"
_NUMBER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_STEPS: Final[Mapping[type[Instruction], Callable[[Stage, Any], None]]] = {
    **SETTINGS,
    Run: lower_run,
    Workdir: lower_workdir,
    Copy: lower_copy,
    Add: lower_add,
}


def lower(
    dockerfile: Dockerfile,
    *,
    bases: Bases,
    platform: Platform,
    build_args: Mapping[str, str],
    target: str | None = None,
    labels: Mapping[str, str] = {},
    created: str = "",
    wanted: Platform | None = None,
    contexts: Mapping[str, NamedOrigin] = {},
    graph: Graph | None = None,
    is_one_of_several: bool = False,
) -> Lowered:
    """The graph and configuration of ``target``, a stage's name or number; None is the last stage.

    ``platform`` is the one that is built on, ``wanted`` the one that is asked for, None if nobody asked: then it is the
    same, and the image is of the platform that its base is of. ``created`` is RFC 3339 and stands in every new history
    entry; ``labels`` are put on top of what the file says. ``contexts`` are named ones. Builds for several platforms
    put their steps into one ``graph``, and share those that do not depend on it; ``is_one_of_several``: labels say the
    platform. Raises ``Invalid`` or ``Unsupported`` at the place.
    """
    lowering = _Lowering(
        dockerfile,
        bases,
        Platforms(platform.normalised(), None if wanted is None else wanted.normalised(), shown=is_one_of_several),
        contexts,
        build_args=build_args,
        target=target,
        created=created,
        graph=graph,
    )
    return lowering.result(labels)


class Platforms(msgspec.Struct, frozen=True):
    """What is built on, and what was asked for, if anything was. ``shown``: labels say it."""

    build: Platform
    asked: Platform | None
    shown: bool = False

    @property
    def target(self) -> Platform:
        """What is built for."""
        return self.asked or self.build


class _Lowering:
    """One run of ``lower``. ``origins`` are the FROMs with their variables put in; ``stages`` those that are done."""

    def __init__(
        self,
        dockerfile: Dockerfile,
        bases: Bases,
        platforms: Platforms,
        contexts: Mapping[str, NamedOrigin],
        *,
        build_args: Mapping[str, str],
        target: str | None,
        created: str,
        graph: Graph | None,
    ) -> None:
        self.dockerfile = dockerfile
        self.bases = bases
        self.platforms = platforms
        self.contexts = contexts
        self.target = target_index(dockerfile, target)
        name = target or dockerfile.stages[-1].name or ""
        self.predefined = variables.platform_variables(platforms.build, platforms.target, name, build_args)
        self.build = Build(
            graph=graph or Graph(),
            escape=dockerfile.escape,
            globals=global_values(dockerfile, self.predefined, build_args),
            build_args=build_args,
            proxies=variables.proxies(build_args),
            created=created,
            platform=platforms.build,
            source=self.source,
        )
        self.origins = [self._origin(stage) for stage in dockerfile.stages]
        self.stages: dict[int, Stage] = {}
        self.is_alone = len(dockerfile.stages) == 1 and self._stands_alone(dockerfile.stages[0])

    def result(self, labels: Mapping[str, str]) -> Lowered:
        """Lower what the target needs, and finish its configuration."""
        for index in self._needed():
            self.stage(index)
        stage = self.stages[self.target]
        config = stage.config
        stage.change(
            labels=dict(sorted({**config.labels, **labels}.items())),
            exposed_ports=dict(sorted(config.exposed_ports.items())),
            volumes=dict(sorted(config.volumes.items())),
        )
        image = msgspec.structs.replace(self._for_platform(stage.image), created=self.build.created, rootfs=RootFS())
        return Lowered(self.build.graph, stage.tip, image, self._warnings(), self._own(), stage.inherited)

    def _for_platform(self, image: ImageConfig) -> ImageConfig:
        """The result is of the platform that was asked for, whatever its base says; else of its base's."""
        own, asked = image.platform.normalised(), self.platforms.asked
        if asked is not None:
            is_alike = (own.os, own.architecture) == (asked.os, asked.architecture)
            own = msgspec.structs.replace(
                asked,
                variant=asked.variant or (own.variant if is_alike else ""),
                os_version=asked.os_version or (own.os_version if is_alike else ""),
                os_features=asked.os_features or own.os_features,
            ).normalised()
        return msgspec.structs.replace(
            image,
            architecture=own.architecture,
            os=own.os,
            os_version=own.os_version,
            os_features=own.os_features,
            variant=own.variant,
        )

    def _own(self) -> tuple[tuple[str, frozenset[int]], ...]:
        return tuple(
            (stage.name or "", frozenset(self.stages[stage.index].own if stage.index in self.stages else ()))
            for stage in self.dockerfile.stages
        )

    def _warnings(self) -> tuple[Warning, ...]:
        declared = [each.name for arg in self.dockerfile.global_args for each in arg.declarations]
        for stage in self.stages.values():
            declared += stage.arguments
        place = self.dockerfile.stages[self.target].from_.span
        return variables.unused(self.build.build_args, declared, self.predefined, place)

    def _origin(self, stage: instructions.Stage) -> From:
        origin = expand_instruction(stage.from_, self.build.globals, self.build.escape).instruction
        if not origin.image:
            raise stage.from_.span.narrow(stage.from_.image).invalid(
                f"FROM: '{stage.from_.image}' is empty once its variables are put in",
                "give the ARG before it a default, or pass --build-arg",
            )
        return origin

    def _base(self, index: int) -> int | None:
        """The earlier stage that a stage's FROM names, if it names one."""
        stage = self.dockerfile.base(self.origins[index].image, before=index)
        return None if stage is None else stage.index

    def _stands_alone(self, stage: instructions.Stage) -> bool:
        """Whether BuildKit shows a file's only stage without a name: where it knows of no other source of files."""
        mounts = any(isinstance(each, Run) and each.mounts for each in stage.instructions)
        return not mounts and all(self._index(each.name) is not None for each in _references(stage))

    def _index(self, reference: str) -> int | None:
        """The stage that ``--from`` names, wherever it stands; None is an image."""
        if _NUMBER.fullmatch(reference):
            return int(reference)
        stage = self.dockerfile.named(reference)
        return None if stage is None else stage.index

    def _needed(self) -> list[int]:
        """The stages that the target depends on, in the file's order. Checks numbers and cycles of the whole file."""
        edges: dict[int, set[int]] = {}
        for stage in self.dockerfile.stages:
            is_replaced = self._replaced(stage.index) is not None
            base = None if is_replaced else self._base(stage.index)
            edges[stage.index] = set() if base is None else {base}
            for reference in () if is_replaced else _references(stage):
                source = self._index(reference.name)
                if source is not None:
                    self._check_exists(source, reference)
                    edges[stage.index].add(source)
        _refuse_cycles(self.dockerfile, edges)
        needed, todo = set(), [self.target]
        while todo:
            index = todo.pop()
            if index not in needed:
                needed.add(index)
                todo += edges[index]
        return sorted(needed)

    def _check_exists(self, index: int, reference: Reference) -> None:
        if not 0 <= index < len(self.dockerfile.stages):
            raise reference.place.invalid(
                f"{reference.keyword}: from={reference.name} is the number of no stage",
                f"the file's stages are 0 to {len(self.dockerfile.stages) - 1}",
            )

    def stage(self, index: int) -> Stage:
        """The stage of that number, lowered now or before."""
        if index not in self.stages:
            stage, triggers = self._begin(index)
            if self._replaced(index) is not None:
                self.stages[index] = stage
                return stage
            for trigger in triggers:
                stage.is_trigger = True
                with named(trigger):
                    _STEPS[type(trigger)](stage, trigger)
            stage.is_trigger = False
            for instruction in self.dockerfile.stages[index].instructions:
                _STEPS[type(instruction)](stage, instruction)
            self.stages[index] = stage
        return self.stages[index]

    def _replaced(self, index: int) -> str | None:
        """The named context that stands for a whole stage, since it has the stage's name: nothing of it is run."""
        name = self.dockerfile.stages[index].name
        return named_context(self.contexts, name) if name else None

    def _begin(self, index: int) -> tuple[Stage, list[Instruction]]:
        """A stage upon its base, and the base's triggers."""
        origin = self.origins[index]
        platform = self._platform(origin)
        parsed = self.dockerfile.stages[index]
        base = self._base(index)
        has_image = base is None and origin.image != SCRATCH
        numbering = Numbering(self._name(parsed, platform), _total(parsed, has_image=has_image))
        replaced = self._replaced(index)
        if replaced is not None:
            return self._upon_context(index, replaced, numbering, platform)
        if base is not None:
            below = self.dockerfile.stages[base].instructions
            triggers = triggers_of_stage(below, origin.span)
            numbering.total += len(triggers)
            return Stage.upon(self.stage(base), index, numbering), triggers
        context = named_context(self.contexts, origin.image)
        if context is not None:
            return self._upon_context(index, context, numbering, platform)
        if origin.image == SCRATCH:
            return Stage(self.build, index, numbering, _empty(self.platforms.target), None), []
        label = f"FROM {_full_name(origin.image)}"
        return self._upon_image(index, origin.image, numbering, platform, label=label)

    def _upon_image(
        self, index: int, name: str | Layout, numbering: Numbering, platform: Platform, *, label: str
    ) -> tuple[Stage, list[Instruction]]:
        origin = self.origins[index]
        place = origin.span.narrow(self.dockerfile.stages[index].from_.image)
        found = self._look_up(name, place, index, platform)
        triggers = triggers_of_image(found.config.config.on_build, origin.image, origin.span)
        numbering.total += len(triggers)
        tip = None
        if found.chain is not None:
            shown = label if label.startswith("[") else numbering.next(label)
            tip = self.build.graph.add(Base(found.chain, found.manifest), shown)
        return Stage(self.build, index, numbering, _inherited(found.config), tip, inherited=found.layers), triggers

    def _upon_context(
        self, index: int, name: str, numbering: Numbering, platform: Platform
    ) -> tuple[Stage, list[Instruction]]:
        """A stage upon a named context: an image, or files that become its first layer."""
        origin = self.contexts[name]
        if isinstance(origin, NamedImage | Layout):
            if origin == NamedImage(SCRATCH):
                return Stage(self.build, index, numbering, _empty(platform), None), []
            image = origin.name if isinstance(origin, NamedImage) else origin
            label = f"[context {name}] {image if isinstance(image, str) else 'OCI layout'}"
            return self._upon_image(index, image, numbering, platform, label=label)
        return Stage(self.build, index, numbering, _empty(platform), self._files(name)), []

    def _files(self, name: str) -> int:
        """The vertex that has the files of a named context as its tree."""
        local = self._local(name)
        step = CopyStep(None, (Source(local, "/"),), "/")
        return self.build.graph.add(step, f"[context {name}] load from client")

    def _local(self, name: str) -> int:
        return self.build.graph.add(Local(name), f"[context {name}] load from client")

    def _name(self, stage: instructions.Stage, platform: Platform) -> str:
        name = "" if self.is_alone else stage.name or f"stage-{stage.index}"
        return f"{platform} {name}".strip() if self.platforms.shown else name

    def _look_up(self, name: str | Layout, place: Span, index: int, platform: Platform) -> BaseImage:
        """The image; where there is none, the error names the stage that may have been meant."""
        try:
            return self.bases(name, place, platform)
        except (Invalid, NotFound) as error:
            if isinstance(name, Layout):
                raise
            names = [stage.name for stage in self.dockerfile.stages if stage.name]
            nearest = spelling.nearest(name, names)
            if nearest is None or spelling.distance(name.lower(), nearest) * 2 >= len(name):
                raise
            meant = self.dockerfile.named(nearest)
            is_later = meant is not None and meant.index >= index
            if is_later:
                hint = f"the stage {nearest} begins later, move it up"
            else:
                more = error.hint and name.lower() != nearest
                hint = f"did you mean the stage {nearest}?" + (f" Otherwise: {error.hint}" if more else "")
            raise place.invalid(error.message, hint) from error

    def source(self, index: int, reference: str, place: Span) -> int:
        """The vertex that ``COPY --from`` or ``from`` of a mount means in the stage ``index``."""
        graph = self.build.graph
        number = self._index(reference)
        if number is None:
            context = named_context(self.contexts, reference)
            image: str | Layout = reference
            match None if context is None else self.contexts[context]:
                case NamedImage(name):
                    image = name
                case Layout() as layout:
                    image = layout
                case Directory() | Remote() | Repository():
                    assert context is not None
                    return self._local(context)
            found = None if image == SCRATCH else self._look_up(image, place, index, self.platforms.target)
            if found is not None and found.chain is not None:
                name = image if isinstance(image, str) else reference
                return graph.add(Base(found.chain, found.manifest), f"FROM {_full_name(name)}")
            return graph.add(MakeDirectory(None, "/"), f"FROM {reference}", place)
        if not 0 <= number < index:
            raise place.invalid(
                f"from={reference} is not before the stage that takes files from it",
                "a stage can take files only from stages above it",
            )
        tip = self.stage(number).tip
        return graph.add(MakeDirectory(None, "/"), f"FROM {reference}", place) if tip is None else tip

    def _platform(self, origin: From) -> Platform:
        """The platform of a stage: its own, or the one that is built for."""
        if origin.platform is None:
            return self.platforms.target
        try:
            return parse_platform(origin.platform, self.platforms.build)
        except Invalid as error:
            raise origin.span.narrow("--platform").invalid(f"FROM: {error.message}", error.hint) from error


def _empty(platform: Platform) -> ImageConfig:
    """The configuration of a stage that begins with no image."""
    empty = empty_config(platform)
    return msgspec.structs.replace(empty, config=msgspec.structs.replace(empty.config, working_dir="/"))


def target_index(dockerfile: Dockerfile, target: str | None) -> int:
    """The stage that a target means by its name or number; the last one where none is asked for. ``Invalid``."""
    if target is None or target == "":
        return len(dockerfile.stages) - 1
    stage = dockerfile.named(target) or dockerfile.stage(target)
    if stage is None:
        names = [stage.name or str(stage.index) for stage in dockerfile.stages]
        raise Invalid(
            f"the target stage '{target}' is not in {dockerfile.file}",
            spelling.hint(target, names, f"its stages are {', '.join(names)}"),
            file=dockerfile.file,
        )
    return stage.index


class Reference(NamedTuple):
    """Where an instruction names a stage, image or context that it takes files from."""

    keyword: str
    name: str
    place: Span


def _references(stage: instructions.Stage) -> Iterator[Reference]:
    for each in stage.instructions:
        if isinstance(each, Copy) and each.from_ is not None:
            yield Reference("COPY", each.from_, each.span.narrow(each.from_))
        elif isinstance(each, Run):
            for flag in each.mounts:
                name = mounts.origin(flag)
                if name is not None:
                    yield Reference("RUN", name, flag.span.narrow(name))


def _total(stage: instructions.Stage, *, has_image: bool) -> int:
    """How many steps a stage shows: its image and whatever may make a layer."""
    return has_image + sum(isinstance(each, Add | Copy | Run | Workdir) for each in stage.instructions)


def _inherited(image: ImageConfig) -> ImageConfig:
    """A base's configuration as a stage begins with it: its triggers are not handed on, its date is its own."""
    config = msgspec.structs.replace(image.config, on_build=())
    return msgspec.structs.replace(image, config=config, created="")


def _full_name(image: str) -> str:
    """``debian`` as ``docker.io/library/debian:latest``; what is no reference (an ID) as it is."""
    try:
        return str(parse_reference(image).tagged())
    except Invalid:
        return image


def _refuse_cycles(dockerfile: Dockerfile, edges: Mapping[int, set[int]]) -> None:
    """Raise ``Invalid`` where a stage needs itself, by whatever way."""
    done: set[int] = set()
    for first in edges:
        way = [(first, iter(sorted(edges[first])))]
        while way:
            index, following = way[-1]
            after = next((each for each in following if each not in done), None)
            if after is None:
                done.add(index)
                way.pop()
            elif after in (entry for entry, _ in way):
                stage = dockerfile.stages[after]
                raise stage.from_.span.invalid(
                    f"the stage {stage.name or stage.index} needs itself, by FROM or --from",
                    "a stage can use only stages above it",
                )
            else:
                way.append((after, iter(sorted(edges[after]))))
