"""Compressed streams: recognised by their first bytes, read through one kind of stream, whatever compressed them.

gzip (by isal), zstd, bzip2 and xz. Damage of any sort, a cut-off end too, is ``Corrupt``; the stream's maker says what
it is in ``what``. Names and media types of compressed things are never believed: Docker's own archives mislabel theirs.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, Literal, cast

from bennu.errors import Corrupt

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Format = Literal["none", "gzip", "zstd", "bzip2", "xz"]

BUFFER_BYTES: Final = 1 << 18
MAGIC_BYTES: Final = 6
_MAGIC: Final[tuple[tuple[bytes, Format], ...]] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)


def sniff(start: bytes) -> Format:
    """How a stream that begins with these bytes (``MAGIC_BYTES`` of them) is compressed."""
    return next((name for magic, name in _MAGIC if start.startswith(magic)), "none")


@contextmanager
def decompressed(stream: IO[bytes], what: str, *, as_it_comes: bool = False) -> Iterator[IO[bytes]]:
    """What a stream holds once it is decompressed, if it is compressed at all. ``Corrupt`` names ``what``.

    ``as_it_comes``: each read gives what there is by then, so that all before a damage is had; at half the speed.
    """
    buffered = io.BufferedReader(Readable(stream), BUFFER_BYTES)
    form = sniff(buffered.peek(MAGIC_BYTES)[:MAGIC_BYTES])
    if form == "none":
        yield buffered
        return
    decoder, errors = _patient(buffered) if as_it_comes and form == "gzip" else _decoder(form, buffered)
    if as_it_comes:
        with _Guarded(decoder, errors, f"{what} ({form})", as_it_comes=True) as raw:
            yield cast("IO[bytes]", raw)
        return
    with _Guarded(decoder, errors, f"{what} ({form})") as raw, io.BufferedReader(raw, BUFFER_BYTES) as plain:
        yield plain


def _decoder(form: Format, stream: IO[bytes]) -> tuple[IO[bytes], tuple[type[Exception], ...]]:
    """The decoding stream, and what it raises for damage besides an ``OSError`` without a number."""
    match form:
        case "gzip":
            from isal import igzip, isal_zlib

            opened: Any = igzip.IGzipFile
            damage: Any = isal_zlib.error  # declared as an object, not as a class
            return opened(fileobj=stream, mode="rb"), (EOFError, damage, zlib.error)
        case "zstd":
            from backports import zstd

            return cast("IO[bytes]", zstd.ZstdFile(stream, "rb")), (EOFError, zstd.ZstdError)
        case "bzip2":
            import bz2

            return bz2.BZ2File(stream), (EOFError, ValueError)
        case _:
            import lzma

            return lzma.LZMAFile(stream), (EOFError, lzma.LZMAError)


def _patient(stream: IO[bytes]) -> tuple[IO[bytes], tuple[type[Exception], ...]]:
    """Gzip by the standard library: isal's keeps what it has to itself when an error comes."""
    import gzip

    return cast("IO[bytes]", gzip.GzipFile(fileobj=stream, mode="rb")), (EOFError, zlib.error)


class Readable(io.RawIOBase):
    """Any object that can ``read``, as a raw stream, so that a buffer can stand on it. Closing it leaves the object."""

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__()
        self._read = source.read

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer as far as one ``read`` of the object does."""
        view = memoryview(buffer).cast("B")
        data = self._read(len(view))
        view[: len(data)] = data
        return len(data)


class _Guarded(Readable):
    """A decoder's stream, its many errors turned into one."""

    def __init__(
        self, source: IO[bytes], errors: tuple[type[Exception], ...], what: str, *, as_it_comes: bool = False
    ) -> None:
        super().__init__(source)
        if as_it_comes:
            self._read = cast("io.BufferedReader", source).read1
        self._errors = errors
        self._what = what

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        try:
            return super().readinto(buffer)
        except self._errors as error:
            raise Corrupt(f"{self._what} is damaged: {error}") from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise Corrupt(f"{self._what} is damaged: {error}") from error
