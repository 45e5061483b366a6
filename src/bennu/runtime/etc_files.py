"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container: their texts (pure), and where they stand.

They are bind-mounted over whatever the image has, so that an image never carries a name or a resolver of the host it
was built on. A resolver on the host's own loopback cannot be reached from another network namespace: those lines go,
and systemd-resolved's list of real servers is used where there is one (resolved.conf(5), resolv.conf(5)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from bennu.runtime.spec import MountPoint

RESOLV_CONF: Final = Path("/etc/resolv.conf")
RESOLVED_SERVERS: Final = Path("/run/systemd/resolve/resolv.conf")
FALLBACK_SERVERS: Final = ("8.8.8.8", "8.8.4.4")
NAMES: Final = ("hosts", "hostname", "resolv.conf")

_OPTIONS: Final = ("rbind", "rprivate", "nosuid", "nodev", "noexec")
_LOOPBACK_NAMES: Final = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)


def hosts_text(hostname: str, address: str | None, extra: Mapping[str, Sequence[str]]) -> str:
    """The content of /etc/hosts: loopback, ``extra`` (name -> addresses), the container's own name."""
    lines = [f"{place}\t{names}" for place, names in _LOOPBACK_NAMES]
    lines += [f"{place}\t{name}" for name, places in extra.items() for place in places]
    if hostname:
        lines.append(f"{address or '127.0.1.1'}\t{hostname}")
    return "\n".join(lines) + "\n"


class Resolver(NamedTuple):
    """What a container is to have in its resolv.conf instead of what the host has, as far as it is said."""

    servers: Sequence[str] = ()
    search: Sequence[str] = ()
    options: Sequence[str] = ()


def resolver_text(host: str, resolved: str | None, wanted: Resolver, *, shares_network: bool) -> str:
    """As ``resolv_text``, with what is wanted in the place of the host's."""
    text = resolv_text(host, resolved, shares_network=shares_network, servers=wanted.servers)
    replaced = {"search": wanted.search, "options": wanted.options}
    gone = {word for word, words in replaced.items() if words} | ({"domain"} if wanted.search else set())
    kept = [line for line in text.splitlines() if line.split()[:1] and line.split()[0] not in gone]
    added = [f"{word} {' '.join(words)}" for word, words in replaced.items() if words and list(words) != ["."]]
    return "\n".join((*kept, *added)) + "\n" if gone else text


def resolv_text(host: str, resolved: str | None, *, shares_network: bool, servers: Sequence[str] = ()) -> str:
    """The content of /etc/resolv.conf: the host's, without servers on a loopback that is not the container's own."""
    if servers:
        return "".join(f"nameserver {server}\n" for server in servers)
    if shares_network:
        return host
    source = resolved if resolved is not None and not _servers(host) else host
    kept = [line for line in source.splitlines() if not _is_local(line)]
    if not _servers(source):
        kept += [f"nameserver {server}" for server in FALLBACK_SERVERS]
    return "\n".join(kept) + "\n"


def _servers(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not _is_local(line)]
    return [line for line in lines if line.split()[:1] == ["nameserver"]]


def _is_local(line: str) -> bool:
    words = line.split()
    if words[:1] != ["nameserver"] or len(words) < 2:
        return False
    import ipaddress

    with suppress(ValueError):
        return ipaddress.ip_address(words[1].partition("%")[0]).is_loopback
    return False


def write(
    directory: Path,
    *,
    hostname: str,
    network: str,
    address: str | None = None,
    extra_hosts: Mapping[str, Sequence[str]] | None = None,
    resolver: Resolver | None = None,
) -> tuple[MountPoint, ...]:
    """Write the three files into a container's directory; what mounts them. ``network`` as in ``spec.Sandbox``."""
    shares = network == "host"
    texts = {
        "hosts": hosts_text(hostname, "127.0.0.1" if network == "none" else address, extra_hosts or {}),
        "hostname": f"{hostname}\n",
        "resolv.conf": resolver_text(
            _read(RESOLV_CONF) or "", _read(RESOLVED_SERVERS), resolver or Resolver(), shares_network=shares
        ),
    }
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
    return mounted(directory)


def write_for_step(
    directory: Path, *, hostname: str, network: str, extra: Sequence[tuple[str, str]] = ()
) -> tuple[MountPoint, ...]:
    """The files of a build's step, as BuildKit makes them: what mounts them, read-only.

    ``extra`` are pairs of name and address. /etc/hostname is the image's own.
    """
    lines = [f"127.0.0.1\tlocalhost {hostname}".rstrip(), "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += [f"{address}\t{name}" for name, address in extra]
    resolver = resolv_text(
        _read(RESOLV_CONF) or "", _read(RESOLVED_SERVERS), shares_network=network == "host", servers=()
    )
    for name, text in (("hosts", "\n".join(lines) + "\n"), ("resolv.conf", resolver)):
        (directory / name).write_text(text, encoding="utf-8")
    return tuple(
        MountPoint(target=f"/etc/{name}", source=str(directory / name), options=("ro", *_OPTIONS))
        for name in ("hosts", "resolv.conf")
    )


def mounted(directory: Path) -> tuple[MountPoint, ...]:
    """The mounts of files that ``write`` wrote."""
    return tuple(
        MountPoint(target=f"/etc/{name}", source=str(directory / name), kind="bind", options=_OPTIONS) for name in NAMES
    )


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
