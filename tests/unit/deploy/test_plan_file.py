"""Saved plans: whole through their file, refused when foreign, damaged or of another version; what has moved since."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.compose.extension import Hook, Hooks
from bennu.deploy.planning import plan as planning
from bennu.deploy.planning.file import SavedPlan, decode, digest, encode
from bennu.deploy.policy import Origin, Policy
from bennu.errors import BennuError, Corrupt, Invalid, Unsupported
from tests.unit.deploy.fleets import observation, seen, shop

FOUND = observation(seen(shop().spec("db")), seen(shop().spec("web")))
POLICY = Policy(hooks=Hooks(failed=(Hook(command=("tell", "me")),)), origin=Origin(directory="/x"))
SAVED = SavedPlan(
    plan=planning.make(shop("2"), FOUND, revision=3, policy=POLICY), release=shop("2"), author="me", made=12.5
)
DATA = encode(SAVED)


def test_what_is_written_is_read():
    assert decode(DATA, "x") == SAVED
    assert encode(decode(DATA, "x")) == DATA
    assert digest(SAVED).encode() in DATA


@pytest.mark.parametrize("data", [b"", b"{}", b"services: {}", DATA[1:], b'{"format":"other"}', b"\xff\xfe", DATA[:20]])
def test_foreign_files(data: bytes):
    with pytest.raises(Invalid, match="'x' is not a saved plan"):
        decode(data, "x")


@pytest.mark.parametrize("cut", [40, 60, 200, len(DATA) - 2])
def test_cut_files(cut: int):
    with pytest.raises(Corrupt, match="'x' is damaged"):
        decode(DATA[:cut], "x")


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_one_byte_is_different(at: int, by: int):
    damaged = bytearray(DATA)
    damaged[at] = (damaged[at] + by) % 256
    try:
        assert decode(bytes(damaged), "x") == SAVED  # a blank for the newline at the end
    except BennuError as error:
        assert "'x'" in error.message


def test_another_version():
    with pytest.raises(Unsupported, match="format version 9, and this bennu reads version 1"):
        decode(DATA.replace(b'"version":1', b'"version":9', 1), "x")


def test_another_release():
    mixed = msgspec.structs.replace(SAVED, release=shop("3"))
    with pytest.raises(Corrupt, match="its release is not"):
        decode(encode(mixed), "x")


def test_what_has_moved():
    web, db = shop().spec("web"), shop().spec("db")
    before = FOUND.facts
    assert before.moved_to(FOUND.facts) == ()
    assert before.stamp == FOUND.stamp
    new = shop("2").spec("web")
    now = observation(seen(new), seen(shop("7").spec("db")), kept=[seen(web, there=[1])])
    assert before.moved_to(now.facts) == (
        f"the active set of web is {new.id} and no longer {web.id}",
        f"set {new.id} has come",
        f"replica 2 of set {web.id} is gone",
    )
    assert now.facts.moved_to(before)[-1] == f"replica 2 of set {web.id} has come"
    assert observation(seen(db)).facts.moved_to(before) == ("web has come into service", f"set {web.id} has come")
    gone = before.moved_to(observation(seen(db)).facts)
    assert gone == (f"the active set of web is none and no longer {web.id}", f"set {web.id} is gone")
