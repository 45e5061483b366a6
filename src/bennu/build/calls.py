"""What ``bennu build`` says of a Dockerfile instead of building it: checks, an outline, its targets.

Nothing is run and no image is made; the store is only asked for the base images that it has. ``cli.build_calls`` shows
what comes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bennu.build.bases import BaseImages
from bennu.build.checking import facts_of, options_for, refused
from bennu.build.contexts import Contexts
from bennu.build.graph import BaseImage
from bennu.build.lowering import lower, target_index
from bennu.build.origins import Layout
from bennu.build.request import BuildRequest
from bennu.digest import Digest
from bennu.dockerfile.checks.run import check
from bennu.dockerfile.instructions import Dockerfile
from bennu.dockerfile.source import Span
from bennu.dockerfile.warning import Warning  # noqa: A004 - the word of the Dockerfile reference
from bennu.errors import BennuError, Invalid, Unsupported
from bennu.oci.image_config import empty_config
from bennu.oci.platform import Platform

if TYPE_CHECKING:
    from bennu.dockerfile.outline import Outline

_NO_DIGEST = Digest("sha256:" + "0" * 64)


class Checked(msgspec.Struct, frozen=True):
    """What the checks found, and the first error that would stop the build."""

    warnings: tuple[Warning, ...]
    error: Invalid | None


class Reading:
    """A Dockerfile that was parsed, with what is at hand to understand it."""

    def __init__(
        self, dockerfile: Dockerfile, request: BuildRequest, contexts: Contexts, bases: BaseImages, host: Platform
    ) -> None:
        self.dockerfile = dockerfile
        self._request = request
        self._contexts = contexts
        self._bases = bases
        self._host = host

    def warnings(self, *, all_stages: bool = False) -> tuple[Warning, ...]:
        """What the checks warn of. ``all_stages``: of every stage where no target is asked for, not only of the last
        one and those that it needs. ``Invalid`` for options that are none.
        """
        facts = facts_of(self.dockerfile, self._request, self._contexts, self._bases, self._host)
        if not all_stages and facts.target is None:
            facts = msgspec.structs.replace(facts, target=str(self.dockerfile.stages[-1].index))
        return check(self.dockerfile, facts, options_for(self.dockerfile, self._request))

    def accepted_warnings(self) -> tuple[Warning, ...]:
        """The same, for a build. ``Invalid`` where the file says that warnings are errors."""
        warnings = self.warnings()
        error = refused(options_for(self.dockerfile, self._request), warnings)
        if error is not None:
            raise error
        return warnings

    def checked(self) -> Checked:
        """The checks of all stages, or of the target's, and the first error. ``Invalid`` for an unknown target."""
        wanted = target_index(self.dockerfile, self._request.target)
        indices = [wanted] if self._request.target else [stage.index for stage in self.dockerfile.stages]
        return Checked(self.warnings(all_stages=True), next(filter(None, map(self._error, indices)), None))

    def outlined(self) -> Outline:
        """What the target takes. ``Invalid`` for a target that is not there."""
        from bennu.dockerfile.outline import outline

        target_index(self.dockerfile, self._request.target)
        facts = facts_of(self.dockerfile, self._request, self._contexts, self._bases, self._host)
        return outline(self.dockerfile, facts)

    def _error(self, target: int) -> Invalid | None:
        """What would stop the build of a stage, as far as that can be known without building."""
        request = self._request
        try:
            lower(
                self.dockerfile,
                bases=self._base,
                platform=self._host,
                wanted=request.platforms[0] if request.platforms else None,
                build_args=request.build_args,
                target=str(target),
                contexts=request.contexts,
            )
        except Unsupported:
            return None  # the file is well formed
        except Invalid as error:
            return error
        return None

    def _base(self, name: str | Layout, place: Span, platform: Platform) -> BaseImage:
        """The image, or an empty one for what is not there: that is no fault of the file."""
        try:
            return self._bases(name, place, platform)
        except BennuError:
            return BaseImage(_NO_DIGEST, None, empty_config(platform))
