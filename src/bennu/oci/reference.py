"""References: how people name images, as Docker reads and shows them.

``debian`` is ``docker.io/library/debian:latest``; ``debian:bookworm`` is shown as it was typed; a first part with a
dot, a colon or an upper-case letter, or ``localhost``, is a registry's host. Source: the grammar in the reference
package of the distribution project, and the OCI distribution specification, "Pulling manifests". Nothing here looks
an image up: an ID or the prefix of one is no reference, and ``store.images`` knows the difference.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from bennu.digest import Digest, parse_digest
from bennu.errors import Invalid

DEFAULT_DOMAIN: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
_OFFICIAL: Final = "library/"
_LEGACY_DOMAIN: Final = "index.docker.io"
_MAX_NAME: Final = 255

# Patterns stay text: they are compiled at their first use, and re keeps them.
_LABEL: Final = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN: Final = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH: Final = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_IDENTIFIER: Final = r"[a-f0-9]{64}"


class Reference(msgspec.Struct, frozen=True, order=True):
    """A reference in full: host, path, and a tag or a digest or both or neither."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def repository(self) -> str:
        """``docker.io/library/debian``."""
        return f"{self.domain}/{self.path}"

    @property
    def name(self) -> str:
        """``docker.io/library/debian:bookworm``: the repository and the tag, without a digest."""
        return self.repository + (f":{self.tag}" if self.tag else "")

    @property
    def familiar_repository(self) -> str:
        """``debian``: the repository as people write it."""
        if self.domain != DEFAULT_DOMAIN:
            return self.repository
        official = self.path.removeprefix(_OFFICIAL)
        if "/" not in official:
            return official
        # a path whose first part would be read back as a host stays in full
        return self.repository if _is_host(self.path.partition("/")[0]) else self.path

    @property
    def familiar(self) -> str:
        """``debian:bookworm``, with the digest if there is one."""
        return self._suffixed(self.familiar_repository)

    def __str__(self) -> str:
        return self._suffixed(self.repository)

    def tagged(self, default: str = DEFAULT_TAG) -> Reference:
        """The same with a tag: ``default`` where there is neither a tag nor a digest."""
        return self if self.tag or self.digest else Reference(self.domain, self.path, default)

    def _suffixed(self, repository: str) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return repository + tag + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """The reference that a person wrote, in full; without a tag where none was written.

    ``Invalid`` says what is wrong with it.
    """
    if re.fullmatch(_IDENTIFIER, text):
        raise Invalid(f"{text!r} is an image ID, not a name", "give the image a name with `bennu tag`")
    rest, at, digest_text = text.partition("@")
    digest = _digest(text, digest_text) if at else None
    name, tag = _split_tag(rest)
    domain, path = _split_domain(name)
    if not name:
        raise _invalid(text, "it has no name")
    if path != path.lower():
        raise _invalid(text, f"the repository name {path!r} must be lower case")
    if domain != DEFAULT_DOMAIN and not re.fullmatch(_DOMAIN, domain):
        raise _invalid(text, f"{domain!r} is not a host or host:port")
    if not re.fullmatch(_PATH, path):
        raise _invalid(text, f"{path!r} is not a repository name")
    if tag is not None and not re.fullmatch(_TAG, tag):
        raise _invalid(text, f"{tag!r} is not a tag")
    if len(domain) + 1 + len(path) > _MAX_NAME:
        raise _invalid(text, f"its name is longer than {_MAX_NAME} characters")
    return Reference(domain, path, tag, digest)


def parse_name(text: str) -> Reference:
    """A reference that names something of the store: the tag ``latest`` where none was written, never a digest."""
    reference = parse_reference(text)
    if reference.digest is not None:
        raise _invalid(text, "a digest cannot be given to an image, it has one")
    return reference.tagged()


def _split_tag(text: str) -> tuple[str, str | None]:
    name, colon, tag = text.rpartition(":")
    # the colon of a port stands before the last slash
    return (name, tag) if colon and "/" not in tag else (text, None)


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash or not _is_host(first):
        domain, path = DEFAULT_DOMAIN, name
    else:
        domain, path = (DEFAULT_DOMAIN if first == _LEGACY_DOMAIN else first), rest
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = _OFFICIAL + path
    return domain, path


def _is_host(first: str) -> bool:
    return "." in first or ":" in first or first == "localhost" or first != first.lower()


def _digest(text: str, digest: str) -> Digest:
    try:
        return parse_digest(digest)
    except Invalid as error:
        raise _invalid(text, error.message) from error


def _invalid(text: str, reason: str) -> Invalid:
    return Invalid(f"reference {text!r}: {reason}", "a reference reads [HOST[:PORT]/]NAME[:TAG][@DIGEST]")
