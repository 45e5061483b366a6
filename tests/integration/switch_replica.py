"""Replicas for tests of the switch: ``python switch_replica.py LABEL ADDRESS:PORT...``, one process for a whole set.

HTTP (``/`` says the label, POST the label and the body, ``/slow`` after a second, ``/fail`` with 500, ``/from`` the
X-Forwarded-For header, ``/upgrade`` switches protocols and echoes), and on the same ports UDP. A first byte that begins
no HTTP request turns a connection into an echo of lines. Prints ``ready`` when it listens. With ``--hasty`` first, it
closes a connection within some milliseconds after an answer, without having said so: what short keep-alive limits
do.
"""

from __future__ import annotations

import asyncio
import random
import sys


class Replica(asyncio.DatagramProtocol):
    def __init__(self, label: str, *, is_hasty: bool = False) -> None:
        self.label = label.encode()
        self.is_hasty = is_hasty
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        assert self.transport is not None
        self.transport.sendto(self.label + b" " + data, address)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            patience = None
            while line := await asyncio.wait_for(reader.readline(), patience):
                patience = random.uniform(0.0005, 0.01) if self.is_hasty else None
                if not line.endswith(b"HTTP/1.1\r\n"):
                    writer.write(self.label + b" " + line)
                    await writer.drain()
                    continue
                if not await self.answer(line, reader, writer):
                    break
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        method, path, _ = line.split()
        headers = {}
        while (header := await reader.readline()) not in {b"\r\n", b""}:
            name, _, value = header.partition(b":")
            headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get(b"content-length", 0)))
        if path == b"/upgrade":
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            while data := await reader.read(1000):
                writer.write(self.label + b" " + data)
                await writer.drain()
            return False
        if path == b"/slow":
            await asyncio.sleep(1)
        content = self.label
        if method == b"POST":
            content += b" " + body
        elif path == b"/from":
            content = headers.get(b"x-forwarded-for", b"")
        status = b"500 Broken" if path == b"/fail" else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
        await writer.drain()
        return True


async def main(label: str, places: list[str], *, is_hasty: bool) -> None:
    replica = Replica(label, is_hasty=is_hasty)
    loop = asyncio.get_running_loop()
    servers = []
    for place in places:
        address, _, port = place.partition(":")
        servers.append(await asyncio.start_server(replica.serve, address, int(port), backlog=1000))
        await loop.create_datagram_endpoint(lambda: Replica(label), (address, int(port)))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.gather(*(server.serve_forever() for server in servers))


words = [word for word in sys.argv[1:] if word != "--hasty"]
asyncio.run(main(words[0], words[1:], is_hasty="--hasty" in sys.argv))
