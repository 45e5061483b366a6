"""Keys: every field counts and is framed; what must not count does not."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.build import keys
from bennu.build.graph import Base, Copy, InlineFile, MakeDirectory, Run
from bennu.build.keys import SCRATCH, base_identity, content_key, definition_key
from bennu.digest import digest_of

OTHER = digest_of(b"other")
RUN = Run(parent=1, arguments=("/bin/sh", "-c", "make"), environment=("PATH=/bin",))
COPY = Copy(parent=1, source=None, sources=("a", "b"), destination="/x/")
FROM_STAGE = Copy(parent=1, source=2, sources=("/out/a",), destination="/x")
MADE = MakeDirectory(parent=1, path="/app")


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
        {"input": "text"},
        {"script": InlineFile("E", "#!/bin/sh\n")},
    ],
)
def test_every_field_of_a_run_counts(change):
    assert definition_key(msgspec.structs.replace(RUN, **change), SCRATCH).digest != definition_key(RUN, SCRATCH).digest


@pytest.mark.parametrize(
    "change",
    [
        {"sources": ("a", "c")},
        {"sources": ("b", "a")},
        {"destination": "/x"},
        {"chown": "web"},
        {"chmod": "700"},
        {"exclude": ("*.o",)},
        {"unpack": True},
        {"inline": (InlineFile("E", ""),)},
        {"inline": (InlineFile("E", "text"),)},
    ],
)
def test_every_field_of_a_copy_counts(change):
    changed = msgspec.structs.replace(COPY, **change)
    assert definition_key(changed, SCRATCH, source=OTHER).digest != definition_key(COPY, SCRATCH, source=OTHER).digest


def test_the_name_and_the_content_of_an_inline_file_cannot_trade_places():
    one = msgspec.structs.replace(COPY, inline=(InlineFile("a", "b"), InlineFile("c", "d")))
    two = msgspec.structs.replace(COPY, inline=(InlineFile("a", "c"), InlineFile("b", "d")))
    assert definition_key(one, SCRATCH).digest != definition_key(two, SCRATCH).digest


def test_a_directory_counts_with_its_path_and_owner():
    found = {
        definition_key(each, SCRATCH).digest
        for each in (MADE, MakeDirectory(1, "/app2"), MakeDirectory(1, "/app", "web"))
    }
    assert len(found) == 3


@pytest.mark.parametrize("step", [RUN, COPY, FROM_STAGE, MADE])
def test_what_a_step_stands_on_counts_and_its_number_in_the_graph_does_not(step):
    key = definition_key(step, SCRATCH, source=OTHER)
    assert definition_key(step, OTHER, source=OTHER).digest != key.digest
    assert definition_key(step, SCRATCH, source=SCRATCH).digest != key.digest
    assert definition_key(msgspec.structs.replace(step, parent=7), SCRATCH, source=OTHER) == key


def test_proxies_count_for_nothing():
    assert definition_key(msgspec.structs.replace(RUN, proxies=("HTTP_PROXY=x",)), SCRATCH) == definition_key(
        RUN, SCRATCH
    )


@pytest.mark.parametrize("step", [RUN, COPY, MADE])
def test_the_time_that_bounds_a_tree_counts(step):
    found = {definition_key(step, SCRATCH, epoch=epoch).digest for epoch in (None, 0, 1)}
    assert len(found) == 3


def test_a_file_that_moved_within_its_context_is_no_change():
    moved = msgspec.structs.replace(COPY, sources=("deep/er/a", "b"))
    assert definition_key(moved, SCRATCH, source=OTHER) == definition_key(COPY, SCRATCH, source=OTHER)
    other = msgspec.structs.replace(FROM_STAGE, sources=("/elsewhere/a",))
    assert content_key(other, SCRATCH, OTHER) == content_key(FROM_STAGE, SCRATCH, OTHER)


def test_without_the_content_the_whole_path_counts():
    other = msgspec.structs.replace(FROM_STAGE, sources=("/elsewhere/a",))
    assert definition_key(other, SCRATCH, source=OTHER) != definition_key(FROM_STAGE, SCRATCH, source=OTHER)


def test_a_content_key_is_no_definition_key():
    assert content_key(FROM_STAGE, SCRATCH, OTHER).digest != definition_key(FROM_STAGE, SCRATCH, source=OTHER).digest


def test_images_with_the_same_layers_are_one_base():
    assert base_identity(Base(OTHER, SCRATCH)) == base_identity(Base(OTHER, OTHER))
    assert base_identity(Base(SCRATCH, OTHER)) != base_identity(Base(OTHER, OTHER))


def test_the_format_is_the_first_field(monkeypatch):
    before = definition_key(RUN, SCRATCH)
    assert before.preimage[0] == ("format", keys.FORMAT)
    monkeypatch.setattr(keys, "FORMAT", "another")
    assert definition_key(RUN, SCRATCH).digest != before.digest


WORDS = st.lists(st.text(st.characters(codec="utf-8"), max_size=4), max_size=4).map(tuple)


@given(WORDS, WORDS, WORDS, WORDS)
def test_no_two_commands_share_a_key(arguments, environment, others, other_environment):
    one = definition_key(Run(None, arguments, environment), SCRATCH)
    two = definition_key(Run(None, others, other_environment), SCRATCH)
    assert (one.digest == two.digest) == ((arguments, environment) == (others, other_environment))
