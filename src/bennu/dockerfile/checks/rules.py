"""The rules by name, each with the sentence that ``--check`` shows for it.

The order is that of the Dockerfile reference's list. A rule that is ``experimental`` speaks only where
``check=experimental=`` names it. Which function finds it is the business of ``writing``, ``origins`` and ``settings``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec


class Rule(msgspec.Struct, frozen=True):
    """One check: its name in the reference, and what it asks for in general."""

    name: str
    summary: str
    experimental: bool = False


RULES: Final[Mapping[str, Rule]] = {
    rule.name: rule
    for rule in (
        Rule("StageNameCasing", "The name of a stage is written in lower case"),
        Rule("FromAsCasing", "AS is written in the case of its FROM"),
        Rule("NoEmptyContinuation", "No blank line stands inside a continued instruction"),
        Rule("ConsistentInstructionCasing", "All instructions of a file are written in one case"),
        Rule("DuplicateStageName", "No two stages have one name"),
        Rule("ReservedStageName", "No stage is called 'scratch' or 'context'"),
        Rule("JSONArgsRecommended", "CMD and ENTRYPOINT are JSON arrays, so that signals reach the program"),
        Rule("MaintainerDeprecated", "The author stands in a LABEL, not in MAINTAINER"),
        Rule("UndefinedArgInFrom", "FROM uses declared global ARGs only"),
        Rule("WorkdirRelativePath", "The first WORKDIR of a stage is absolute, whatever its base image says"),
        Rule("UndefinedVar", "A variable is set before it is used"),
        Rule("MultipleInstructionsDisallowed", "A stage has one CMD, one ENTRYPOINT and one HEALTHCHECK"),
        Rule("LegacyKeyValueFormat", "ENV and LABEL are written with an equals sign"),
        Rule("InvalidBaseImagePlatform", "The base image is of the platform that is built for"),
        Rule("RedundantTargetPlatform", "FROM does not repeat $TARGETPLATFORM, which is its default"),
        Rule("SecretsUsedInArgOrEnv", "Secrets are mounted, not kept in ARG or ENV"),
        Rule("InvalidDefaultArgInFrom", "FROM names an image even where no build argument is given"),
        Rule("FromPlatformFlagConstDisallowed", "FROM --platform is no constant"),
        Rule("CopyIgnoredFile", "What COPY and ADD take is not left out by .dockerignore"),
        Rule(
            "InvalidDefinitionDescription",
            "The comment above an ARG or a stage begins with its name",
            experimental=True,
        ),
        Rule("ExposeProtoCasing", "The protocol of EXPOSE is written in lower case"),
        Rule("ExposeInvalidFormat", "EXPOSE names the container's port, and no address or port of the host"),
    )
}
