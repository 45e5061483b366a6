"""One request to a registry, with all that may go wrong on the way: authorised, redirected, retried, given up.

A request is sent again after an error of the wire, 408, 429 and 5xx, up to ``ATTEMPTS`` times, as far apart as the
server asks (Retry-After) or ever further; one whose body cannot be given again is not. A 401 is answered with a token
or a password, once for each token: one that has expired in the middle is got anew. Redirects are followed by hand, so
that ``Authorization`` stays with the host that it is for, and never from HTTPS to HTTP. Every wait ends, and a set
``cancel`` ends it early. Source: OCI distribution specification 1.1; RFC 9110; the distribution project's token
documents.
"""

from __future__ import annotations

import contextlib
import email.utils
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import msgspec

import bennu
from bennu.errors import BennuError, Failed, Unavailable
from bennu.host import http
from bennu.registry.authority import Authority
from bennu.registry.credentials import Credential
from bennu.registry.hosts import Endpoint

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

ATTEMPTS: Final = 6
CONNECT_ATTEMPTS: Final = 3
FIRST_PAUSE_SECONDS: Final = 0.25
LONGEST_PAUSE_SECONDS: Final = 60.0
REDIRECTS: Final = 10
CONNECTIONS: Final = 8
DRAINED_BYTES: Final = 1 << 16
CANCELLED: Final = 137
AGENT: Final = f"bennu/{bennu.__version__}"
DOCUMENT_BYTES: Final = 4 << 20
"""No answer that is held in memory is read beyond this."""
CHUNK_BYTES: Final = 1 << 18
AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
MOVED: Final = frozenset({301, 302, 303, 307, 308})

Body = Callable[[], Generator[bytes, None, None]]
"""Gives the body of a request from its beginning, as often as it is sent."""


