"""Why steps ran: records in, reasons out; what is stored of builds and listings stays within its bounds."""

from __future__ import annotations

import msgspec
import pytest

from bennu.build import records
from bennu.build.listings import File, packed, unpacked
from bennu.build.records import BuildRecord, BuildRecords, StepRecord
from bennu.build.why import Reason, changed_files, explain
from bennu.config import Settings
from bennu.digest import digest_of
from bennu.store.database import Database

FILE = 0o100644


def step(
    number: int, text: str, /, *, parent: int = 1, outcome: str = "ran", stage: str = "", **fields: str
) -> StepRecord:
    label = f"[{stage + ' ' if stage else ''}{number}/9] {text}"
    preimage = tuple((name.replace("_", " "), value) for name, value in fields.items())
    key = digest_of(msgspec.json.encode((text, preimage)))
    return StepRecord(number, label, outcome, key=key, fields=preimage, parent=parent)


BASE = StepRecord(1, "[1/9] FROM box", "cached", key="b", fields=(("step", "base"), ("chain", "one")))


def build(*steps: StepRecord, number: int = 2, **options: object) -> BuildRecord:
    return BuildRecord(number, "sha256:x", "here", 0.0, (BASE, *steps), **options)


def reasons(new: BuildRecord, *earlier: BuildRecord, listings=lambda _content: None) -> dict[int, list[Reason]]:
    return {each.number: list(each.reasons) for each in explain(new, earlier, listings) if each.outcome != "cached"}


def run(number: int, command: str, **options: object) -> StepRecord:
    return step(number, f"RUN {command}", step="run", argument_1="sh", argument_2=command, **options)


def test_a_first_build_has_nothing_to_compare_with():
    assert reasons(build(run(2, "a"))) == {2: [Reason("new")]}


def test_what_came_from_the_cache_has_no_reason():
    assert reasons(build(run(2, "a", outcome="cached")), build(run(2, "a"), number=1)) == {}


def test_an_edited_command_is_laid_beside_the_line_in_its_place():
    found = reasons(build(run(2, "make all")), build(run(2, "make"), number=1))
    assert found == {2: [Reason("command", "", "make", "make all")]}


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({"environment_1": "A=1"}, {"environment_1": "A=2"}, Reason("variable", "A", "1", "2")),
        ({}, {"environment_1": "A=1"}, Reason("variable", "A", None, "1")),
        ({"environment_1": "A=1"}, {}, Reason("variable", "A", "1", None)),
        (
            {"environment_1": "A=1", "environment_2": "B=1"},
            {"environment_1": "B=1", "environment_2": "A=1"},
            Reason("order", "", "A B", "B A"),
        ),
        ({"user": ""}, {"user": "web"}, Reason("field", "user", "", "web")),
        (
            {"argument_1": "sh", "argument_2": "x"},
            {"argument_1": "bash", "argument_2": "x"},
            Reason("shell", "", "sh", "bash"),
        ),
    ],
)
def test_the_field_that_differs_is_the_reason(before, after, reason):
    new, old = (step(2, "RUN x", step="run", **fields) for fields in (after, before))
    assert reasons(build(new), build(old, number=1)) == {2: [reason]}


def test_a_build_argument_is_called_one():
    new, old = (
        msgspec.structs.replace(step(2, "RUN x", step="run", environment_1=f"V={value}"), arguments=("V",))
        for value in "21"
    )
    assert reasons(build(new), build(old, number=1)) == {2: [Reason("argument", "V", "1", "2")]}


def stands(number: int, text: str, parent: str, below: int) -> StepRecord:
    made = step(number, text, step="run")
    fields = (("parent", parent), *made.fields)
    return msgspec.structs.replace(made, fields=fields, key=digest_of(repr((text, fields)).encode()), parent=below)


def test_what_follows_is_told_as_that():
    new = build(run(2, "b"), stands(3, "RUN then", "new", 2))
    old = build(run(2, "a"), stands(3, "RUN then", "old", 2), number=1)
    found = explain(new, [old], lambda _content: None)
    assert found[2].reasons == (Reason("below", "[2/9] RUN b", step=2),)
    assert found[2].follows
    assert not found[1].follows


def test_another_base_image_is_named_with_both_digests():
    other = msgspec.structs.replace(BASE, fields=(("step", "base"), ("chain", "two")))
    new = msgspec.structs.replace(build(), steps=(other, stands(2, "RUN a", "two", 1)))
    old = build(stands(2, "RUN a", "one", 1), number=1)
    assert reasons(new, old) == {2: [Reason("base", "box", "one", "two", step=1)]}


