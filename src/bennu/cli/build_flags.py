"""The flags of ``bennu build``, by what they are about; ``build_request`` makes a request of what was given.

What Docker has and bennu refuses is refused by its name with a reason, never ignored. Source: Docker's ``buildx build``
reference.
"""

from __future__ import annotations

from bennu.cli.command import Arg, operand, option, switch
from bennu.cli.values import assignment, listed

SOURCE: tuple[Arg, ...] = (
    operand(
        "CONTEXT", complete="directory",
        help="Where COPY and ADD find files: a directory, a URL, a Git repository, - for standard input",
    ),
    option("-f", "--file", metavar="FILE", help="The Dockerfile; - for standard input", complete="file"),
    option(
        "--build-context", metavar="NAME=ORIGIN", dest="build_contexts", repeatable=True, complete="directory",
        help="What NAME means in FROM and --from: a path, URL, docker-image://NAME, oci-layout://PATH[:TAG]",
    ),
)  # fmt: skip
"""Where the Dockerfile and its files come from."""

STEPS: tuple[Arg, ...] = (
    option(
        "--build-arg", metavar="K=V", dest="build_args", help="Give an ARG its value", repeatable=True,
        convert=assignment,
    ),
    option("--target", metavar="STAGE", help="Build this stage, by name or number"),
    option(
        "--network", metavar="NETWORK", help="What a RUN can reach: default, none, host",
        choices=("default", "none", "host"), default="default",
    ),
    switch("--no-cache", help="Run every step again"),
    option(
        "--no-cache-filter", metavar="STAGE", dest="fresh_stages", help="Run the steps of this stage again",
        repeatable=True, convert=listed,
    ),
)  # fmt: skip
"""What the steps get, and which of them run."""

RESULT: tuple[Arg, ...] = (
    option("-t", "--tag", metavar="NAME", dest="tags", help="Name the image", repeatable=True, complete="image"),
    option("--label", metavar="K=V", dest="labels", help="Add a label", repeatable=True, convert=assignment),
    option("--iidfile", metavar="FILE", help="Write the image's ID to a file", complete="file"),
)
"""What becomes of the result."""

SHOWN: tuple[Arg, ...] = (
    switch("-q", "--quiet", help="Say nothing but the image's ID"),
    option(
        "--progress", metavar="KIND", help="How it is shown: auto, plain, tty, quiet, rawjson",
        choices=("auto", "plain", "tty", "quiet", "rawjson"), default="auto", environ="BUILDKIT_PROGRESS",
    ),
)  # fmt: skip
"""What is said while it goes on."""

FLAGS: tuple[Arg, ...] = (*SOURCE, *RESULT, *STEPS, *SHOWN)
