"""rtnetlink's wire: requests, acknowledgements, dumps and attributes (netlink(7), rtnetlink(7)).

It knows how messages are cut and padded, and nothing of what they mean: ``network`` has the kinds and the structures.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import Final, Self

CREATE: Final = 0x400
EXCLUSIVE: Final = 0x200
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3


class Netlink:
    """A netlink socket of the calling thread's network namespace. ``OSError`` with the kernel's errno.

    ``protocol``: rtnetlink's, or another one's that cuts its messages alike.
    """

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Send a request and wait for the kernel's answer."""
        self._send(kind, body, flags | _ACK)
        for answer, payload in self._messages():
            if answer == _ERROR:
                code = -struct.unpack_from("=i", payload)[0]
                if code:
                    raise OSError(code, os.strerror(code))
                return

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """The payloads of all objects of a kind."""
        self._send(kind, body, _DUMP)
        while True:
            for answer, payload in self._messages():
                if answer == _DONE:
                    return
                if answer == _ERROR:
                    code = -struct.unpack_from("=i", payload)[0]
                    raise OSError(code, os.strerror(code))
                yield payload

    def _send(self, kind: int, body: bytes, flags: int) -> None:
        self._sequence += 1
        header = struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | flags, self._sequence, 0)
        self._socket.send(header + body)

    def _messages(self) -> Iterator[tuple[int, bytes]]:
        data = self._socket.recv(1 << 17)
        while len(data) >= 16:
            length, kind = struct.unpack_from("=IH", data)
            yield kind, data[16:length]
            data = data[(length + 3) & ~3 :]


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return struct.pack("=HH", len(data) + 4, kind) + data + bytes(-len(data) % 4)


def text(kind: int, value: str) -> bytes:
    """An attribute that holds a string."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """An attribute that holds 32 bits in the host's order."""
    return attribute(kind, struct.pack("=I", value))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The (kind, content) of the attributes in a message."""
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        yield kind, data[4:length]
        data = data[(length + 3) & ~3 :]
