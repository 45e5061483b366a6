"""Headers against the standard library's tar, both ways, and what a reader must refuse."""

import hashlib
import io
import os
import tarfile
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bennu.errors import BennuError, Corrupt, Unsupported
from bennu.store import tar as tar_format
from bennu.store.tar import (
    BLOCK,
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    END,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    Member,
    encode,
    padding,
)
from bennu.store.tar_output import BLOCK_BYTES, TarOutput
from bennu.store.tar_reader import TarReader

PARTS = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=120
).filter(lambda part: part.strip() == part)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: "/".join(parts).encode())
NUMBERS = st.one_of(st.integers(0, 0o7777777), st.integers(0, 2**32 - 2))
TIMES = st.one_of(st.integers(0, 2**33), st.integers(-(2**39), 2**39))
XATTRS = st.none() | st.dictionaries(
    st.sampled_from([b"user.a", b"user.long.name", b"security.capability"]), st.binary(max_size=600), min_size=1
)


@st.composite
def members(draw):
    kind = draw(st.sampled_from([REGULAR, DIRECTORY, SYMLINK, HARD_LINK, CHARACTER, BLOCK_DEVICE, FIFO]))
    return Member(
        draw(NAMES),
        kind,
        draw(st.integers(0, 0o7777)),
        draw(NUMBERS),
        draw(NUMBERS),
        draw(st.integers(0, 3000)) if kind == REGULAR else 0,
        draw(TIMES),
        link=draw(NAMES) if kind in {SYMLINK, HARD_LINK} else b"",
        device=(draw(st.integers(0, 4095)), draw(st.integers(0, 2**20)))
        if kind in {CHARACTER, BLOCK_DEVICE}
        else (0, 0),
        xattrs=draw(XATTRS),
    )


def content_of(member):
    return bytes(number % 251 for number in range(member.size_bytes))


def archive(*written):
    return b"".join(encode(m) + content_of(m) + padding(m.size_bytes) for m in written) + END


def read(data, tmp=None):
    """The members of an archive, with their contents."""
    found = []
    with TarReader(io.BytesIO(data)) as reader:
        for member in reader:
            target = os.memfd_create("content")
            try:
                reader.copy(target)
                found.append((member, os.pread(target, 1 << 20, 0)))
            finally:
                os.close(target)
        layer = reader.end()
    assert layer.size_bytes == len(data)
    assert layer.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
    return found


def plain(member):
    link = member.link if member.kind in {SYMLINK, HARD_LINK} else b""
    return (
        member.name.rstrip(b"/"), member.kind, member.mode, member.uid, member.gid, member.size_bytes, member.mtime,
        link, member.device, member.xattrs or None,
    )  # fmt: skip


@given(st.lists(members(), max_size=5))
@settings(deadline=None, max_examples=150)
def test_what_is_written_is_read_back(written):
    found = read(archive(*written))
    assert [plain(member) for member, _ in found] == [plain(member) for member in written]
    assert [content for _, content in found] == [content_of(member) for member in written]


@given(members())
@settings(deadline=None, max_examples=200)
def test_the_standard_library_reads_the_same(member):
    data = archive(member)
    assert len(encode(member)) % BLOCK == 0
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        (info,) = tar.getmembers()
        assert os.fsencode(info.name) == member.name.rstrip(b"/")
        assert info.type == member.kind
        assert (info.mode, info.uid, info.gid, info.size) == (member.mode, member.uid, member.gid, member.size_bytes)
        assert int(info.mtime) == member.mtime
        assert (info.uname, info.gname) == ("", "")
        if member.kind in {SYMLINK, HARD_LINK}:
            assert os.fsencode(info.linkname) == member.link
        if member.kind in {CHARACTER, BLOCK_DEVICE}:
            assert (info.devmajor, info.devminor) == member.device
        if member.kind == REGULAR:
            assert tar.extractfile(info).read() == content_of(member)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@given(st.lists(members(), max_size=4))
@settings(deadline=None, max_examples=80)
def test_what_others_write_is_read(form, written):
    buffer, expected = io.BytesIO(), []
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for member in written:
            info = tarfile.TarInfo(os.fsdecode(member.name))
            info.type, info.mode, info.uid, info.gid = member.kind, member.mode, member.uid, member.gid
            info.size, info.mtime, info.linkname = member.size_bytes, member.mtime, os.fsdecode(member.link)
            info.devmajor, info.devminor = member.device
            try:
                tar.addfile(info, io.BytesIO(content_of(member)))
            except (ValueError, OverflowError):  # that format cannot say it
                continue
            expected.append(member)
    found = read(buffer.getvalue())
    assert [plain(each)[:9] for each, _ in found] == [plain(each)[:9] for each in expected]
    assert [content for _, content in found] == [content_of(each) for each in expected]


