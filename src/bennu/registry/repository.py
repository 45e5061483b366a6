"""A repository in the words of the specification: manifests, blobs, uploads, tags, referrers.

Every document is checked against the digest that it is asked by, whatever the registry says. Nothing is stored here.
Source: OCI distribution specification 1.1, "Endpoints", "Pull", "Push", "Listing Referrers".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import msgspec

from bennu.digest import Digest, algorithm, digest_of, encoded, finish, new_hash, parse_digest
from bennu.errors import Corrupt, Failed, Invalid, NotFound, Unavailable
from bennu.oci import media
from bennu.oci.descriptor import Descriptor
from bennu.oci.manifest import MAX_BYTES, Index, is_index, new_index, parse_index
from bennu.registry.challenge import repository_scope
from bennu.registry.transport import Answer, Body, Cut, Transport

T = TypeVar("T")

PAGE: Final = 1000
MOST_PAGES: Final = 10_000
DOCUMENT_ATTEMPTS: Final = 4
ACCEPTED: Final = ", ".join((*media.MANIFESTS, *media.INDEXES))
_TAG: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"


class Document(NamedTuple):
    """A manifest or an index as it came: its bytes, what it is, and its digest."""

    data: bytes
    media_type: str
    digest: Digest

    @property
    def descriptor(self) -> Descriptor:
        """How others point at it."""
        return Descriptor(self.media_type, self.digest, len(self.data))


class Upload(NamedTuple):
    """An upload under way: where the next bytes go, and how many the registry has."""

    url: str
    offset: int


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class Repository:
    """One repository of one registry. ``shown`` is how people call it."""

    def __init__(self, transport: Transport, path: str) -> None:
        self.transport = transport
        self.path = path
        self.shown = f"{transport.endpoint.domain}/{path}"
        self._base = f"/v2/{path}"

    # manifests

    def manifest(self, reference: str) -> Document:
        """The manifest or index of a tag or digest. ``NotFound``; ``Corrupt`` where its bytes are others."""
        url = f"{self._base}/manifests/{quote(reference, safe=':')}"
        last = ""
        for _ in range(DOCUMENT_ATTEMPTS):
            with self._request("GET", url, headers={"Accept": ACCEPTED}, wanted=(200, 404)) as answer:
                if answer.status == 404:
                    raise self._missing(reference)
                try:
                    data = answer.read(MAX_BYTES)
                except Cut as error:
                    last = error.reason
                    continue
                return self._document(reference, data, answer)
        raise Unavailable(f"{self.shown}: manifest {reference}: {last}")

    def _document(self, reference: str, data: bytes, answer: Answer) -> Document:
        stated = answer.headers.get("Docker-Content-Digest", "")
        wanted = parse_digest(reference) if ":" in reference else None
        if wanted is None and re.fullmatch(r"sha(256|512):[0-9a-f]+", stated):
            wanted = parse_digest(stated)
        found = _digest(data, wanted)
        if wanted is not None and found != wanted:
            raise Corrupt(f"{self.shown}: manifest {reference} should be {wanted}, but its bytes are {found}")
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        if kind not in (*media.MANIFESTS, *media.INDEXES, *media.DOCKER_SCHEMA_1):
            kind = self._kind(data, reference)
        return Document(data, kind, found)

    def _kind(self, data: bytes, reference: str) -> str:
        """What a document is that is mislabelled, as some registries behind others do."""
        try:
            return media.OCI_INDEX if is_index(data) else media.OCI_MANIFEST
        except Invalid as error:
            raise Invalid(f"{self.shown}: what it has as {reference} is no manifest: {error.message}") from error

    def find_manifest(self, reference: str) -> Descriptor | None:
        """What a tag or digest points at, without its bytes; None where it is not there."""
        url = f"{self._base}/manifests/{quote(reference, safe=':')}"
        with self._request("HEAD", url, headers={"Accept": ACCEPTED}, wanted=(200, 404)) as answer:
            if answer.status == 404:
                return None
            stated = answer.headers.get("Docker-Content-Digest") or (reference if ":" in reference else "")
            length = answer.headers.get("Content-Length", "")
            kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        if not stated or not length.isdigit():  # an old registry: its bytes say it
            return self.manifest(reference).descriptor
        return Descriptor(kind, parse_digest(stated), int(length))

    def put_manifest(self, reference: str, data: bytes, media_type: str) -> Digest:
        """Store a manifest or index under a tag or its digest; its digest. ``Corrupt`` if it was taken for another."""
        digest = _digest(data, parse_digest(reference) if ":" in reference else None)
        url = f"{self._base}/manifests/{quote(reference, safe=':')}"
        headers = {"Content-Type": media_type}
        with self._request("PUT", url, "pull,push", headers=headers, body=data, wanted=(200, 201, 202)) as answer:
            stated = answer.headers.get("Docker-Content-Digest", "")
        if stated and stated.startswith("sha256:") and digest.startswith("sha256:") and stated != digest:
            raise Corrupt(f"{self.shown}: the registry took {stated} for {digest}")
        return digest

    def delete_manifest(self, digest: Digest) -> None:
        """Remove a manifest with its tags. ``NotFound``; ``Unavailable`` where the registry does not delete."""
        url = f"{self._base}/manifests/{digest}"
        with self._request("DELETE", url, "pull,push,delete", wanted=(200, 202, 404)) as answer:
            if answer.status == 404:
                raise self._missing(digest)

    def _missing(self, reference: str) -> NotFound:
        joint = "@" if ":" in reference else ":"
        return NotFound(
            f"{self.shown}{joint}{reference} is not in the registry", f"`bennu registry ls {self.shown}` lists its tags"
        )

    # blobs

    def has_blob(self, digest: Digest) -> bool:
        """Whether a blob is there."""
        with self._request("HEAD", f"{self._base}/blobs/{digest}", wanted=(200, 404)) as answer:
            return answer.status == 200

    @contextmanager
    def blob(self, digest: Digest, offset: int = 0) -> Iterator[Answer]:
        """A blob's bytes from ``offset`` on, where the answer's status is 206; from its beginning where it is 200.

        ``NotFound``. The bytes are not checked here.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        url = f"{self._base}/blobs/{digest}"
        with self._request("GET", url, headers=headers, wanted=(200, 206, 404, 416)) as answer:
            if answer.status == 404:
                raise NotFound(f"{self.shown}: blob {digest} is not in the registry", "push its image again")
            if answer.status == 416:
                raise Corrupt(f"{self.shown}: blob {digest} is shorter than its manifest says")
            yield answer

    def read_blob(self, descriptor: Descriptor, limit_bytes: int = MAX_BYTES) -> bytes:
        """A small blob whole, verified."""
        digest = descriptor.digest
        if descriptor.size_bytes > limit_bytes:
            raise Invalid(f"{self.shown}: {digest} has {descriptor.size_bytes} bytes; {limit_bytes} are the limit")
        last = ""
        for _ in range(DOCUMENT_ATTEMPTS):
            try:
                with self.blob(digest) as answer:
                    data = answer.read(limit_bytes)
            except Cut as error:
                last = error.reason
                continue
            found = _digest(data, digest)
            if found != digest or len(data) != descriptor.size_bytes:
                raise Corrupt(f"{self.shown}: blob {digest} has the digest {found} and {len(data)} bytes")
            return data
        raise Unavailable(f"{self.shown}: blob {digest}: {last}")

    def delete_blob(self, digest: Digest) -> None:
        """Remove a blob; not an error if it is absent."""
        with self._request("DELETE", f"{self._base}/blobs/{digest}", "pull,push,delete", wanted=(202, 404)):
            pass

    # uploads

    def mount(self, digest: Digest, source: str) -> Upload | None:
        """Have a blob of another repository of the registry here; None where it is done, else an upload instead."""
        query = urlencode({"mount": digest, "from": source})
        scopes = (repository_scope(self.path, "pull,push"), repository_scope(source, "pull"))
        with self.transport.request(
            "POST",
            f"{self._base}/blobs/uploads/?{query}",
            scopes=scopes,
            headers={"Content-Length": "0"},
            wanted=(201, 202),
        ) as answer:
            return None if answer.status == 201 else self._begun(answer)

    def begin_upload(self) -> Upload:
        """Begin to upload a blob."""
        url = f"{self._base}/blobs/uploads/"
        with self._request("POST", url, "pull,push", headers={"Content-Length": "0"}, wanted=(202,)) as answer:
            return self._begun(answer)

    def status(self, upload: Upload) -> Upload:
        """How far the registry is with an upload. ``NotFound`` where it knows none of it any more."""
        with self._request("GET", upload.url, "pull,push", wanted=(204, 202, 200, 404)) as answer:
            if answer.status == 404:
                raise NotFound(f"{self.shown}: the registry has forgotten an upload")
            end = answer.headers.get("Range", "").rpartition("-")[2]
            # "0-0" is what registries say of none as well as of one byte: then nothing is taken for granted
            offset = int(end) + 1 if end.isdigit() and int(end) > 0 else 0
            return Upload(answer.location() or upload.url, offset)

    def send(self, upload: Upload, body: Body, size_bytes: int | None = None) -> Upload:
        """Send bytes from the upload's offset on, of a length that may not be known before; where to go on.

        After ``Unavailable``, ``status`` says how much has arrived.
        """
        headers = {"Content-Type": "application/octet-stream"}
        if size_bytes is not None:
            headers["Content-Range"] = f"{upload.offset}-{upload.offset + size_bytes - 1}"
        with self._request(
            "PATCH",
            upload.url,
            "pull,push",
            headers=headers,
            body=body,
            size_bytes=size_bytes,
            may_repeat=False,
            wanted=(202, 201, 204),
        ) as answer:
            return Upload(answer.location() or upload.url, upload.offset + (size_bytes or 0))

    def finish_upload(self, upload: Upload, digest: Digest, body: Body | None = None, size_bytes: int = 0) -> None:
        """Close an upload, with its bytes where it has none yet. ``Unavailable`` where the registry refuses them; then
        ``status`` says how much has arrived.
        """
        parts = urlsplit(upload.url)
        query = "&".join(part for part in (parts.query, urlencode({"digest": digest})) if part)
        url = urlunsplit(parts._replace(query=query))
        headers = {"Content-Type": "application/octet-stream"}
        with self._request(
            "PUT",
            url,
            "pull,push",
            headers=headers,
            body=body,
            size_bytes=size_bytes,
            may_repeat=False,
            wanted=(201, 204),
        ) as answer:
            stated = answer.headers.get("Docker-Content-Digest", digest)
            if stated != digest and algorithm(digest) == stated.partition(":")[0]:
                raise Corrupt(f"{self.shown}: the registry took {stated} for blob {digest}")

    def cancel_upload(self, upload: Upload) -> None:
        """Give an upload up; what the registry makes of it is its affair."""
        try:
            with self._request("DELETE", upload.url, "pull,push", may_repeat=False, wanted=range(200, 600)):
                pass
        except (Unavailable, Failed):
            return

    def _begun(self, answer: Answer) -> Upload:
        location = answer.location()
        if not location:
            raise Unavailable(f"{self.shown}: the registry begins an upload nowhere")
        return Upload(location, 0)

    # listings

    def tags(self) -> Iterator[str]:
        """Its tags, in the registry's order, page by page. ``NotFound`` where there is no such repository."""
        url: str | None = f"{self._base}/tags/list?n={PAGE}"
        for _ in range(MOST_PAGES):
            if url is None:
                return
            with self._request("GET", url, wanted=(200, 404)) as answer:
                if answer.status == 404:
                    raise NotFound(f"repository {self.shown} is not in the registry")
                page = self._decoded(answer, _Tags, "tags").tags or []
                following = answer.link("next")
            yield from page
            url = following if page and following != url else None
        raise Unavailable(f"{self.shown}: the list of tags does not end")

    def referrers(self, digest: Digest, artifact_type: str | None = None) -> Index:
        """What refers to a manifest (signatures, bills of materials), of one kind if asked; an empty index for nothing.

        A registry without the endpoint keeps them in an index under the tag that the digest gives.
        """
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        found: list[Descriptor] = []
        url: str | None = f"{self._base}/referrers/{digest}{query}"
        while url is not None and len(found) < PAGE * 10:
            with self._request("GET", url, headers={"Accept": media.OCI_INDEX}, wanted=(200, 404)) as answer:
                if answer.status == 404 or "index" not in answer.headers.get("Content-Type", ""):
                    found += self._tagged_referrers(digest)
                    break
                page = parse_index(self._whole(answer), f"referrers of {digest}").manifests
                found += page
                following = answer.link("next")
            url = following if page and following != url else None
        wanted = [each for each in found if artifact_type is None or each.artifact_type == artifact_type]
        return new_index(tuple(wanted))

    def _tagged_referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        try:
            document = self.manifest(referrers_tag(digest))
        except NotFound:
            return ()
        return parse_index(document.data, document.digest).manifests if document.media_type in media.INDEXES else ()

    # requests

    def _request(
        self,
        method: str,
        url: str,
        actions: str = "pull",
        *,
        headers: dict[str, str] | None = None,
        body: Body | bytes | None = None,
        size_bytes: int | None = None,
        may_repeat: bool = True,
        wanted: Collection[int] = (200,),
    ) -> AbstractContextManager[Answer]:
        return self.transport.request(
            method,
            url,
            scopes=(repository_scope(self.path, actions),),
            headers=headers,
            body=body,
            size_bytes=size_bytes,
            may_repeat=may_repeat,
            wanted=wanted,
        )

    def _whole(self, answer: Answer) -> bytes:
        try:
            return answer.read(MAX_BYTES)
        except Cut as error:
            raise Unavailable(f"{self.shown}: {error.reason}") from error

    def _decoded(self, answer: Answer, kind: type[_Tags], what: str) -> _Tags:
        try:
            return msgspec.json.decode(self._whole(answer), type=kind)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise Unavailable(f"{self.shown}: the registry's list of {what} is malformed: {error}") from error


def first_answer(sources: Sequence[Repository], ask: Callable[[Repository], T]) -> T:
    """What the first source answers that has it whole: mirrors come before the registry, whose error counts."""
    for source in sources[:-1]:
        try:
            return ask(source)
        except (NotFound, Unavailable, Corrupt):
            continue
    return ask(sources[-1])


def referrers_tag(digest: Digest) -> str:
    """The tag that keeps the referrers of a manifest where the registry has no list of them."""
    return f"{algorithm(digest)}-{encoded(digest)}"[:128]


def is_tag(text: str) -> bool:
    """Whether a tag is well formed."""
    return re.fullmatch(_TAG, text) is not None


def _digest(data: bytes, like: Digest | None) -> Digest:
    if like is None or algorithm(like) == "sha256":
        return digest_of(data)
    running = new_hash(like)
    running.update(data)
    return finish(running, algorithm(like))
