"""The contract of ``store.base.BlobStore``, over every implementation of it."""

import hashlib
import io
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bennu.config import Settings
from bennu.digest import digest_of
from bennu.errors import Corrupt, Invalid, NotFound
from bennu.store.base import BlobInfo
from bennu.store.blobs import FileBlobs, MemoryBlobs

DATA = b"some bytes"


def _file_blobs(path):
    return FileBlobs(Settings(root=path / "root", run=path / "run"))


@pytest.fixture(params=["file", "memory"])
def blobs(request, tmp_path):
    return _file_blobs(tmp_path) if request.param == "file" else MemoryBlobs()


class Failing(io.RawIOBase):
    def __init__(self, data):
        self.data = io.BytesIO(data)

    def read(self, size=-1):
        data = self.data.read(size)
        if not data:
            raise ConnectionResetError("cut")
        return data


def test_what_was_stored_is_read_back(blobs):
    info = blobs.write(DATA)
    assert info == BlobInfo(digest_of(DATA), len(DATA))
    assert blobs.read(info.digest) == DATA
    assert blobs.stat(info.digest) == info
    assert list(blobs.walk()) == [info]
    with blobs.open(info.digest) as stream:
        assert stream.read(4) == b"some"
        assert stream.read() == b" bytes"


def test_storing_again_is_no_error(blobs):
    assert blobs.write(DATA) == blobs.write(DATA)
    assert len(list(blobs.walk())) == 1


def test_the_empty_blob(blobs):
    assert blobs.read(blobs.write(b"").digest) == b""


def test_sha512_is_stored_where_it_is_expected(blobs):
    digest = "sha512:" + hashlib.sha512(DATA).hexdigest()
    assert blobs.ingest(io.BytesIO(DATA), expected=digest, size_bytes=len(DATA)).digest == digest
    assert blobs.read(digest) == DATA
    with pytest.raises(Corrupt):
        blobs.ingest(io.BytesIO(b"x"), expected=digest)


def test_absent_blobs(blobs):
    absent = digest_of(b"absent")
    assert blobs.stat(absent) is None
    assert blobs.touch(absent) is False
    with pytest.raises(NotFound), blobs.open(absent):
        pass
    with pytest.raises(NotFound):
        blobs.read(absent)
    blobs.delete(absent)


@pytest.mark.parametrize(
    "expectation",
    [{"expected": digest_of(b"other")}, {"size_bytes": len(DATA) - 1}, {"size_bytes": len(DATA) + 1}],
)
def test_what_was_not_expected_is_not_stored(blobs, expectation):
    with pytest.raises(Corrupt):
        blobs.ingest(io.BytesIO(DATA), **expectation)
    assert list(blobs.walk()) == []


def test_a_stream_that_breaks_leaves_nothing(blobs):
    with pytest.raises(ConnectionResetError):
        blobs.ingest(Failing(DATA))
    assert list(blobs.walk()) == []


def test_an_endless_stream_is_cut_off_at_the_expected_size(blobs):
    with open("/dev/zero", "rb") as endless, pytest.raises(Corrupt, match="more"):
        blobs.ingest(endless, size_bytes=10)


def test_deleting(blobs):
    info = blobs.write(DATA)
    blobs.delete(info.digest)
    assert blobs.stat(info.digest) is None


def test_a_sweep_spares_what_is_kept_and_what_was_used_since_the_horizon(blobs):
    old, kept, renewed = (blobs.write(data).digest for data in (b"old", b"kept", b"renewed"))
    time.sleep(0.02)
    horizon = time.time()
    time.sleep(0.02)
    assert blobs.touch(renewed)
    new = blobs.write(b"new").digest
    assert [info.digest for info in blobs.sweep(lambda: {kept}, unused_since=horizon, dry_run=True)] == [old]
    assert blobs.stat(old) is not None
    assert [info.digest for info in blobs.sweep(lambda: {kept}, unused_since=horizon)] == [old]
    assert {info.digest for info in blobs.walk()} == {kept, renewed, new}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=100), max_size=5))
def test_any_bytes(contents):
    blobs = MemoryBlobs()
    for data in contents:
        assert blobs.read(blobs.write(data).digest) == data
    assert {info.digest for info in blobs.walk()} == {digest_of(data) for data in contents}


def test_damage_on_the_disk_is_told_at_the_end_of_the_read(tmp_path):
    blobs = _file_blobs(tmp_path)
    info = blobs.write(DATA)
    blobs.path(info.digest).write_bytes(b"other bytes")
    with pytest.raises(Corrupt, match=info.digest):
        blobs.read(info.digest)


def test_a_digest_that_is_a_path_reaches_no_file(tmp_path):
    blobs = _file_blobs(tmp_path)
    for hostile in ("sha256:../../../etc/passwd", "../x", "sha256:" + "A" * 64):
        with pytest.raises(Invalid):
            blobs.stat(hostile)


def test_files_leave_no_temporary_behind_and_strangers_are_ignored(tmp_path):
    blobs = _file_blobs(tmp_path)
    info = blobs.write(DATA)
    with pytest.raises(Corrupt):
        blobs.ingest(io.BytesIO(DATA), size_bytes=1)
    assert os.listdir(tmp_path / "root" / "tmp") == []
    (blobs.path(info.digest).parent / ".nfs0001").touch()
    assert list(blobs.walk()) == [info]


def test_two_processes_store_the_same_blob_at_once(tmp_path):
    program = (
        "import sys; from pathlib import Path\n"
        "from bennu.config import Settings; from bennu.store.blobs import FileBlobs\n"
        "blobs = FileBlobs(Settings(root=Path(sys.argv[1]) / 'root', run=Path('/nowhere')))\n"
        "for number in range(30): blobs.write(b'%d' % number * 1000)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(2)]
    blobs = _file_blobs(tmp_path)
    for number in range(30):
        blobs.sweep(set, unused_since=time.time() - 60)
        blobs.write(b"%d" % number * 1000)
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert {info.digest for info in blobs.walk()} == {digest_of(b"%d" % number * 1000) for number in range(30)}
    assert all(blobs.read(info.digest) for info in blobs.walk())
