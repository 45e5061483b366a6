"""HAProxy's configuration and its map, as text: pure functions of the state.

Decisions that the text carries (measured in ``docs/decisions/0002-how-servers-get-into-haproxy.md``):

- ``http-reuse always`` with one retry for GET and HEAD where a server closes an idle connection just as it is used;
  every other method goes through a twin backend (``.fresh``) that opens a connection for each request, since a POST
  must never be sent twice and so must never meet a connection that may be dying.
- Failed connections are redispatched at once, for every method: nothing has been sent then.
- Timeouts do not cut what is slow (an hour between two bytes of a request or response, a week of silence in TCP and
  WebSockets); dead peers are found by TCP keep-alive.
- How long the answers of each set took is counted by HAProxy itself, for canaries and watches (measured in
  ``docs/decisions/0006-how-slow-a-set-is.md``).
- The slot is looked up for each request (HTTP) or each connection (TCP): ``ADDRESS/SERVICE`` first, where who asks is a
  candidate's replica and the service has a candidate, then ``SERVICE/BUCKET``, where a canary has entries for some of
  the 100 buckets, then ``SERVICE``. Names mean the same to everybody, so what a program has looked up once stays right.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from bennu.switch.model import Bind, Frontend, PlacedSet, Server, SwitchState

BUCKETS = 100
FRESH = ".fresh"
TIME_STEPS = ((20_000, 1_000), (200_000, 10_000), (2_000_000, 100_000), (20_000_000, 1_000_000))
"""From which time on (microseconds) times are counted in which units; tenths of a millisecond below: 5 % at worst."""


@dataclass(frozen=True, slots=True)
class Places:
    """Paths of one HAProxy process, and the user it becomes once it has its sockets (None: it stays what it is)."""

    socket: str
    map: str
    chroot: str | None = None
    user: str | None = None
    group: str | None = None


def slot_name(service: str, slot: int) -> str:
    """What the map's values are: ``web.0``."""
    return f"{service}.{slot}"


def backend_names(frontend: Frontend, slot: int) -> tuple[str, ...]:
    """The backends of one port of a slot: one, and its twin in HTTP mode."""
    name = f"{slot_name(frontend.service, slot)}.{frontend.port}"
    return (name, name + FRESH) if frontend.protocol == "http" else (name,)


def server_name(set_id: str, server: Server) -> str:
    """A server's name in its backend: it says whose it is, so that a slot can be used again at once."""
    return f"{set_id}:{server.name}"


def server_words(server: Server, frontend: Frontend, *, fresh: bool) -> str:
    """A server's address and options, the same in the file as over the socket, where no defaults apply."""
    host = f"[{server.address}]" if ":" in server.address else server.address
    words = [f"{host}:{server.port_of(frontend)}"]
    if frontend.protocol == "http":
        words.append("pool-max-conn 0" if fresh else "pool-max-conn -1 pool-purge-delay 5s")
    if frontend.proxy_header:
        words.append("send-proxy-v2")
    return " ".join(words)


def table_name(frontend: Frontend) -> str:
    """The table in which an HTTP frontend counts how long the answers of each set took."""
    return f"{frontend.service}.{frontend.port}"


def map_entries(state: SwitchState) -> dict[str, str]:
    """The map: for each active service its slot, for a canary's share of the buckets the canary's slot, and for each
    address of a candidate's replica the slots of all candidates.
    """
    entries: dict[str, str] = {}
    for service in sorted(state.active):
        found = state.active_set(service)
        if found is not None:
            entries[service] = slot_name(service, found.slot)
        canary = state.canaries.get(service)
        placed = None if canary is None else state.find(service, canary.set)
        if canary is not None and placed is not None:
            entries |= {f"{service}/{bucket}": slot_name(service, placed.slot) for bucket in range(canary.percent)}
    candidates = [found for name, one in sorted(state.candidates.items()) if (found := state.find(name, one))]
    for asking in (server.address for placed in candidates for server in placed.servers):
        entries |= {f"{asking}/{one.service}": slot_name(one.service, one.slot) for one in candidates}
    return entries


def map_text(state: SwitchState) -> str:
    """The map as a file."""
    return "".join(f"{key} {value}\n" for key, value in map_entries(state).items())


def streams(state: SwitchState) -> tuple[Frontend, ...]:
    """The frontends that are HAProxy's: all but UDP, and only those that listen anywhere."""
    return tuple(one for one in state.frontends if one.protocol != "udp" and one.binds)


def shape(state: SwitchState, places: Places) -> str:
    """A digest of everything that a running process cannot be told over its socket."""
    neutral = Places(socket="", map="", chroot=places.chroot, user=places.user, group=places.group)
    bare = msgspec.structs.replace(state, sets=(), active={}, canaries={}, candidates={})
    return hashlib.sha256(config_text(bare, neutral).encode()).hexdigest()[:16]


