"""All registries that a command asks: their hosts, who we are there, and one transport each.

``sources`` gives the repositories to read from, mirrors first; ``target`` the one to write to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Self

from bennu.config import Settings
from bennu.oci.reference import Reference
from bennu.registry.credentials import Credential, Credentials
from bennu.registry.hosts import Endpoint, Hosts
from bennu.registry.repository import Repository
from bennu.registry.transport import Transport


class Registries:
    """Registries as configured for one user. ``say`` is told of retries; a set ``cancel`` ends everything."""

    def __init__(
        self,
        hosts: Hosts,
        credentials: Credentials,
        *,
        cancel: threading.Event | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.hosts = hosts
        self.credentials = credentials
        self.cancel = cancel or threading.Event()
        self._say = say
        self._lock = threading.Lock()
        self._transports: dict[Endpoint, Transport] = {}

    @classmethod
    def of(cls, settings: Settings, say: Callable[[str], None] = lambda _line: None) -> Registries:
        """Those that the settings know."""
        return cls(Hosts(settings.registries), Credentials(settings.docker_config), say=say)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for transport in self._transports.values():
            transport.close()

    def sources(self, reference: Reference) -> tuple[Repository, ...]:
        """Where a repository is to be had, in the order in which to ask."""
        return tuple(self._repository(each, reference) for each in self.hosts.endpoints(reference.domain))

    def target(self, reference: Reference) -> Repository:
        """Where a repository is written."""
        return self._repository(self.hosts.endpoints(reference.domain, writing=True)[-1], reference)

    def transport(self, endpoint: Endpoint, credential: Callable[[], Credential | None] | None = None) -> Transport:
        """The transport to an address; with a credential of its own it is a new one."""
        if credential is not None:
            return Transport(endpoint, credential, cancel=self.cancel, say=self._say)
        with self._lock:
            if endpoint not in self._transports:
                # what is for a registry is not for the mirror of it
                who = endpoint.host if endpoint.is_mirror else endpoint.domain
                self._transports[endpoint] = Transport(
                    endpoint, partial(self.credentials.get, who), cancel=self.cancel, say=self._say
                )
            return self._transports[endpoint]

    def _repository(self, endpoint: Endpoint, reference: Reference) -> Repository:
        return Repository(self.transport(endpoint), reference.path)
