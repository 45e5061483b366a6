"""``bennu ps``: the containers, as ``docker ps`` lists them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.command import FORMAT, Arguments, Command, option, switch
from bennu.cli.context import Context
from bennu.cli.output import Column, listing
from bennu.cli.values import count

if TYPE_CHECKING:
    from bennu.runtime.containers import Container

COLUMNS = (
    Column("CONTAINER ID", "ID"),
    Column("IMAGE", "Image"),
    Column("COMMAND", "Command"),
    Column("CREATED", "RunningFor"),
    Column("STATUS", "Status"),
    Column("PORTS", "Ports"),
    Column("NAMES", "Names"),
)
FILTERS = ("id", "name", "label", "status", "ancestor", "exited", "volume", "network")

COMMAND = Command(
    "ps",
    "List containers",
    (
        switch("-a", "--all", help="Those that do not run too"),
        switch("-q", "--quiet", help="IDs only"),
        option("-f", "--filter", metavar="KEY=VALUE", dest="filters", help=", ".join(FILTERS), repeatable=True),
        option("-n", "--last", metavar="NUMBER", help="The last ones that were created", convert=count),
        switch("-l", "--latest", help="The last one that was created"),
        switch("--no-trunc", help="IDs and commands in full"),
        FORMAT,
    ),
    examples=(("bennu ps --all --filter status=exited", "what has ended"),),
)


def run(args: Arguments, context: Context) -> int:
    """List them, the newest first."""
    from bennu.cli.container_record import listed
    from bennu.wiring import Runtime

    filters = [_parsed(text) for text in args.filters]
    last = 1 if args.latest else args.last
    every = args.all or last is not None or any(key in {"status", "exited"} for key, _ in filters)
    with Runtime(context.settings) as runtime:
        found = [each for each in reversed(runtime.containers.list(ended=every)) if _matches(each, filters)]
        now = time.time()
        records = [listed(each, now, in_full=args.no_trunc) for each in found[:last]]
    context.stdout.write(listing(records, COLUMNS, form=args.format, quiet="ID" if args.quiet else None))
    return 0


def _parsed(text: str) -> tuple[str, str]:
    from bennu.errors import Usage

    key, equals, value = text.partition("=")
    if not equals or key not in FILTERS:
        raise Usage(f"--filter {text!r} is not KEY=VALUE with one of {', '.join(FILTERS)}")
    return key, value


def _matches(container: Container, filters: list[tuple[str, str]]) -> bool:
    """Every key has to match, by any of its values; every label has to be there."""
    wanted: dict[str, list[bool]] = {}
    for key, value in filters:
        group = f"label {value}" if key == "label" else key
        wanted.setdefault(group, []).append(_is(container, key, value))
    return all(map(any, wanted.values()))


def _is(container: Container, key: str, value: str) -> bool:
    record, status = container.record, container.status
    if key == "label":
        name, equals, wanted = value.partition("=")
        return name in record.labels and (not equals or record.labels[name] == wanted)
    if key == "exited":
        return status.state == "exited" and str(status.exit_status) == value
    if key == "volume":
        return any(value in {mount.source, mount.target} for mount in record.mounts)
    if key in {"id", "name"}:
        return record.id.startswith(value) if key == "id" else value.lstrip("/") in record.name
    actual = {"status": status.state, "network": record.options.network or "bridge"}
    if key in actual:
        return actual[key] == value
    manifest = record.manifest or ""
    return record.image_name in {value, f"{value}:latest"} or manifest.removeprefix("sha256:").startswith(value)