@given(members(), st.data())
@settings(deadline=None, max_examples=200)
def test_the_short_way_for_plain_files_gives_the_same_bytes(member, data):
    plain = data.draw(st.text("abc/.-_0123456789", max_size=110)) + "x"
    file = replace(member, kind=REGULAR, name=plain.encode(), link=b"", device=(0, 0), xattrs=None)
    short = encode(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tar_format, "_plain", lambda _: None)
        assert encode(file) == short


def test_names_up_to_256_bytes_need_no_extension():
    assert len(encode(Member(b"a" * 100, REGULAR, 0, 0, 0, 0, 0))) == BLOCK
    assert len(encode(Member(b"p" * 155 + b"/" + b"a" * 100, REGULAR, 0, 0, 0, 0, 0))) == BLOCK
    assert len(encode(Member(b"a" * 101, REGULAR, 0, 0, 0, 0, 0))) == 3 * BLOCK
    assert len(encode(Member(b"p" * 156 + b"/" + b"a" * 100, REGULAR, 0, 0, 0, 0, 0))) == 3 * BLOCK
    assert len(encode(Member(b"a" * 99, DIRECTORY, 0, 0, 0, 0, 0))) == BLOCK
    assert len(encode(Member(b"a" * 100, DIRECTORY, 0, 0, 0, 0, 0))) == 3 * BLOCK


@pytest.mark.parametrize("name", [b"p" * 130 + b"/a", b"a" * 101, b"p" * 156 + b"/a"])
def test_a_long_name_beside_other_extensions_is_whole(name):
    ((member, _),) = read(archive(Member(name, DIRECTORY, 0o755, 0, 0, 0, 0, xattrs={b"user.x": b"1"})))
    assert member.name.rstrip(b"/") == name


def test_a_size_beyond_octal_is_said_in_an_extension():
    header = encode(Member(b"big", REGULAR, 0o644, 0, 0, 1 << 40, 0))
    with TarReader(io.BytesIO(header + b"x" * 100)) as reader, pytest.raises(Corrupt, match="cut off"):
        for member in reader:
            assert member.size_bytes == 1 << 40


def test_names_that_are_no_text_pass():
    name = b"caf\xe9/\xff\xfe"
    ((member, _),) = read(archive(Member(name, REGULAR, 0o644, 0, 0, 0, 0)))
    assert member.name == name


def test_sub_second_and_negative_times_go_down():
    def member_with(mtime):
        info = tarfile.TarInfo("f")
        info.pax_headers = {"mtime": mtime}
        return read(info.tobuf(tarfile.PAX_FORMAT) + END)[0][0].mtime

    assert member_with("12.999999999") == 12
    assert member_with("-1.5") == -2
    assert member_with("-1.0") == -1
    assert member_with("") == 0


def test_a_global_extension_holds_until_it_is_taken_back():
    def extension(kind, records):
        body = b"".join(records)
        return encode(Member(b"pax", kind, 0o644, 0, 0, len(body), 0)) + body + padding(len(body))

    one = encode(Member(b"one", REGULAR, 0o644, 1, 1, 0, 5))
    two = encode(Member(b"two", REGULAR, 0o644, 1, 1, 0, 5))
    found = read(
        extension(b"g", [b"10 uid=77\n", b"8 gid=8\n"]) + one + extension(b"x", [b"7 uid=\n"]) + two + one + END
    )
    assert [(m.uid, m.gid) for m, _ in found] == [(77, 8), (1, 8), (77, 8)]


def test_directories_and_files_as_v7_wrote_them():
    def v7(name):
        block = bytearray(encode(Member(name, REGULAR, 0o644, 0, 0, 0, 0)))
        block[156] = 0
        block[257:265] = bytes(8)
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        return bytes(block)

    assert [(m.name, m.kind) for m, _ in read(v7(b"file") + v7(b"dir/") + END)] == [
        (b"file", REGULAR),
        (b"dir/", DIRECTORY),
    ]


def test_signed_checksums_are_right_too():
    block = bytearray(encode(Member(b"f", REGULAR, 0o644, 0, 0, 0, 0)))
    block[0] = 0xE9
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % (sum(block) - 256)
    ((member, _),) = read(bytes(block) + END)
    assert member.name == b"\xe9"


def damaged(**changes):
    """A header with fields overwritten (by offset) and its checksum made right again."""
    block = bytearray(encode(Member(b"file", REGULAR, 0o644, 0, 0, 0, 0)))
    for place, data in changes.items():
        at = int(place[1:])
        block[at : at + len(data)] = data
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + END