def test_the_nearest_of_several_builds_is_taken():
    def made(first: str, second: str) -> StepRecord:
        return step(2, "RUN x", step="run", environment_1=f"A={first}", environment_2=f"B={second}")

    found = explain(build(made("1", "1"), number=3), [build(made("2", "2"), number=2), build(made("1", "2"), number=1)],
                    lambda _content: None)  # fmt: skip
    assert found[1].build == 1
    assert found[1].reasons == (Reason("variable", "B", "2", "1"),)


def test_the_same_key_ran_again_because_it_failed_or_is_gone():
    assert reasons(build(run(2, "a")), build(run(2, "a", outcome="failed"), number=1)) == {2: [Reason("failed")]}
    assert reasons(build(run(2, "a")), build(run(2, "a"), number=1)) == {2: [Reason("gone")]}


def test_no_cache_is_reason_enough():
    assert reasons(build(run(2, "a"), use_cache=False), build(run(2, "a"), number=1)) == {2: [Reason("no-cache")]}
    assert reasons(build(run(2, "a"), fresh=(2,)), build(run(2, "a"), number=1)) == {2: [Reason("no-cache")]}


def test_a_changed_file_is_named():
    listings = {"new": {"a": File(FILE, (0, 0), b"2"), "b": File(FILE, (0, 0), b"")},
                "old": {"a": File(FILE, (0, 0), b"1"), "c": File(FILE, (0, 0), b"")}}  # fmt: skip

    def copy(content: str) -> StepRecord:
        made = step(2, "COPY a /", step="copy", content_1=content)
        return msgspec.structs.replace(made, taken=((1, content),), reads=(0,))

    found = reasons(build(copy("new")), build(copy("old"), number=1), listings=listings.get)
    assert found[2] == [
        Reason("file", "a", how="changed"), Reason("file", "b", how="added"), Reason("file", "c", how="removed"),
    ]  # fmt: skip
    assert reasons(build(copy("new")), build(copy("old"), number=1))[2] == [Reason("content", "", "old", "new")]


@pytest.mark.parametrize(
    ("new", "how"),
    [
        (File(0o100755, (0, 0), b"1"), "mode"),
        (File(FILE, (33, 0), b"1"), "owner"),
        (File(0o120777, (0, 0), b"1"), "type"),
        (File(FILE, (0, 0), b"2"), "changed"),
    ],
)
def test_what_became_of_a_file(new, how):
    assert [each.how for each in changed_files({"a": File(FILE, (0, 0), b"1")}, {"a": new})] == [how]


def test_a_listing_is_what_it_was_stored_as():
    rows = [("a\nb", FILE, (0, 0), b"\0\n\0x"), ("d/\udcff", 0o120777, (33, 7), b"../target")]
    assert unpacked(packed(rows)) == {path: File(mode, owner, detail) for path, mode, owner, detail in rows}
    assert unpacked(packed([])) == {}


@pytest.fixture
def kept(root_settings: Settings):
    with Database(root_settings.database) as database:
        yield BuildRecords(database)


def test_a_record_is_read_as_it_was_written(kept):
    written = build(run(2, "a"))
    number = kept.add(written, {digest_of(b"x"): packed([("a", FILE, (0, 0), b"1")])})
    assert kept.last() == msgspec.structs.replace(written, id=number)
    assert kept.listing(digest_of(b"x")) == {"a": File(FILE, (0, 0), b"1")}
    assert kept.listing("none") is None
    assert kept.of_image("sha256:x") == kept.last()
    assert kept.of_image("sha256:y") is None


def test_builds_and_listings_are_bounded(kept, monkeypatch):
    monkeypatch.setattr(records, "BUILDS_KEPT_A_SCOPE", 3)
    monkeypatch.setattr(records, "LISTINGS_KEPT", 2)
    for number in range(6):
        written = msgspec.structs.replace(build(run(2, str(number))), started=float(number))
        kept.add(written, {digest_of(b"%d" % number): b""})
    last = kept.last()
    assert [each.started for each in (last, *kept.before(last))] == [5.0, 4.0, 3.0]
    assert [kept.has_listing(digest_of(b"%d" % number)) for number in range(6)] == [False] * 4 + [True] * 2


def test_builds_of_the_same_thing_come_first(kept):
    for scope in ("here", "there", "here", "there"):
        kept.add(msgspec.structs.replace(build(), scope=scope), {})
    last = kept.last()
    assert [each.scope for each in kept.before(last)] == ["there", "here", "here"]
