"""``bennu images``: what is in the store, as ``docker images`` lists it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from bennu.cli.command import FORMAT, Arguments, Command, operand, option, switch
from bennu.cli.context import Context
from bennu.cli.output import Column, listing

if TYPE_CHECKING:
    from bennu.store.images import Image

COMMAND = Command(
    "images",
    "List images",
    (
        operand("REPOSITORY[:TAG]", dest="only", help="List only these", required=False, complete="image"),
        switch("-q", "--quiet", help="Print IDs only"),
        switch("--no-trunc", help="Print IDs in full"),
        switch("--digests", help="Show manifests' digests"),
        switch("-a", "--all", help="Show the images for other platforms too that a name has besides this host's"),
        option(
            "-f", "--filter", metavar="KEY=VALUE", dest="filters", repeatable=True,
            help="dangling=, label=, reference=, before= or since=",
        ),
        FORMAT,
    ),
    examples=(
        ("bennu images", "list all"),
        ("bennu images -f dangling=true -q", "the IDs of those that have no name"),
    ),
)  # fmt: skip

_COLUMNS = (
    Column("REPOSITORY", "Repository"),
    Column("TAG", "Tag"),
    Column("IMAGE ID", "ID"),
    Column("CREATED", "CreatedSince"),
    Column("SIZE", "Size"),
)


def run(args: Arguments, context: Context) -> int:
    """List the images that pass every filter, one line a name."""
    from bennu.cli.image_record import listed
    from bennu.wiring import Store

    filters = [_parsed(word) for word in args.filters]
    patterns = ([args.only] if args.only else []) + [value for key, value in filters if key == "reference"]
    now = time.time()
    with Store(context.settings) as store:
        hidden = frozenset() if args.all else store.images.indexes.hidden()
        images = [image for image in store.images.walk() if image.names or image.manifest not in hidden]
        moments = {
            key: store.images.resolve(value).created or 0.0 for key, value in filters if key in {"before", "since"}
        }
    records = [
        record
        for image in images
        if _passes(image, filters, moments)
        for record in listed(image, now, in_full=args.no_trunc, named=_matching(image, patterns) if patterns else None)
        if not patterns or image.names
    ]
    columns = (*_COLUMNS[:2], Column("DIGEST", "Digest"), *_COLUMNS[2:]) if args.digests else _COLUMNS
    if args.quiet:
        records = list({record["ID"]: record for record in records}.values())
    context.stdout.write(listing(records, columns, form=args.format, quiet="ID" if args.quiet else None))
    return 0


def _parsed(word: str) -> tuple[str, str]:
    from bennu.errors import Usage

    key, equals, value = word.partition("=")
    if not equals or key not in {"dangling", "label", "reference", "before", "since"}:
        raise Usage(f"filter {word!r} is not dangling=, label=, reference=, before= or since=", "bennu images --help")
    if key == "dangling" and value not in {"true", "false", "1", "0"}:
        raise Usage(f"filter {word!r} is not dangling=true or dangling=false", "bennu images --help")
    return key, value


def _passes(image: Image, filters: Sequence[tuple[str, str]], moments: dict[str, float]) -> bool:
    created = image.created or 0.0
    for key, value in filters:
        if key == "dangling" and (value in {"true", "1"}) != (not image.names):
            return False
        if key == "label" and not _has_label(image, value):
            return False
        if key == "before" and not created < moments["before"]:
            return False
        if key == "since" and not created > moments["since"]:
            return False
    return True


def _has_label(image: Image, wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    labels = image.config.config.labels
    return name in labels and (not equals or labels[name] == value)


def _matching(image: Image, patterns: Sequence[str]) -> list[str]:
    """The image's names that every pattern matches; one without a tag matches every tag."""
    from bennu.oci.reference import parse_reference

    def matches(name: str, pattern: str) -> bool:
        reference = parse_reference(name)
        forms = (reference.familiar, reference.name, reference.familiar_repository, reference.repository)
        return any(fnmatchcase(form, pattern) for form in forms)

    return [name for name in image.names if all(matches(name, pattern) for pattern in patterns)]
