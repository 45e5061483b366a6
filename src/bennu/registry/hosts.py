"""Where registries are and whom they are trusted by: mirrors, plain HTTP, certificates, as configured.

``registries.toml`` (``BENNU_REGISTRIES``, else in ``/etc/bennu`` or, for an ordinary user, ``~/.config/bennu``) has a
table a registry. What Docker was told counts too: ``insecure-registries`` and ``registry-mirrors`` of its
``daemon.json``, and ``certs.d/HOST`` with ``ca.crt``, ``client.cert`` and ``client.key``. A registry on this host may
speak plain HTTP, as with Docker.

    [registry."docker.io"]
    mirrors = ["https://mirror.example:5000"]
    [registry."10.0.0.5:5000"]
    insecure = true                     # plain HTTP, or HTTPS with a certificate that nobody signed
    [registry."registry.example"]
    ca = "/etc/ssl/registry.pem"        # client_cert and client_key likewise
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from bennu.errors import BennuError, Invalid
from bennu.host.http import is_this_host

HUB_DOMAIN: Final = "docker.io"
HUB_HOST: Final = "registry-1.docker.io"
DOCKER: Final = Path("/etc/docker")


class Endpoint(msgspec.Struct, frozen=True):
    """An address where a registry's repositories are to be had. ``host`` may have a port; ``domain`` is the registry's
    name in references. ``plain``: HTTP is tried where HTTPS does not answer (``scheme`` None) or alone ("http").
    """

    domain: str
    host: str
    scheme: str | None = "https"
    verify: bool = True
    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    prefix: str = ""
    is_mirror: bool = False


class _Registry(msgspec.Struct, forbid_unknown_fields=True):
    """A table of the file."""

    mirrors: list[str] = []
    insecure: bool = False
    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


class Hosts:
    """What is configured of all registries. ``docker`` is Docker's configuration directory."""

    def __init__(self, file: Path | None, docker: Path | None = DOCKER) -> None:
        self._docker = docker
        self._tables = _read(file) if file is not None and file.exists() else {}
        daemon = {} if docker is None else _daemon(docker / "daemon.json")
        self._insecure = [str(each) for each in daemon.get("insecure-registries") or ()]
        self._hub_mirrors = [str(each) for each in daemon.get("registry-mirrors") or ()]

    def endpoints(self, domain: str, *, writing: bool = False) -> tuple[Endpoint, ...]:
        """Where to ask for a registry, in order: its mirrors, which are read only, then itself."""
        table = self._tables.get(domain, _Registry())
        mirrors = [] if writing else [*table.mirrors, *(self._hub_mirrors if domain == HUB_DOMAIN else ())]
        return (
            *(self._mirror(domain, url) for url in mirrors),
            self._endpoint(domain, HUB_HOST if domain == HUB_DOMAIN else domain),
        )

    def _endpoint(self, domain: str, host: str) -> Endpoint:
        table = self._tables.get(domain, _Registry())
        insecure = table.insecure or host in self._insecure
        return self._trusted(
            Endpoint(
                domain=domain,
                host=host,
                scheme=None if insecure or is_this_host(_name(host)) else "https",
                verify=not insecure,
                ca=table.ca,
                client_cert=table.client_cert,
                client_key=table.client_key,
            )
        )

    def _mirror(self, domain: str, url: str) -> Endpoint:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.username:
            raise Invalid(f"mirror {url!r} of registry {domain!r} is no address", "write https://HOST[:PORT]")
        own = self._endpoint(parts.netloc, parts.netloc)
        return msgspec.structs.replace(
            own, domain=domain, scheme=parts.scheme, prefix=parts.path.strip("/"), is_mirror=True
        )

    def _trusted(self, endpoint: Endpoint) -> Endpoint:
        """With the certificates that Docker keeps for a host, where nothing else is said."""
        if self._docker is None:
            return endpoint
        place = self._docker / "certs.d" / endpoint.host
        files = {"ca": "ca.crt", "client_cert": "client.cert", "client_key": "client.key"}
        found = {
            key: str(place / name)
            for key, name in files.items()
            if getattr(endpoint, key) is None and (place / name).is_file()
        }
        return msgspec.structs.replace(endpoint, **found)


def _name(host: str) -> str:
    return urlsplit(f"//{host}").hostname or host


def _read(file: Path) -> dict[str, _Registry]:
    try:
        content = tomllib.loads(file.read_text())
        unknown = content.keys() - {"registry"}
        if unknown:
            raise Invalid(f"has the unknown key {min(unknown)!r}", 'write [registry."HOST"]', file=str(file))
        return msgspec.convert(content.get("registry", {}), dict[str, _Registry])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise Invalid(f"configuration of registries: {error}", file=str(file)) from error
    except OSError as error:
        raise BennuError(f"{str(file)!r}: {error.strerror}") from error


def _daemon(file: Path) -> dict[str, Any]:
    """Docker's own configuration; one that cannot be read is Docker's affair, not ours."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
