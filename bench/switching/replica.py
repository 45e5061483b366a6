"""A replica of the fleets that bench/switches.py switches. Standard library only; runs inside a container.

``/`` says the version, POST ``/echo`` gives the body back, ``/chain`` asks the service ``api`` through the switch,
``/slow?SECONDS`` answers a bit at a time, POST ``/upload`` reads what comes and says its digest, ``/socket`` is a
websocket that echoes. On SIGTERM it accepts nothing more, ends what it has, and closes websockets by a close frame.
"""

import asyncio
import base64
import hashlib
import os
import signal
import struct
import time

VERSION = os.environ["VERSION"].encode()
PAGE = hashlib.sha256(b"page").hexdigest().encode() * 16
STEP_SECONDS = 0.25
IDLE_SECONDS = 30.0
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
GOING_AWAY = 1001


class Replica:
    def __init__(self):
        self.sockets = set()
        self.busy = 0
        self.ending = asyncio.Event()
        self.others = []  # connections to api that are idle, and since when

    async def serve(self, reader, writer):
        try:
            while not self.ending.is_set():
                line = await reader.readline()
                if not line:
                    break
                self.busy += 1
                try:
                    if not await self.answer(line, reader, writer):
                        break
                finally:
                    self.busy -= 1
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, line, reader, writer):
        method, target, _ = line.split()
        headers = {}
        while (header := await reader.readline()) not in {b"\r\n", b""}:
            name, _, value = header.partition(b":")
            headers[name.lower()] = value.strip()
        path, _, query = target.partition(b"?")
        if path == b"/socket":
            await self.socket(headers, reader, writer)
            return False
        length = int(headers.get(b"content-length", 0))
        if path == b"/slow":
            await self.slow(float(query), writer)
        elif path == b"/upload":
            digest = hashlib.sha256()
            while length:
                chunk = await reader.read(min(length, 65536))
                if not chunk:
                    return False
                digest.update(chunk)
                length -= len(chunk)
            self.send(writer, VERSION + b" " + digest.hexdigest().encode())
        else:
            body = await reader.readexactly(length)
            if path == b"/chain":
                status, said = await self.chain()
                self.send(writer, VERSION + b" " + said, status)
            else:
                self.send(writer, VERSION + b" " + (body if method == b"POST" else PAGE))
        await writer.drain()
        return headers.get(b"connection", b"").lower() != b"close"

    def send(self, writer, body, status=b"200 OK"):
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    async def slow(self, seconds, writer):
        """A page in many parts, the same in the end."""
        body = VERSION + b" " + PAGE
        parts = max(1, round(seconds / STEP_SECONDS))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for number in range(parts):
            writer.write(body[number * len(body) // parts : (number + 1) * len(body) // parts])
            await writer.drain()
            await asyncio.sleep(seconds / parts)

    def kept(self):
        """A connection that was idle for less than whoever answers allows; older ones may be closed at any moment."""
        while self.others:
            since, reader, writer = self.others.pop()
            if time.monotonic() - since < IDLE_SECONDS and not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    async def chain(self):
        """What ``api`` says; asked once, on a connection that is kept."""
        try:
            reader, writer = self.kept() or await asyncio.open_connection("api", 80)
            writer.write(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            fields = head.lower().split(b"\r\n")
            length = next(int(each.partition(b":")[2]) for each in fields if each.startswith(b"content-length"))
            body = await reader.readexactly(length)
            if b"connection: close" in fields:
                writer.close()
            else:
                self.others.append((time.monotonic(), reader, writer))
            if head.split(b" ")[1] != b"200":
                return b"502 Bad Gateway", head[:60]
        except (OSError, asyncio.IncompleteReadError) as error:
            return b"502 Bad Gateway", repr(error).encode()
        return b"200 OK", body

    async def socket(self, headers, reader, writer):
        accept = base64.b64encode(hashlib.sha1(headers[b"sec-websocket-key"] + GUID).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        writer.write(b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept)
        self.sockets.add(writer)
        try:
            while True:
                kind, data = await receive(reader)
                if kind == CLOSE:
                    writer.write(frame(CLOSE, data))
                    break
                writer.write(frame(TEXT, VERSION + b" " + data))
                await writer.drain()
        finally:
            self.sockets.discard(writer)

    async def end(self, servers):
        """What SIGTERM asks for."""
        self.ending.set()
        for server in servers:
            server.close()
        for writer in self.sockets:
            writer.write(frame(CLOSE, struct.pack("!H", GOING_AWAY)))
        while self.busy:  # noqa: ASYNC110 - this happens once
            await asyncio.sleep(0.01)


def frame(kind, data, mask=b""):
    length = len(data)
    size = bytes([length]) if length < 126 else b"\x7e" + struct.pack("!H", length)
    if mask:
        size = bytes([size[0] | 0x80]) + size[1:]
        data = mask + bytes(byte ^ mask[number % 4] for number, byte in enumerate(data))
    return bytes([0x80 | kind]) + size + data


async def receive(reader):
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
    mask = await reader.readexactly(4) if second & 0x80 else b""
    data = await reader.readexactly(length)
    if mask:
        data = bytes(byte ^ mask[number % 4] for number, byte in enumerate(data))
    return first & 0x0F, data


async def main():
    replica = Replica()
    server = await asyncio.start_server(replica.serve, "0.0.0.0", 80, backlog=1000)
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
    await done.wait()
    await replica.end([server])


if __name__ == "__main__":
    asyncio.run(main())
