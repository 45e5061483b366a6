"""The values of the ARGs before the first FROM: what FROM sees, and what a stage inherits by declaring a name again.

Three sources, the later over the earlier: the predefined platform ARGs, what the file declares, the build arguments of
the command line. Source: Dockerfile reference, "Understand how ARG and FROM interact"; the order is BuildKit's.
"""

from __future__ import annotations

from collections.abc import Mapping

from bennu.dockerfile.fields import expand_value
from bennu.dockerfile.instructions import Dockerfile


def global_values(
    dockerfile: Dockerfile, predefined: Mapping[str, str], build_args: Mapping[str, str]
) -> dict[str, str]:
    """The values by name; a name without a value is absent. Raises ``Invalid`` at a default that cannot be expanded."""
    values = dict(predefined)
    for arg in dockerfile.global_args:
        for declaration in arg.declarations:
            if declaration.name in build_args:
                values[declaration.name] = build_args[declaration.name]
            elif declaration.default is not None:
                values[declaration.name] = expand_value(declaration.default, values, arg.span, dockerfile.escape).text
    return values
