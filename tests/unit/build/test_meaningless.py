"""What is well formed and means nothing is refused at its place, with the words of ``meaningless.txt``."""

from __future__ import annotations

from pathlib import Path

import pytest

from bennu.build.graph import BaseImage
from bennu.build.lowering import lower
from bennu.build.origins import Layout
from bennu.digest import Digest
from bennu.dockerfile.checks.options import options_of
from bennu.dockerfile.parser import parse
from bennu.dockerfile.source import Span
from bennu.errors import Invalid
from bennu.oci.image_config import empty_config
from bennu.oci.platform import Platform
from tests.unit.dockerfile.refusals import Refusal, refusals

HOST = Platform("amd64", "linux")
DIGEST = Digest("sha256:" + "a" * 64)


def base(_name: str | Layout, _place: Span, platform: Platform) -> BaseImage:
    return BaseImage(DIGEST, DIGEST, empty_config(platform))


@pytest.mark.parametrize("case", refusals(Path(__file__).with_name("meaningless.txt")), ids=lambda case: case.name)
def test_what_means_nothing_is_refused_at_its_place(case: Refusal):
    with pytest.raises(Invalid) as caught:
        _understand(case.text)
    case.check(caught.value)


def _understand(text: str) -> None:
    dockerfile = parse(text, "Dockerfile")
    options_of(dockerfile, None)
    for stage in dockerfile.stages:
        lower(dockerfile, bases=base, platform=HOST, build_args={}, target=str(stage.index))
