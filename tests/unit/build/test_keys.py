"""Keys: every field counts and is framed; what must not count does not."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.build import keys
from bennu.build.graph import Base, Copy, InlineFile, MakeDirectory, Run, Source, Step, reads_of
from bennu.build.keys import SCRATCH, Key, Read, base_identity, step_key
from bennu.digest import Digest, digest_of

OTHER = digest_of(b"other")
RUN = Run(parent=1, arguments=("/bin/sh", "-c", "make"), environment=("PATH=/bin",))
COPY = Copy(parent=1, sources=(Source(0, "a"), Source(0, "b")), destination="/x/")
FROM_STAGE = Copy(parent=1, sources=(Source(2, "/out/a"),), destination="/x")
MADE = MakeDirectory(parent=1, path="/app")


def by_content(step: Step, content: Digest = OTHER, parent: Digest = SCRATCH) -> Key:
    return step_key(step, parent, dict.fromkeys(reads_of(step), Read(content, by_content=True)))


def by_identity(step: Step, identity: Digest = OTHER, parent: Digest = SCRATCH) -> Key:
    return step_key(step, parent, dict.fromkeys(reads_of(step), Read(identity, by_content=False)))


@pytest.mark.parametrize(
    "change",
    [
        {"arguments": ("/bin/sh", "-c", "make all")},
        {"arguments": ("/bin/sh", "-c make")},
        {"environment": ("PATH=/sbin",)},
        {"environment": ("PATH=/bin", "A=")},
        {"environment": ()},
        {"directory": "/app"},
        {"user": "web"},
        {"network": "none"},
        {"script": InlineFile("E", "#!/bin/sh\n")},
    ],
)
def test_every_field_of_a_run_counts(change):
    assert step_key(msgspec.structs.replace(RUN, **change), SCRATCH).digest != step_key(RUN, SCRATCH).digest


@pytest.mark.parametrize(
    "change",
    [
        {"sources": (Source(0, "a"), Source(0, "c"))},
        {"sources": (Source(0, "b"), Source(0, "a"))},
        {"sources": (Source(0, "a"), Source(3, "b"))},
        {"destination": "/x"},
        {"chown": "web"},
        {"chmod": "700"},
        {"exclude": ("*.o",)},
        {"sources": (Source(0, "a"), Source(0, "b", unpack=True))},
        {"inline": (InlineFile("E", ""),)},
        {"inline": (InlineFile("E", "text"),)},
    ],
)
def test_every_field_of_a_copy_counts(change):
    changed = msgspec.structs.replace(COPY, **change)
    assert by_content(changed).digest != by_content(COPY).digest
    assert by_identity(changed).digest != by_identity(COPY).digest


def test_the_name_and_the_content_of_an_inline_file_cannot_trade_places():
    one = msgspec.structs.replace(COPY, inline=(InlineFile("a", "b"), InlineFile("c", "d")))
    two = msgspec.structs.replace(COPY, inline=(InlineFile("a", "c"), InlineFile("b", "d")))
    assert by_content(one).digest != by_content(two).digest


def test_an_octal_mode_counts_as_a_number_and_symbols_as_they_are_written():
    found = [
        by_content(msgspec.structs.replace(COPY, chmod=mode)).digest for mode in ("644", "0644", "600", "u=rw", "u=r")
    ]
    assert found[0] == found[1]
    assert len(set(found)) == 4


def test_a_directory_counts_with_its_path_and_owner():
    found = {
        step_key(each, SCRATCH).digest for each in (MADE, MakeDirectory(1, "/app2"), MakeDirectory(1, "/app", "web"))
    }
    assert len(found) == 3


@pytest.mark.parametrize("step", [RUN, COPY, FROM_STAGE, MADE])
def test_what_a_step_stands_on_counts_and_its_number_in_the_graph_does_not(step):
    key = by_identity(step)
    assert by_identity(step, parent=OTHER).digest != key.digest
    assert by_identity(msgspec.structs.replace(step, parent=7)) == key
    if reads_of(step):
        assert by_identity(step, SCRATCH).digest != key.digest
        assert by_content(step, SCRATCH).digest != by_content(step).digest


def test_the_numbers_of_the_vertices_that_are_read_do_not_count():
    moved = msgspec.structs.replace(FROM_STAGE, sources=(Source(9, "/out/a"),))
    assert by_identity(moved) == by_identity(FROM_STAGE)
    assert by_content(moved) == by_content(FROM_STAGE)


def test_which_vertex_a_source_comes_from_counts():
    reads = {0: Read(OTHER, by_content=True), 3: Read(OTHER, by_content=False)}
    one, two = (
        msgspec.structs.replace(COPY, sources=(Source(0, "a"), Source(3, "b"), Source(last, "c"))) for last in (0, 3)
    )
    assert step_key(one, SCRATCH, reads).digest != step_key(two, SCRATCH, reads).digest


def test_proxies_count_for_nothing():
    assert step_key(msgspec.structs.replace(RUN, proxies=("HTTP_PROXY=x",)), SCRATCH) == step_key(RUN, SCRATCH)


@pytest.mark.parametrize(("step", "count"), [(RUN, 1), (COPY, 1), (MADE, 3)])
def test_source_date_epoch_counts_for_workdir_alone(step, count):
    reads = dict.fromkeys(reads_of(step), Read(OTHER, by_content=True))
    assert len({step_key(step, SCRATCH, reads, epoch=epoch).digest for epoch in (None, 0, 1)}) == count


def test_a_file_that_moved_within_its_context_is_no_change():
    moved = msgspec.structs.replace(COPY, sources=(Source(0, "deep/er/a"), Source(0, "b")))
    assert by_content(moved) == by_content(COPY)
    other = msgspec.structs.replace(FROM_STAGE, sources=(Source(2, "/elsewhere/a"),))
    assert by_content(other) == by_content(FROM_STAGE)


def test_without_the_content_the_whole_path_counts():
    other = msgspec.structs.replace(FROM_STAGE, sources=(Source(2, "/elsewhere/a"),))
    assert by_identity(other) != by_identity(FROM_STAGE)


def test_a_content_key_is_no_step_key():
    assert by_content(FROM_STAGE).digest != by_identity(FROM_STAGE).digest


def test_images_with_the_same_layers_are_one_base():
    assert base_identity(Base(OTHER, SCRATCH)) == base_identity(Base(OTHER, OTHER))
    assert base_identity(Base(SCRATCH, OTHER)) != base_identity(Base(OTHER, OTHER))


def test_the_format_is_the_first_field(monkeypatch):
    before = step_key(RUN, SCRATCH)
    assert before.preimage[0] == ("format", keys.FORMAT)
    monkeypatch.setattr(keys, "FORMAT", "another")
    assert step_key(RUN, SCRATCH).digest != before.digest


WORDS = st.lists(st.text(st.characters(codec="utf-8"), max_size=4), max_size=4).map(tuple)


@given(WORDS, WORDS, WORDS, WORDS)
def test_no_two_commands_share_a_key(arguments, environment, others, other_environment):
    one = step_key(Run(None, arguments, environment), SCRATCH)
    two = step_key(Run(None, others, other_environment), SCRATCH)
    assert (one.digest == two.digest) == ((arguments, environment) == (others, other_environment))