class Cut(Exception):
    """The connection broke while an answer was read, or there was none (``is_unreachable``); ``reason`` is for people.
    What has been read is good.
    """

    def __init__(self, reason: str, *, is_unreachable: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_unreachable = is_unreachable


class Answer:
    """An answer whose body has not been read. ``url`` is where it came from, after redirects; ``authorization`` what
    was sent along.
    """

    def __init__(
        self,
        response: BaseHTTPResponse,
        url: str,
        timeout_words: Callable[[BaseException], str],
        authorization: str | None = None,
    ) -> None:
        self._response = response
        self._words = timeout_words
        self.url = url
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.authorization = authorization

    def close(self) -> None:
        """Let it go; a connection whose answer was read to its end is used again."""
        left = self._response.length_remaining
        if left is not None and left <= DRAINED_BYTES:
            self._response.drain_conn()
        else:
            self._response.close()

    def read(self, limit_bytes: int = DOCUMENT_BYTES) -> bytes:
        """A small body whole. ``Cut``; ``Failed`` where it is larger than the limit."""
        parts, count = [], 0
        for chunk in self.chunks():
            count += len(chunk)
            if count > limit_bytes:
                raise Failed(f"{urlsplit(self.url).netloc}: the answer is larger than {limit_bytes >> 20} MiB")
            parts.append(chunk)
        return b"".join(parts)

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces, as it comes. ``Cut`` where the connection breaks before the announced end."""
        from urllib3 import exceptions

        try:
            while chunk := self._response.read1(CHUNK_BYTES, decode_content=False):
                yield chunk
        except (exceptions.HTTPError, OSError) as error:
            raise Cut(self._words(error)) from error

    def link(self, relation: str) -> str | None:
        """The address in the ``Link`` header with this relation, absolute."""
        for part in self.headers.get("Link", "").split(","):
            address, _, rest = part.strip().partition(">")
            if address.startswith("<") and relation in rest.replace('"', "").replace(" ", "").split("rel=")[-1:]:
                return urljoin(self.url, address[1:])
        return None

    def location(self) -> str:
        """Where the ``Location`` header points, absolute; the empty string where there is none."""
        found = self.headers.get("Location", "")
        return urljoin(self.url, found) if found else ""

    def problem(self) -> str:
        """What the registry says is wrong: its own words, or the status."""
        said = ""
        with contextlib.suppress(Cut, Failed, msgspec.DecodeError, msgspec.ValidationError):
            errors = msgspec.json.decode(self.read(1 << 16), type=_Problems).errors
            said = "; ".join(filter(None, (f"{each.message or each.code}".strip() for each in errors)))
        reason = f"{self.status} {self._response.reason or ''}".strip()
        return f"{reason}: {' '.join(said.split())[:300]}" if said else reason


class _Problem(msgspec.Struct):
    code: str = ""
    message: str | None = None


class _Problems(msgspec.Struct):
    errors: list[_Problem] = []


class _Sent(NamedTuple):
    """A request as it is sent."""

    method: str
    url: str
    scopes: Collection[str]
    headers: Mapping[str, str]
    body: Body | bytes | None
    size_bytes: int | None


class Transport:
    """Requests to one endpoint. Safe with several threads. ``say`` is told of every retry, in one line."""

    def __init__(
        self,
        endpoint: Endpoint,
        credential: Callable[[], Credential | None] = lambda: None,
        *,
        cancel: threading.Event | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.endpoint = endpoint
        self.cancel = cancel or threading.Event()
        self._say = say
        self._lock = threading.Lock()
        self._scheme = endpoint.scheme
        self._pools: dict[tuple[str, str], PoolManager] = {}
        self._authority = Authority(credential, self._token_request)

    def close(self) -> None:
        """Let the connections go."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()
            self._pools.clear()

    @property
    def base(self) -> str:
        """``https://host``; found out at first use for a host that may speak plain HTTP."""
        with self._lock:
            if self._scheme is None:
                self._scheme = self._probe()
            prefix = f"/{self.endpoint.prefix}" if self.endpoint.prefix else ""
            return f"{self._scheme}://{self.endpoint.host}{prefix}"

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        *,
        scopes: Collection[str] = (),
        headers: Mapping[str, str] | None = None,
        body: Body | bytes | None = None,
        size_bytes: int | None = None,
        may_repeat: bool = True,
        wanted: Collection[int] = (200,),
    ) -> Iterator[Answer]:
        """The answer to a request, once it has one of the ``wanted`` statuses; 404 may be among them.

        ``url`` is absolute, or a path of the registry's. ``Unavailable`` names the registry and what it said.
        """
        target = url if "://" in url else self.base + url
        answer = self._attempts(_Sent(method, target, scopes, headers or {}, body, size_bytes), may_repeat)
        try:
            if answer.status not in wanted:
                raise self._refused(answer, method)
            yield answer
        finally:
            answer.close()

    # what happens to one request

    def _attempts(self, sent: _Sent, may_repeat: bool) -> Answer:
        renewed = 0
        attempt = 0
        while True:
            attempt += 1
            last = attempt >= ATTEMPTS or not may_repeat
            try:
                answer = self._follow(sent)
            except Cut as error:
                if last or (error.is_unreachable and attempt >= CONNECT_ATTEMPTS):
                    raise Unavailable(f"registry {self.endpoint.host!r}: {error.reason}") from error
                self._pause(attempt, None, error.reason)
                continue
            if answer.status == 401 and renewed < 2 and self._may_ask_again(answer, sent):
                renewed += 1  # the first for want of a token, the second because the one there was has expired
                attempt -= 1
                answer.close()
                continue
            if answer.status not in AGAIN or last:
                return answer
            asked = _retry_after(answer.headers.get("Retry-After"), time.time())
            reason = answer.problem()
            answer.close()
            self._pause(attempt, asked, reason)

    def _may_ask_again(self, answer: Answer, sent: _Sent) -> bool:
        return self._authority.answer(answer.headers, sent.scopes, answer.authorization)

    def _follow(self, sent: _Sent) -> Answer:
        home, url = urlsplit(sent.url), sent.url
        for _ in range(REDIRECTS + 1):
            parts = urlsplit(url)
            headers = {"User-Agent": AGENT, "Accept-Encoding": "identity", **sent.headers}
            if (parts.scheme, parts.netloc) == (home.scheme, home.netloc) and self._is_own(parts.netloc):
                headers |= self._authority.headers(sent.scopes)
            answer = self._send(sent._replace(url=url, headers=headers))
            if answer.status not in MOVED or (sent.method not in {"GET", "HEAD"} and answer.status not in {307, 308}):
                return answer
            following = answer.location()
            answer.close()
            if not following:
                raise Unavailable(f"registry {self.endpoint.host!r}: a redirect of {home.path} leads nowhere")
            if urlsplit(following).scheme not in {"https", parts.scheme}:
                raise Unavailable(f"registry {self.endpoint.host!r}: refused a redirect from HTTPS to {following!r}")
            url = following
        raise Unavailable(f"registry {self.endpoint.host!r}: {home.path} was redirected more than {REDIRECTS} times")

    def _is_own(self, netloc: str) -> bool:
        return netloc == self.endpoint.host

    def _send(self, sent: _Sent) -> Answer:
        from urllib3 import Timeout, exceptions

        if self.cancel.is_set():
            raise Failed("cancelled", status=CANCELLED)
        timeout = Timeout(connect=http.CONNECT_SECONDS, read=http.STILL_SECONDS)
        length = {} if sent.size_bytes is None else {"Content-Length": str(sent.size_bytes)}
        with contextlib.ExitStack() as stack:
            body = stack.enter_context(contextlib.closing(sent.body())) if callable(sent.body) else sent.body
            try:
                response = self._pool(sent.url).request(
                    sent.method,
                    sent.url,
                    headers={**sent.headers, **length},
                    body=body,
                    redirect=False,
                    retries=False,
                    timeout=timeout,
                    preload_content=False,
                    decode_content=False,
                )
            except (exceptions.HTTPError, OSError) as error:
                unreachable = isinstance(error, (exceptions.NewConnectionError, exceptions.ConnectTimeoutError))
                reason = http.reason(getattr(error, "reason", None) or error, timeout)
                raise Cut(reason, is_unreachable=unreachable or isinstance(error, exceptions.SSLError)) from error
        given = sent.headers.get("Authorization")
        return Answer(response, sent.url, lambda error: http.reason(error, timeout), given)

    def _pool(self, url: str) -> PoolManager:
        parts = urlsplit(url)
        own = self._is_own(parts.netloc)
        with self._lock:
            key = (parts.scheme, parts.netloc)
            if key not in self._pools:
                trust: dict[str, object] = {}
                if parts.scheme == "https" and own:
                    trust = {
                        "ca_certs": self.endpoint.ca,
                        "cert_file": self.endpoint.client_cert,
                        "key_file": self.endpoint.client_key,
                    }
                    trust = {name: value for name, value in trust.items() if value is not None}
                    if not self.endpoint.verify:
                        trust |= {"cert_reqs": "CERT_NONE", "assert_hostname": False}
                self._pools[key] = http.pool(
                    parts.scheme, parts.hostname or "", maxsize=CONNECTIONS, num_pools=2, block=False, **trust
                )
            return self._pools[key]

    def _probe(self) -> str:
        """Whether a host that may speak plain HTTP speaks HTTPS. Called under the lock, once."""
        import ssl
        import warnings

        from urllib3 import Timeout, exceptions

        warnings.simplefilter("ignore", exceptions.InsecureRequestWarning)
        timeout = Timeout(connect=http.CONNECT_SECONDS, read=http.STILL_SECONDS)
        options: dict[str, object] = {} if self.endpoint.ca else {"cert_reqs": "CERT_NONE", "assert_hostname": False}
        if self.endpoint.ca:
            options["ca_certs"] = self.endpoint.ca
        pool = http.pool("https", urlsplit(f"//{self.endpoint.host}").hostname or "", **options)
        try:
            pool.request("GET", f"https://{self.endpoint.host}/v2/", retries=False, timeout=timeout, redirect=False)
        except exceptions.SSLError as error:
            inner = error.__cause__ or error.__context__ or error
            if isinstance(inner, ssl.SSLCertVerificationError):
                raise Unavailable(f"registry {self.endpoint.host!r}: {http.reason(error, timeout)}") from error
            return "http"
        except (exceptions.HTTPError, OSError):
            return "http"  # whatever is wrong, plain HTTP says it
        finally:
            pool.clear()
        if self.endpoint.ca is None:
            self.endpoint = msgspec.structs.replace(self.endpoint, verify=False)
        return "https"

    def _token_request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        """What an authorisation server answers, for ``Authority``."""
        if urlsplit(url).scheme == "http" and self.base.startswith("https:"):
            raise Unavailable(f"registry {self.endpoint.host!r}: refused to send a password to {url!r}")
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = self._send(_Sent(method, url, (), {"User-Agent": AGENT, **headers}, body, None))
                with contextlib.closing(answer):
                    if answer.status == 200:
                        return answer.read()
                    if answer.status not in AGAIN or attempt >= ATTEMPTS:
                        host = urlsplit(url).netloc
                        raise Unavailable(
                            f"registry {self.endpoint.domain!r}: {host} gives no token: {answer.problem()}",
                            f"`bennu login {self.endpoint.domain}`" if answer.status in {400, 401, 403} else None,
                        )
                    asked, reason = _retry_after(answer.headers.get("Retry-After"), time.time()), answer.problem()
            except Cut as error:
                if attempt >= (CONNECT_ATTEMPTS if error.is_unreachable else ATTEMPTS):
                    raise Unavailable(
                        f"registry {self.endpoint.domain!r}: {urlsplit(url).netloc}: {error.reason}"
                    ) from error
                asked, reason = None, error.reason
            self._pause(attempt, asked, reason)

    def _pause(self, attempt: int, asked_seconds: float | None, reason: str) -> None:
        own = FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
        seconds = min(LONGEST_PAUSE_SECONDS, own if asked_seconds is None else asked_seconds)
        self._say(f"registry {self.endpoint.host!r}: {reason}; again in {seconds:.2g} s")
        if self.cancel.wait(seconds):
            raise Failed("cancelled", status=CANCELLED)

    def _refused(self, answer: Answer, method: str) -> BennuError:
        host = self.endpoint.domain
        if answer.status in {401, 403}:
            return Unavailable(
                f"registry {host!r}: access is denied: {answer.problem()}", f"`bennu login {host}`, or ask its owner"
            )
        return Unavailable(f"registry {host!r}: {method} {urlsplit(answer.url).path}: {answer.problem()}")


def _retry_after(text: str | None, now: float) -> float | None:
    """Seconds to wait, of a number or a date; None where the header says nothing."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text.strip())
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (TypeError, ValueError):
        return None
