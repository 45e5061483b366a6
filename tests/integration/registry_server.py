"""A registry in this process, small and right, that can be told to misbehave: what a client has to be a match for.

``Registry`` keeps blobs and manifests in dictionaries. A *fault* is a function that gets the handler of a request and
answers it, wholly or badly, by returning True; the first one that does wins. ``requests`` notes what was asked.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import socket
import struct
import tarfile
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_KINDS = {
    "config": "application/vnd.oci.image.config.v1+json",
    "layer": "application/vnd.oci.image.layer.v1.tar+gzip",
    "manifest": MANIFEST,
}
DOCKER_KINDS = {
    "config": "application/vnd.docker.container.image.v1+json",
    "layer": "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "manifest": "application/vnd.docker.distribution.manifest.v2+json",
}
INDEX = "application/vnd.oci.image.index.v1+json"

Fault = Callable[["Handler"], bool]


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """``address`` is HOST:PORT. ``auth``: None, "basic" or "bearer"; tokens are good for ``token_uses`` requests."""

    def __init__(self, *, auth: str | None = None, token_uses: int = 1000, referrers: bool = True) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.holders: set[tuple[str, str]] = set()
        self.uploads: dict[str, bytearray] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.auth = auth
        self.token_uses = token_uses
        self.tokens: dict[str, int] = {}
        self.has_referrers = referrers
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"registry": self}))
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def count(self, pattern: str) -> int:
        """How many requests match."""
        return sum(re.search(pattern, line) is not None for line in self.requests)

    # images

    def add_blob(self, path: str, data: bytes) -> str:
        digest = digest_of(data)
        self.blobs[digest] = data
        self.holders.add((path, digest))
        return digest

    def add_manifest(self, path: str, tag: str, content: dict[str, Any], kind: str = MANIFEST) -> str:
        data = json.dumps(content).encode()
        digest = digest_of(data)
        self.manifests[path, digest] = self.manifests[path, tag] = (kind, data)
        return digest

    def add_image(
        self, path: str, tag: str, layers: list[dict[str, bytes]], *, docker: bool = False, architecture: str = "amd64"
    ) -> str:
        """An image of files by layer, gzipped."""
        tars = [tar_of(files) for files in layers]
        packed = [gzip.compress(each, mtime=0) for each in tars]
        config = json.dumps(
            {
                "architecture": architecture,
                "os": "linux",
                "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/true"]},
                "rootfs": {"type": "layers", "diff_ids": [digest_of(each) for each in tars]},
            }
        ).encode()
        kinds = DOCKER_KINDS if docker else OCI_KINDS
        content = {
            "schemaVersion": 2,
            "mediaType": kinds["manifest"],
            "config": {"mediaType": kinds["config"], "digest": self.add_blob(path, config), "size": len(config)},
            "layers": [
                {"mediaType": kinds["layer"], "digest": self.add_blob(path, each), "size": len(each)} for each in packed
            ],
        }
        return self.add_manifest(path, tag, content, kinds["manifest"])


def tar_of(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), 0o644, 1_600_000_000
            archive.addfile(member, io.BytesIO(data))
    return sink.getvalue()


class Handler(BaseHTTPRequestHandler):
    """One request. Faults may use ``answer``, ``cut`` and the socket itself."""

    protocol_version = "HTTP/1.1"
    registry: Registry

    def log_message(self, *_: object) -> None:
        pass

    def _any(self) -> None:
        registry = self.registry
        with registry.lock:
            registry.requests.append(f"{self.command} {self.path}")
            registry.headers.append(dict(self.headers))
        for fault in registry.faults:
            if fault(self):
                return None
        parts = urlsplit(self.path)
        self.query = parse_qs(parts.query)
        if parts.path == "/token":
            return self._token()
        if not self._is_allowed():
            return self._challenge()
        match = re.fullmatch(r"/v2/(?:(.+)/(manifests|blobs|tags|referrers)(/.*)?)?", parts.path)
        if match is None:
            return self.answer(404)
        if match[1] is None:
            return self.answer(200, b"{}")
        return getattr(self, f"_{match[2]}")(match[1], (match[3] or "")[1:])

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _any

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        if self.command not in {"GET", "HEAD"}:
            self.body()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def problem(self, status: int, code: str, message: str, **headers: str) -> None:
        self.answer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), **headers)

    def cut(self) -> None:
        """Reset the connection."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
        self.rfile = io.BytesIO()  # type: ignore[assignment]
        self.wfile = io.BytesIO()  # type: ignore[assignment]

    def body(self) -> bytes:
        if getattr(self, "_body", None) is not None:
            return self._body
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            self._body = b"".join(parts)
        else:
            self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return self._body

    def handle_one_request(self) -> None:
        self._body = None  # type: ignore[assignment]
        try:
            super().handle_one_request()
        except (ConnectionError, ValueError):
            self.close_connection = True

    # authorisation

    def _is_allowed(self) -> bool:
        given = self.headers.get("Authorization", "")
        if self.registry.auth is None:
            return True
        if self.registry.auth == "basic":
            return given.startswith("Basic ") and b64decode(given[6:]) == b"me:secret"
        token = given.removeprefix("Bearer ")
        with self.registry.lock:
            left = self.registry.tokens.get(token, 0)
            self.registry.tokens[token] = left - 1
        return left > 0

    def _challenge(self) -> None:
        base = f"http://{self.registry.address}"
        words = {"basic": 'Basic realm="registry"', "bearer": f'Bearer realm="{base}/token",service="test"'}
        self.problem(401, "UNAUTHORIZED", "who are you?", WWW_Authenticate=words[self.registry.auth or "basic"])

    def _token(self) -> None:
        given = self.headers.get("Authorization", "")
        if given.startswith("Basic ") and b64decode(given[6:]) != b"me:secret":
            return self.problem(401, "UNAUTHORIZED", "wrong password")
        with self.registry.lock:
            token = f"token-{len(self.registry.tokens)}"
            self.registry.tokens[token] = self.registry.token_uses
        return self.answer(200, json.dumps({"token": token, "expires_in": 300}).encode())

    # the specification

    def _manifests(self, path: str, reference: str) -> None:
        manifests = self.registry.manifests
        if self.command == "PUT":
            data = self.body()
            kind = self.headers["Content-Type"]
            for each in json.loads(data).get("layers", []):
                if (path, each["digest"]) not in self.registry.holders:
                    return self.problem(404, "MANIFEST_BLOB_UNKNOWN", each["digest"])
            digest = digest_of(data)
            manifests[path, reference] = manifests[path, digest] = (kind, data)
            return self.answer(201, Docker_Content_Digest=digest, Location=f"/v2/{path}/manifests/{digest}")
        found = manifests.get((path, reference))
        if found is None:
            return self.problem(404, "MANIFEST_UNKNOWN", "manifest unknown")
        if self.command == "DELETE":
            for key in [key for key, value in manifests.items() if key[0] == path and value == found]:
                del manifests[key]
            return self.answer(202)
        return self.answer(200, found[1], Content_Type=found[0], Docker_Content_Digest=digest_of(found[1]))

    def _blobs(self, path: str, rest: str) -> None:
        registry = self.registry
        if rest.startswith("uploads/"):
            return self._upload(path, rest.removeprefix("uploads/"))
        if (path, rest) not in registry.holders:
            return self.problem(404, "BLOB_UNKNOWN", "blob unknown")
        if self.command == "DELETE":
            registry.holders.discard((path, rest))
            return self.answer(202)
        data = registry.blobs[rest]
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match is None:
            return self.answer(200, data, Docker_Content_Digest=rest)
        start = int(match[1])
        return self.answer(206, data[start:], Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")

    def _upload(self, path: str, session: str) -> None:
        registry = self.registry
        if self.command == "POST":
            mount = self.query.get("mount", [""])[0]
            if (self.query.get("from", [""])[0], mount) in registry.holders:
                registry.holders.add((path, mount))
                return self.answer(201, Location=f"/v2/{path}/blobs/{mount}", Docker_Content_Digest=mount)
            session = f"session-{len(registry.uploads)}"
            registry.uploads[session] = bytearray()
            return self.answer(202, Location=f"/v2/{path}/blobs/uploads/{session}?_state=x", Range="0-0")
        if session not in registry.uploads:
            return self.problem(404, "BLOB_UPLOAD_UNKNOWN", "no such upload")
        kept = registry.uploads[session]
        where = f"/v2/{path}/blobs/uploads/{session}?_state=y"
        if self.command == "GET":
            return self.answer(204, Location=where, Range=f"0-{max(0, len(kept) - 1)}")
        if self.command == "DELETE":
            del registry.uploads[session]
            return self.answer(204)
        kept += self.body()
        if self.command == "PATCH":
            return self.answer(202, Location=where, Range=f"0-{len(kept) - 1}")
        digest = self.query["digest"][0]
        if digest_of(bytes(kept)) != digest:
            return self.problem(400, "DIGEST_INVALID", "the digest does not match")
        del registry.uploads[session]
        registry.add_blob(path, bytes(kept))
        return self.answer(201, Location=f"/v2/{path}/blobs/{digest}", Docker_Content_Digest=digest)

    def _tags(self, path: str, _: str) -> None:
        names = sorted(tag for where, tag in self.registry.manifests if where == path and ":" not in tag)
        if not names:
            return self.problem(404, "NAME_UNKNOWN", "repository unknown")
        count, last = int(self.query.get("n", ["100"])[0]), self.query.get("last", [""])[0]
        count = min(count, 3)
        page = [name for name in names if name > last][:count]
        more = (
            {"Link": f'</v2/{path}/tags/list?n={count}&last={page[-1]}>; rel="next"'} if page[-1:] < names[-1:] else {}
        )
        return self.answer(200, json.dumps({"name": path, "tags": page}).encode(), **more)

    def _referrers(self, path: str, digest: str) -> None:
        if not self.registry.has_referrers:
            return self.problem(404, "NOT_FOUND", "no such endpoint")
        found = []
        for (where, name), (kind, data) in self.registry.manifests.items():
            content = json.loads(data)
            if where == path and name == digest_of(data) and content.get("subject", {}).get("digest") == digest:
                found.append(
                    {
                        "mediaType": kind,
                        "digest": name,
                        "size": len(data),
                        "artifactType": content.get("artifactType", ""),
                    }
                )
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": found}
        return self.answer(200, json.dumps(index).encode(), Content_Type=INDEX)


def times(count: int, pattern: str, act: Callable[[Handler], object]) -> Fault:
    """A fault for the first ``count`` requests that match."""
    left = [count]

    def fault(handler: Handler) -> bool:
        if left[0] <= 0 or re.search(pattern, f"{handler.command} {handler.path}") is None:
            return False
        left[0] -= 1
        act(handler)
        return True

    return fault


def cut_after(count: int) -> Callable[[Handler], None]:
    """Send so many bytes of the blob that is asked for, from where it is asked, and reset the connection."""

    def act(handler: Handler) -> None:
        data = handler.registry.blobs[handler.path.rpartition("/")[2]]
        match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(match[1]) if match else 0
        handler.send_response(206 if match else 200)
        handler.send_header("Content-Length", str(len(data) - start))
        if match:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        handler.wfile.write(data[start : start + count])
        handler.wfile.flush()
        time.sleep(0.05)  # what was sent shall arrive before the reset
        handler.cut()

    return act
