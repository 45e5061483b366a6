"""The values of ``RUN --mount``, and numbers as Go reads them."""

from __future__ import annotations

import pytest

from bennu.dockerfile import numbers
from bennu.dockerfile.instructions import MountFlag
from bennu.dockerfile.mounts import Mount, MountType, Sharing, check, resolve
from bennu.dockerfile.parser import parse
from bennu.dockerfile.source import Source
from bennu.errors import Invalid


def flag(text: str) -> MountFlag:
    source = Source(f"--mount={text}", "Dockerfile")
    return MountFlag(text=text, span=source.span(0, len(source.text)))


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("target=/a", Mount(target="/a")),
        ("type=bind,src=b,dst=/a,rw", Mount(source="b", target="/a", read_only=False)),
        ("source=b,destination=/a,readonly=false,from=x", Mount(source="b", target="/a", read_only=False, from_="x")),
        ("Type=Cache,target=/a", Mount(type=MountType.CACHE, target="/a", read_only=False)),
        (
            "type=cache,id=i,sharing=locked,target=/a,mode=0750,uid=1,gid=2,ro",
            Mount(
                type=MountType.CACHE,
                id="i",
                sharing=Sharing.LOCKED,
                target="/a",
                mode=0o750,
                uid=1,
                gid=2,
                read_only=True,
            ),
        ),
        (
            "type=tmpfs,target=/a,size=64m",
            Mount(type=MountType.TMPFS, target="/a", size_bytes=64 << 20, read_only=False),
        ),
        ("type=secret,id=s,required,env=S", Mount(type=MountType.SECRET, id="s", required=True, env="S")),
        ("type=secret,id=s,required=f", Mount(type=MountType.SECRET, id="s")),
        ("type=ssh", Mount(type=MountType.SSH)),
        ('"target=/a,b",source=c', Mount(target="/a,b", source="c")),
        ('"target=/a""b"', Mount(target='/a"b')),
    ],
)
def test_mounts(text, want):
    assert resolve(flag(text), lambda word: word) == want


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("type=bnd", 9, "unknown mount type 'bnd'"),
        ("type=cache,sharing=lock", 20, "unknown cache sharing 'lock'"),
        ("target", 9, "'target' is no key=value pair"),
        ("", 1, "'' is no key=value pair"),
        ("tagret=/a", 9, "unknown mount key 'tagret'"),
        ("required", 9, "'required' does not go with type 'bind'"),
        ("required,type=secret,id=a", 9, "'required' does not go with type 'bind'"),
        ("target=/a,size=1", 19, "'size' does not go with type 'bind'"),
        ("target=/a,ro=maybe", 19, "neither true nor false"),
        ("type=cache,mode=9", 20, "not an octal mode"),
        ("type=cache,uid=-1", 20, "'uid' is not a number"),
        ("type=tmpfs,size=1x", 20, "not a size"),
        ("uid=1", 9, "'uid' does not go with type 'bind'"),
        ("sharing=shared", 9, "'sharing' does not go with type 'bind'"),
        ("type=secret", 1, "needs an 'id'"),
        ("type=secret,id=a,source=b", 26, "not both"),
        ("type=secret,id=a,from=b", 26, "takes no 'from'"),
        ("from=$x,target=/a", 9, "'from' takes no variable"),
        ('"target=/a', 1, "not closed"),
        ('"a"b', 1, "follows a quoted field"),
        ('a"b', 1, "a quote stands inside"),
    ],
)
def test_refusals(text, column, message):
    with pytest.raises(Invalid) as caught:
        check(flag(text))
    assert message in caught.value.message
    assert caught.value.column == column


def test_values_with_variables_wait():
    check(flag("type=$t,target=/a"))
    with pytest.raises(Invalid, match="unknown mount type 'x'"):
        resolve(flag("type=$t"), lambda word: word.replace("$t", "x"))


def test_the_parser_checks_mounts():
    with pytest.raises(Invalid) as caught:
        parse("FROM a\nRUN --mount=type=cach,target=/a x", "D")
    assert (caught.value.line, caught.value.column, caught.value.hint) == (2, 13, "did you mean cache?")


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("0", 0),
        ("30s", 30_000_000_000),
        ("1h2m3s", 3_723_000_000_000),
        ("1.5m", 90_000_000_000),
        (".5s", 500_000_000),
        ("1.s", 1_000_000_000),
        ("2us", 2_000),
        ("2\u00b5s", 2_000),
        ("-1s", -1_000_000_000),
        ("+1ns", 1),
        ("", None),
        ("-", None),
        ("5", None),
        ("s", None),
        (".s", None),
        ("1 s", None),
        ("1d", None),
        ("9999999h", None),
    ],
)
def test_durations(text, want):
    assert numbers.duration_nanoseconds(text) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [("1", 1), ("1k", 1024), ("1.5KiB", 1536), ("2 GB", 2 << 30), ("1b", 1), ("", None), ("-1", None), ("1x", None)],
)
def test_sizes(text, want):
    assert numbers.size_bytes(text) == want


def test_booleans_and_whole_numbers():
    assert [numbers.boolean(text) for text in ("1", "T", "false", "yes", "")] == [True, True, False, None, None]
    assert numbers.unsigned("17", base=8) == 15
    assert [numbers.unsigned(text) for text in ("+1", "1_0", "", "4294967296", "\u0661")] == [None] * 5
