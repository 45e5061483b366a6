"""What the checks of a Dockerfile need of the store and of the context, gathered.

The checks themselves are pure and in ``dockerfile.checks``. An image that is not in the store stops nothing here: a
build refuses it, ``--check`` passes over it. Where the file says ``error=true``, warnings are an error (``refused``).
"""

from __future__ import annotations

from collections.abc import Mapping

from bennu.build import variables
from bennu.build.bases import BaseImages
from bennu.build.contexts import Contexts
from bennu.build.origins import Directory, Layout, NamedImage, NamedOrigin, named_context
from bennu.build.request import BuildRequest
from bennu.dockerfile.checks.facts import Facts
from bennu.dockerfile.checks.options import VARIABLE, Options, options_of
from bennu.dockerfile.checks.run import SCRATCH
from bennu.dockerfile.ignore import Rules
from bennu.dockerfile.instructions import Dockerfile
from bennu.dockerfile.source import Source
from bennu.dockerfile.warning import Warning  # noqa: A004 - the word of the Dockerfile reference
from bennu.errors import BennuError, Invalid
from bennu.oci.image_config import ImageConfig, empty_config
from bennu.oci.platform import Platform


class _Images:
    """The configurations of images, as far as they are at hand."""

    def __init__(self, bases: BaseImages, contexts: Mapping[str, NamedOrigin]) -> None:
        self._bases = bases
        self._contexts = contexts

    def __call__(self, name: str, platform: Platform) -> ImageConfig | None:
        """The configuration of what FROM names, or None."""
        context = named_context(self._contexts, name)
        origin = None if context is None else self._contexts[context]
        if origin is not None and not isinstance(origin, NamedImage | Layout):
            return empty_config(platform)
        image = origin.name if isinstance(origin, NamedImage) else origin or name
        if image == SCRATCH:
            return empty_config(platform)
        try:
            return self._bases(image, Source("", name).span(0, 0), platform).config
        except BennuError:
            return None


def options_for(dockerfile: Dockerfile, request: BuildRequest) -> Options:
    """Which rules speak: the build argument's word, or else the file's. ``Invalid``."""
    return options_of(dockerfile, request.build_args.get(VARIABLE))


def facts_of(
    dockerfile: Dockerfile, request: BuildRequest, contexts: Contexts, bases: BaseImages, host: Platform
) -> Facts:
    """What checks know besides the file, for the first of the platforms."""
    platform = request.platforms[0] if request.platforms else host
    stage = request.target or dockerfile.stages[-1].name or ""
    return Facts(
        predefined=variables.platform_variables(host, platform, stage, request.build_args),
        build_args=request.build_args,
        platform=platform,
        image=_Images(bases, request.contexts),
        rules=_rules(request, contexts),
        target=request.target or None,
    )


def _rules(request: BuildRequest, contexts: Contexts) -> Rules | None:
    # nothing is left out of any other context, and it need not be fetched for this
    return contexts.tree().rules if isinstance(request.origin, Directory) else None


def refused(options: Options, warnings: tuple[Warning, ...]) -> Invalid | None:
    """The error that warnings are where the file says ``error=true``."""
    if not warnings or not options.is_error:
        return None
    rules = ", ".join(dict.fromkeys(warning.rule for warning in warnings))
    first = warnings[0]
    return first.place.invalid(
        f"{first.rule}: {first.message}",
        f"check=error=true makes an error of it; found in all: {rules}. `bennu build --check` shows them",
    )
