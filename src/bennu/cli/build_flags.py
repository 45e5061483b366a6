"""The flags of ``bennu build``, by what they are about; ``build_request`` makes a request of what was given.

What Docker has and bennu refuses is refused by its name with a reason, never ignored. Source: Docker's ``buildx build``
reference.
"""

from __future__ import annotations

from bennu.cli.command import PROFILE, PROJECT_NAME, Arg, operand, option, switch
from bennu.cli.values import assignment, call, host_address, listed, size_bytes, ulimit

SOURCE: tuple[Arg, ...] = (
    operand(
        "CONTEXT", complete="directory", required=False,
        help="Where COPY and ADD find files: a directory, a URL, a Git repository, - for standard input",
    ),
    option(
        "-f", "--file", metavar="FILE", dest="files", repeatable=True, complete="file",
        help="The Dockerfile; - for standard input. Without a CONTEXT: a Compose file",
    ),
    option(
        "--build-context", metavar="NAME=ORIGIN", dest="build_contexts", repeatable=True, complete="directory",
        help="What NAME means in FROM and --from: a path, URL, docker-image://NAME, oci-layout://PATH[:TAG]",
    ),
)  # fmt: skip
"""Where the Dockerfile and its files come from."""

SERVICES: tuple[Arg, ...] = (
    option(
        "--service", metavar="NAME", dest="services", help="Build this service of the Compose file", repeatable=True,
        complete="service",
    ),
    PROJECT_NAME._replace(environ=None),  # the variable may be set where a CONTEXT is given
    PROFILE,
)  # fmt: skip
"""What of a Compose file is built, where no CONTEXT is given."""

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
    switch("--verify", help="Then run every step again and compare: is what the cache has what the steps leave?"),
)  # fmt: skip
"""What the steps get, and which of them run."""

SANDBOX: tuple[Arg, ...] = (
    option(
        "--secret", metavar="id=ID,src=FILE", dest="secrets", repeatable=True,
        help="Give a secret to the steps that mount it: id=ID,src=FILE or id=ID,env=VARIABLE",
    ),
    option(
        "--ssh", metavar="ID[=PATH]", dest="agents", repeatable=True,
        help="Give an SSH agent to the steps that mount it: default, or its socket, or keys",
    ),
    option("--add-host", metavar="NAME:ADDRESS", dest="hosts", help="Another line of /etc/hosts", repeatable=True,
           convert=host_address),
    option("--ulimit", metavar="NAME=SOFT[:HARD]", dest="ulimits", help="Resource limit", repeatable=True,
           convert=ulimit),
    option("--shm-size", metavar="BYTES", help="Size of /dev/shm", convert=size_bytes),
    option(
        "--allow", metavar="PRIVILEGE", dest="allowed", repeatable=True, choices=("network.host", "security.insecure"),
        help="Let the Dockerfile ask for it: security.insecure for RUN --security=insecure",
    ),
)  # fmt: skip
"""What a RUN finds around it."""

RESULT: tuple[Arg, ...] = (
    option("-t", "--tag", metavar="NAME", dest="tags", help="Name the image", repeatable=True, complete="image"),
    option("--label", metavar="K=V", dest="labels", help="Add a label", repeatable=True, convert=assignment),
    option(
        "--annotation", metavar="[LEVEL:]K=V", dest="annotations", repeatable=True,
        help="Annotate the manifest, or LEVEL: index, manifest-descriptor, index-descriptor, manifest[PLATFORM]",
    ),
    option(
        "-o", "--output", metavar="OUTPUT", dest="outputs", repeatable=True, complete="file",
        help="Where the result goes: a directory, - for a tar, or type=image|local|tar|oci|docker[,dest=PATH]",
    ),
    switch("--load", help="Make an image of the store, besides other outputs; done anyhow where there are none"),
    option(
        "--platform", metavar="OS/ARCH", dest="platforms", help="Build for it; several make an index", repeatable=True,
    ),
    switch("--squash", help="Make one layer of all that the build puts upon its base"),
    option("--iidfile", metavar="FILE", help="Write the image's ID to a file", complete="file"),
    option(
        "--metadata-file", metavar="FILE", help="Write what became of the result to a file, as JSON", complete="file"
    ),
)  # fmt: skip
"""What becomes of the result."""

SHOWN: tuple[Arg, ...] = (
    switch("-q", "--quiet", help="Say nothing but the image's ID"),
    option(
        "--progress", metavar="KIND", help="How it is shown: auto, plain, tty, quiet, rawjson",
        choices=("auto", "plain", "tty", "quiet", "rawjson"), default="auto", environ="BUILDKIT_PROGRESS",
    ),
)  # fmt: skip
"""What is said while it goes on."""

CALLS: tuple[Arg, ...] = (
    switch("--check", help="Check the Dockerfile and build nothing; status 1 if there are warnings"),
    option(
        "--call", metavar="METHOD", help="Instead of build: check, outline, targets (METHOD,format=json for JSON)",
        convert=call,
    ),
    option("--format", metavar="FORMAT", help="Of --check and --call: text, json", choices=("text", "json")),
)  # fmt: skip
"""What is done instead of a build."""

REFUSED: tuple[Arg, ...] = (
    option("--provenance", metavar="WORD", help="false is taken; no attestations are made"),
    option("--sbom", metavar="WORD", help="false is taken; no attestations are made"),
    option("--attest", metavar="WORD", help="Refused: no attestations are made", repeatable=True, hidden=True),
    option("--cache-from", metavar="CACHE", help="Refused: the cache is the store's", repeatable=True, hidden=True),
    option("--cache-to", metavar="CACHE", help="Refused: the cache is the store's", repeatable=True, hidden=True),
    option("--builder", metavar="NAME", help="Refused: there is one builder", hidden=True),
)
"""What Docker's command line has, to be refused by name (``build_outputs.refuse``); its ways to say no are taken."""

REGISTRY: tuple[Arg, ...] = (
    switch("--pull", help="Ask registries for newer base images"),
    switch("--push", help="Send the image under each of its names to its registry"),
)
"""What registries have to do with it."""

FLAGS: tuple[Arg, ...] = (*SOURCE, *SERVICES, *RESULT, *STEPS, *SANDBOX, *SHOWN, *CALLS, *REGISTRY, *REFUSED)
