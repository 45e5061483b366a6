"""What ``bennu reprovision --rebuild`` builds with: images from scratch, where the fleet file was applied from.

Implements ``deploy.reprovisioning.Rebuilder``: no name moves before an image has proven itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from bennu.cli.context import Context

if TYPE_CHECKING:
    from bennu.build.progress import Listener
    from bennu.compose.model import Project, Service
    from bennu.deploy.images import Wanted
    from bennu.deploy.telling.news import News
    from bennu.digest import Digest
    from bennu.wiring import Fleet


class Rebuilding:
    """Builds the images of one project from scratch, where its fleet file was applied from."""

    def __init__(self, fleet: Fleet, project: str, news: News, listener: Listener, context: Context) -> None:
        self._fleet = fleet
        self._name = project
        self._news = news
        self._listener = listener
        self._environ = context.environ
        self._say = context.say

    @cached_property
    def _project(self) -> Project:
        from pathlib import Path

        from bennu.compose.load import load
        from bennu.errors import NotFound

        policy = self._fleet.history.policy(self._name)
        origin = policy.origin if policy else None
        if origin is None or not origin.files:
            raise NotFound(f"nobody knows where the fleet file of project {self._name!r} is", "`bennu apply` it once")
        missing = [file for file in origin.files if not Path(file).is_file()]
        if missing:
            raise NotFound(
                f"fleet file {missing[0]!r} of project {self._name!r} is gone", "`bennu apply` from where it is now"
            )
        return load(origin.files, environ=self._environ, name=self._name, profiles=origin.profiles)

    def services(self) -> Mapping[str, Service]:
        """The services of the fleet file as it is now."""
        from bennu.deploy.release import essence

        return {name: essence(service) for name, service in self._project.services.items()}

    def build(self, service: str) -> Digest | None:
        """Build one image; None for a service whose image is not built."""
        import msgspec

        from bennu.build.origins import NoFiles
        from bennu.build.request import BuildRequest
        from bennu.deploy.policy import NO_POLICY

        wanted = {name: msgspec.structs.replace(each, names=()) for name, each in self._wanted(service).items()}
        if not wanted:
            return None
        policy = self._fleet.history.policy(self._name) or NO_POLICY
        with self._news.building(policy, (service,), self._say, kind="reprovision"):
            self._renew_base(service)
            prototype = BuildRequest(context=NoFiles(), use_cache=False)
            built = self._fleet.build_services(wanted, prototype, self._listener)
        return next(iter(built.values())).image_here.manifest

    def name(self, service: str, image: Digest) -> None:
        """Give an image the names that the file has for it."""
        from bennu.oci.reference import parse_name

        for each in self._wanted(service).values():
            for name in each.names:
                self._fleet.images.tag(image, parse_name(name).tagged())

    def _wanted(self, service: str) -> dict[str, Wanted]:
        from bennu.deploy.images import wanted_images

        return wanted_images(self._project, (service,))

    def _renew_base(self, service: str) -> None:
        """Make the base image anew that the running image stands on, where it came from a distribution's packages."""
        from bennu.build.bootstrap import Bootstrap, recipe_of

        active = self._fleet.history.active(self._name)
        entry = self._fleet.history.release(active.release).services.get(service) if active else None
        image = self._fleet.images.find(entry.image) if entry else None
        recipe = recipe_of(image.config.config.labels) if image else None
        if recipe is None:
            self._say("the base image is taken as it is: it was not made by `bennu image bootstrap`")
            return
        bootstrap = Bootstrap(self._fleet.settings, self._fleet.images, self._fleet.operations, self._environ)
        bootstrap.make(recipe, recipe.name, lambda step: self._say(f"{recipe.name.familiar}: {step}"))
