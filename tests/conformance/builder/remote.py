"""The HTTP server of cases that fetch: files by name, with their times, on a port of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from tests.conformance.builder.files import MTIME

PLACEHOLDER = b"@server@"


class Server:
    """Serves ``files``. A name that ends with ``?undated`` has no Last-Modified; ``NAME -> OTHER`` redirects."""

    def __init__(self, port: int) -> None:
        self.files: Mapping[str, bytes] = {}
        self.address = f"127.0.0.1:{port}"

    def addressed(self, dockerfile: bytes) -> bytes:
        """A Dockerfile with the server's address in it."""
        return dockerfile.replace(PLACEHOLDER, self.address.encode())

    def unaddressed(self, document: Any) -> Any:
        """A document without the address."""
        return json.loads(json.dumps(document).replace(self.address, PLACEHOLDER.decode()))


@contextmanager
def serving() -> Iterator[Server]:
    """A server for the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = unquote(self.path.lstrip("/"))
            redirect = next((key for key in served.files if key.startswith(f"{name} -> ")), None)
            if redirect is not None:
                self.send_response(302)
                self.send_header("Location", "/" + redirect.partition(" -> ")[2])
                self.end_headers()
                return
            content = served.files.get(name)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            if "undated" not in name:
                self.send_header("Last-Modified", formatdate(MTIME + 5, usegmt=True))
            if name.startswith("named"):
                self.send_header("Content-Disposition", 'attachment; filename="given.txt"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        served = Server(httpd.server_address[1])
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            httpd.shutdown()
            thread.join()
