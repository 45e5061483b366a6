"""Sparse files in pax archives: the three ways in which GNU tar says where the data belong, and what is malformed."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from bennu.errors import Corrupt
from bennu.store.tar import BLOCK, REGULAR, Member, encode
from bennu.store.tar_reader import TarReader

CONTENT = b"start" + bytes(95) + b"middle" + bytes(94)
DATA = b"startmiddle"


def record(key: str, value: object) -> bytes:
    body = f" {key}={value}\n".encode()
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def archive(records: list[bytes], content: bytes) -> bytes:
    header = b"".join(records)
    return (
        encode(Member(b"x", b"x", 0, 0, 0, len(header), 0))
        + padded(header)
        + encode(Member(b"GNUSparseFile.0/f", REGULAR, 0o644, 0, 0, len(content), 0))
        + padded(content)
        + encode(Member(b"after", REGULAR, 0o644, 0, 0, 0, 0))
        + bytes(2 * BLOCK)
    )


def pairs(*values: int) -> list[bytes]:
    names = ("GNU.sparse.offset", "GNU.sparse.numbytes")
    return [record(names[number % 2], value) for number, value in enumerate(values)]


PLACES = (0, 5, 100, 6, 200, 0)
OLDEST = archive([record("GNU.sparse.size", 200), record("GNU.sparse.numblocks", 3), *pairs(*PLACES)], DATA)
OLD = archive(
    [
        record("GNU.sparse.size", 200),
        record("GNU.sparse.name", "f"),
        record("GNU.sparse.map", ",".join(map(str, PLACES))),
    ],
    DATA,
)
NEWEST_HEADER = [
    record("GNU.sparse.major", 1),
    record("GNU.sparse.minor", 0),
    record("GNU.sparse.name", "f"),
    record("GNU.sparse.realsize", 200),
]
NEWEST = archive(NEWEST_HEADER, padded(b"3\n" + b"".join(b"%d\n" % each for each in PLACES)) + DATA)


@pytest.mark.parametrize(("data", "name"), [(OLDEST, b"GNUSparseFile.0/f"), (OLD, b"f"), (NEWEST, b"f")])
def test_the_data_come_where_they_belong(data: bytes, name: bytes, tmp_path: Path) -> None:
    with TarReader(io.BytesIO(data)) as reader:
        members = iter(reader)
        member = next(members)
        assert (member.name, member.size_bytes) == (name, 200)
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        reader.copy(fd)
        os.close(fd)
        assert (tmp_path / "f").read_bytes() == CONTENT
        assert next(members).name == b"after"


@pytest.mark.parametrize(
    "data",
    [
        archive([record("GNU.sparse.size", "x"), record("GNU.sparse.map", "0,1")], b"a"),
        archive([record("GNU.sparse.size", 10), record("GNU.sparse.map", "0,1,2")], b"a"),
        archive([record("GNU.sparse.size", 10), record("GNU.sparse.map", "9,2")], b"ab"),
        archive([record("GNU.sparse.size", 10), record("GNU.sparse.map", "5,1,0,1")], b"ab"),
        archive([record("GNU.sparse.size", 10), record("GNU.sparse.map", "0,5")], b"ab"),
        archive(NEWEST_HEADER, b"3\n0\n"),
        archive(NEWEST_HEADER, padded(b"99999999\n")),
        archive(NEWEST_HEADER, padded(b"x\n")),
        archive(NEWEST_HEADER, padded(b"3\n"))[: 4 * BLOCK],
    ],
)
def test_what_is_malformed_is_refused(data: bytes) -> None:
    with TarReader(io.BytesIO(data)) as reader, pytest.raises(Corrupt):
        list(reader)