def config_text(state: SwitchState, places: Places) -> str:
    """The whole file: what a process needs to start as the committed switch. The same state gives the same text."""
    sections = [_global(places), _DEFAULTS]
    for frontend in streams(state):
        sections.append(_frontend(frontend, places))
        placed = {one.slot: one for one in state.sets if one.service == frontend.service}
        sections.extend(_backends(frontend, slot, placed.get(slot)) for slot in range(state.slots[frontend.service]))
    return "\n".join(sections)


def _global(places: Places) -> str:
    lines = [
        "global",
        "    # more would only be allocated: memory for every descriptor the host allows",
        "    fd-hard-limit 65536",
        f'    stats socket "{places.socket}" mode 600 level admin expose-fd listeners',
        "    stats timeout 1m",
    ]
    if places.user and places.group:
        lines += [f"    user {places.user}", f"    group {places.group}"]
    if places.chroot:
        lines.append(f'    chroot "{places.chroot}"')
    return "\n".join(lines) + "\n"


_DEFAULTS = """\
defaults
    timeout connect 500ms
    timeout client 1h
    timeout server 1h
    timeout tunnel 7d
    timeout client-fin 30s
    timeout server-fin 30s
    timeout http-request 1m
    timeout http-keep-alive 75s
    option tcpka
    option redispatch 1
    retries 3
"""


def _bind(bind: Bind) -> str:
    if ":" in bind.address:
        return f"    bind [{bind.address}]:{bind.port} v6only"
    return f"    bind {bind.address}:{bind.port}"


def _frontend(frontend: Frontend, places: Places) -> str:
    service, port, http = frontend.service, frontend.port, frontend.protocol == "http"
    rule = "http-request" if http else "tcp-request content"
    lines = [
        f"frontend {service}.{port}",
        f"    mode {'http' if http else 'tcp'}",
        *(_bind(bind) for bind in frontend.binds),
        f"    {rule} set-var(txn.bucket) rand({BUCKETS})",
        f"    {rule} set-var(txn.slot) str({service}),map({places.map})",
        # a converter that finds nothing leaves the variable as it is
        f"    {rule} set-var(txn.slot) str({service}/),concat(,txn.bucket),map({places.map})",
        f"    {rule} set-var(txn.slot) src,concat(/{service}),map({places.map})",
    ]
    if http:
        lines += _timing(frontend)
        lines.append("    option forwardfor")
        lines.append(f"    use_backend %[var(txn.slot)].{port} if METH_GET")
        lines.append(f"    use_backend %[var(txn.slot)].{port}{FRESH}")
    else:
        lines.append(f"    use_backend %[var(txn.slot)].{port}")
    return "\n".join(lines) + "\n"


def _timing(frontend: Frontend) -> list[str]:
    """Counts the answers of each set by the time from the head of the request to the head of the answer.

    The key is ``SET/MICROSECONDS``, rounded down. It is the wall clock's time; whoever reads looks whether that jumped.
    """
    took = "http-response set-var(txn.took)"
    return [
        f"    stick-table type string len {len(frontend.service) + 40} size 20k expire 1d store gpc0",
        "    http-request set-var(txn.began) date(0,us)",
        f"    {took} date(0,us),sub(txn.began)",
        "    http-response set-var(txn.unit) int(100)",
        *(
            f"    http-response set-var(txn.unit) int({unit}) if {{ var(txn.took) -m int ge {least} }}"
            for least, unit in TIME_STEPS
        ),
        f"    {took} var(txn.took),div(txn.unit),mul(txn.unit)",
        f"    http-response track-sc0 srv_name,field(1,:),concat(/,txn.took) table {table_name(frontend)}",
        "    http-response sc-inc-gpc0(0)",
    ]


def _backends(frontend: Frontend, slot: int, placed: PlacedSet | None) -> str:
    sections = []
    for name in backend_names(frontend, slot):
        fresh = name.endswith(FRESH)
        lines = [f"backend {name}", *_behaviour(frontend, fresh=fresh)]
        if placed is not None:
            for server in placed.servers:
                words = server_words(server, frontend, fresh=fresh)
                disabled = "" if server.ready else " disabled"
                lines.append(f"    server {server_name(placed.set, server)} {words}{disabled}")
        sections.append("\n".join(lines) + "\n")
    return "".join(sections)


def _behaviour(frontend: Frontend, *, fresh: bool) -> tuple[str, ...]:
    if frontend.protocol != "http":
        return ("    mode tcp", "    balance leastconn")
    if fresh:
        return ("    mode http", "    balance roundrobin", "    option http-server-close", "    http-reuse never")
    return (
        "    mode http",
        "    balance roundrobin",
        "    http-reuse always",
        "    retry-on conn-failure empty-response",
    )
