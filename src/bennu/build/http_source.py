"""Files at URLs as sources: fetched once, and asked for again only whether they are still the same. HTTP and HTTPS.

``fetch`` streams to a file and hashes on the way. With what is ``Known`` of the last time it asks with the ETag, or
with Last-Modified where that is old enough to tell two versions apart (RFC 9110, 8.8.2.2). Redirects are followed,
certificates are checked, proxies are those of the environment. Every wait ends: a server that stands still is given up,
and so is a fetch that is cancelled. urllib3 is imported when something is fetched.
"""

from __future__ import annotations

import hashlib
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

import bennu
from bennu.build.remotes import without_credentials
from bennu.digest import Digest
from bennu.errors import BennuError, Failed, Unavailable
from bennu.host import http

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

LOOK_SECONDS: Final = 0.1
CHUNK_BYTES: Final = 1 << 18
REDIRECTS: Final = 10
CONNECT_RETRIES: Final = 2
STRONG_AFTER_SECONDS: Final = 60
CANCELLED: Final = 137


class Known(msgspec.Struct, frozen=True):
    """What is kept of a fetch: the content, what the server called it, and when it was modified (Unix seconds)."""

    digest: Digest
    etag: str = ""
    last_modified: str = ""
    modified: int = 0


class Fetched(msgspec.Struct, frozen=True):
    """A file as it is now. ``is_new``: its content was written; else it is that of ``known``. ``suggested`` is the name
    that the server gave it (Content-Disposition), if it did.
    """

    known: Known
    is_new: bool
    suggested: str = ""


def fetch(
    url: str,
    into: Path,
    *,
    known: Known | None = None,
    cancel: threading.Event | None = None,
    authorization: str | None = None,
) -> Fetched:
    """Bring a file to the path ``into``, which must not be there, unless it is what ``known`` says.

    ``Unavailable`` where nothing answers, or not with the file; ``Failed`` when cancelled.
    """
    cancel = cancel or threading.Event()
    outcome: list[Fetched | BaseException] = []

    def work() -> None:
        try:
            outcome.append(_fetch(url, into, known, cancel, authorization))
        except BaseException as error:  # noqa: BLE001 - raised again below
            outcome.append(error)

    # in a thread of its own, since a socket that waits cannot be woken: what is cancelled is left behind, and ends by
    # itself when its time is up
    thread = threading.Thread(target=work, name="bennu-fetch", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(LOOK_SECONDS)
        if cancel.is_set() and thread.is_alive():
            raise Failed("cancelled", status=CANCELLED)
    found = outcome[0]
    if isinstance(found, BaseException):
        raise found
    return found


def _fetch(url: str, into: Path, known: Known | None, cancel: threading.Event, authorization: str | None) -> Fetched:
    headers = {"User-Agent": f"bennu/{bennu.__version__}", "Accept-Encoding": "identity"}
    if known is not None and known.etag:
        headers["If-None-Match"] = known.etag
    elif known is not None and known.last_modified:
        headers["If-Modified-Since"] = known.last_modified
    if authorization is not None:
        headers["Authorization"] = authorization
    with _answer(url, headers) as response:
        etag = response.headers.get("ETag", "")
        suggested = _suggested(response.headers.get("Content-Disposition", ""))
        if known is not None and (response.status == 304 or (etag and _strong(etag) == _strong(known.etag))):
            return Fetched(known, is_new=False, suggested=suggested)
        if not 200 <= response.status < 400:
            reason = f" {response.reason}" if response.reason else ""
            raise Unavailable(f"URL {without_credentials(url)!r}: the server answers {response.status}{reason}")
        digest = _save(response, into, cancel)
        modified, is_strong = _modified(response)
        last = response.headers.get("Last-Modified", "") if is_strong else ""
        return Fetched(Known(digest, etag, last, modified), is_new=True, suggested=suggested)


@contextmanager
def _answer(url: str, headers: dict[str, str]) -> Iterator[BaseHTTPResponse]:
    """The server's answer, its body unread; whatever goes wrong on the wire is ``Unavailable``."""
    from urllib3 import Retry, Timeout, exceptions
    from urllib3.util import make_headers, parse_url

    shown = without_credentials(url)
    timeout = Timeout(connect=http.CONNECT_SECONDS, read=http.STILL_SECONDS)
    try:
        parsed = parse_url(url)
        if parsed.auth and "Authorization" not in headers:
            headers = headers | make_headers(basic_auth=parsed.auth)
        target = parsed._replace(auth=None, fragment=None).url
        retries = Retry(
            total=None, connect=CONNECT_RETRIES, read=0, status=0, other=0, redirect=REDIRECTS, backoff_factor=0.2
        )
        with http.pool(parsed.scheme or "http", parsed.host or "") as pool:
            response = pool.request(
                "GET", target, headers=headers, preload_content=False, retries=retries, timeout=timeout
            )
            try:
                yield response
            finally:
                response.close()
    except exceptions.MaxRetryError as error:
        raise Unavailable(f"URL {shown!r}: {http.reason(error.reason or error, timeout)}") from error
    except (exceptions.HTTPError, OSError, zlib.error) as error:
        raise Unavailable(f"URL {shown!r}: {http.reason(error, timeout)}") from error


def _save(response: BaseHTTPResponse, into: Path, cancel: threading.Event) -> Digest:
    running = hashlib.sha256()
    # Go's client, and so BuildKit, undoes gzip and nothing else
    decode = response.headers.get("Content-Encoding", "").lower() == "gzip"
    fd = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb", buffering=0) as target:
        for chunk in response.stream(CHUNK_BYTES, decode_content=decode):
            if cancel.is_set():
                raise Failed("cancelled", status=CANCELLED)
            running.update(chunk)
            view = memoryview(chunk)
            while view:
                try:
                    view = view[target.write(view) :]
                except OSError as error:  # no matter of the wire
                    raise BennuError(f"{str(into)!r}: {error.strerror}") from error
    return Digest(f"sha256:{running.hexdigest()}")


def _modified(response: BaseHTTPResponse) -> tuple[int, bool]:
    """When the file was modified (0: nobody says), and whether a later version would show another time."""
    modified = _moment(response.headers.get("Last-Modified", ""))
    answered = _moment(response.headers.get("Date", ""))
    if modified is None:
        return 0, False
    return modified, answered is not None and answered - modified >= STRONG_AFTER_SECONDS


def _moment(text: str) -> int | None:
    from email.utils import parsedate_to_datetime

    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


def _strong(etag: str) -> str:
    return etag.removeprefix("W/")


def _suggested(disposition: str) -> str:
    """The file name in a Content-Disposition, its last part only."""
    if not disposition:
        return ""
    from email.message import Message

    message = Message()
    message["Content-Disposition"] = disposition
    name = message.get_filename() or ""
    return "" if name.endswith("/") else name.rpartition("/")[2].strip()