SPARSE = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"x" * 1024, Corrupt, "malformed number|checksum"),
        (archive(Member(b"f", REGULAR, 0, 0, 0, 2000, 0))[:1000], Corrupt, "cut off"),
        (encode(Member(b"f", REGULAR, 0, 0, 0, 0, 0))[:300], Corrupt, "cut off"),
        (damaged(_100=b"zzzzzzz\0"), Corrupt, "malformed number"),
        (damaged(_124=b"\xff" * 12), Corrupt, "size of -1"),
        (damaged(_124=b"\x80" + b"\x7f" * 11), Corrupt, "size"),
        (damaged(_108=b"\xff" * 8), Corrupt, "owner"),
        (damaged(_108=b"\x80\0\0\0\xff\xff\xff\xff"), Corrupt, "owner 4294967295"),
        (damaged(_136=b"\x80" + b"\x7f" * 11), Corrupt, "time"),
        (damaged(_156=b"S"), Unsupported, "'file' is a sparse file"),
        (damaged(_156=b"M"), Unsupported, "continued"),
        (damaged(_156=b"?"), Unsupported, "type '\\?'"),
        (damaged(_156=b"x", _124=b"77777777777\0"), Corrupt, "extended header of"),
        (damaged(_156=b"L", _124=b"00000004000\0"), Corrupt, "cut off"),
        (archive(Member(b"f", b"x", 0, 0, 0, 0, 0)), None, ""),
        (encode(Member(b"f", b"x", 0, 0, 0, len(SPARSE), 0)) + SPARSE + padding(len(SPARSE)) + archive(
            Member(b"f", REGULAR, 0, 0, 0, 0, 0)), Corrupt, "malformed number of a sparse file"),
        (encode(Member(b"f", b"x", 0, 0, 0, 9, 0)) + b"9 nothing" + padding(9), Corrupt, "malformed extended"),
        (encode(Member(b"f", b"x", 0, 0, 0, 9, 0)) + b"99 a=bcd\n" + padding(9), Corrupt, "malformed extended"),
        (encode(Member(b"f", b"x", 0, 0, 0, 9, 0)) + b"0 a=bcde\n" + padding(9), Corrupt, "malformed extended"),
        (encode(Member(b"f", b"x", 0, 0, 0, 9, 0)) + b"9 uid=xy\n" + padding(9) + archive(
            Member(b"f", REGULAR, 0, 0, 0, 0, 0)), Corrupt, "malformed uid"),
        (encode(Member(b"f", b"x", 0, 0, 0, 12, 0)) + b"12 path=a\0b\n" + padding(12) + archive(
            Member(b"f", REGULAR, 0, 0, 0, 0, 0)), Corrupt, "zero byte"),
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused_by_name(data, error, words):
    if error is None:
        assert read(data) == []
        return
    with pytest.raises(error, match=words):
        read(data)


@given(st.binary(max_size=1500), st.integers(0, 4000), st.integers(0, 255))
@settings(deadline=None, max_examples=200)
def test_no_damage_raises_anything_but_our_errors(noise, at, byte):
    data = bytearray(
        archive(Member("é".encode(), REGULAR, 0o644, 1, 1, 700, 9), Member(b"d", DIRECTORY, 0, 0, 0, 0, 0))
    )
    data[at % len(data)] = byte
    for each in (noise, bytes(data), bytes(data[: at % len(data)])):
        try:
            read(each)
        except BennuError:
            continue


def test_an_error_of_the_stream_comes_through():
    class Broken(io.RawIOBase):
        def read(self, size=-1):
            raise ConnectionResetError("gone")

    with TarReader(Broken()) as reader, pytest.raises(ConnectionResetError):
        list(reader)


def test_a_reader_that_is_left_early_leaves_no_thread():
    class Endless(io.RawIOBase):
        def read(self, size=-1):
            return archive(Member(b"f", REGULAR, 0, 0, 0, 0, 0))[:BLOCK] * 2048

    with TarReader(Endless()) as reader:
        for _ in reader:
            break
        thread = reader._source._thread
    assert not thread.is_alive()


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 70_000, BLOCK_BYTES, 3 * BLOCK_BYTES + 17])
def test_output_hashes_what_it_writes(tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "f").write_bytes(content)
    sink = io.BytesIO()
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        with TarOutput(sink) as output:
            output.write(b"h" * BLOCK)
            output.copy(fd, size, b"f")
            layer = output.end()
    finally:
        os.close(fd)
    data = sink.getvalue()
    assert data == b"h" * BLOCK + content + padding(size) + END
    assert (layer.diff_id, layer.size_bytes) == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))


def test_output_says_which_file_was_cut_off(tmp_path):
    (tmp_path / "f").write_bytes(b"123")
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        for size in (4, 10 * BLOCK_BYTES):
            os.lseek(fd, 0, os.SEEK_SET)
            with TarOutput() as output, pytest.raises(Corrupt, match="'a/f' was cut off"):
                output.copy(fd, size, b"a/f")
    finally:
        os.close(fd)


def test_a_sink_that_fails_stops_the_writer():
    class Full(io.RawIOBase):
        def write(self, data):
            raise OSError(28, "No space left on device")

    with TarOutput(Full()) as output, pytest.raises(OSError, match="No space"):
        for _ in range(100):
            output.write(bytes(BLOCK_BYTES))
        output.end()
