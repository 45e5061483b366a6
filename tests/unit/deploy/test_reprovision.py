"""When sets are made again: ages, jitter, windows in all zones, clocks that jump, holds and failures."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.compose.windows import window
from bennu.deploy.policy import Policy
from bennu.deploy.reprovision import (
    LONGEST_RETRY_SECONDS,
    SPACING_SECONDS,
    Attempt,
    Due,
    jitter_seconds,
    opening,
    retry_seconds,
    schedule,
    shown,
)
from bennu.engine.sets import HoldObservation, Observation, SetId
from tests.unit.deploy.fleets import observation, seen, shop

DAY = 86400.0
BERLIN = "Europe/Berlin"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()  # a Monday


def at(text: str, zone: str = "UTC", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def fleet(*, web: float, db: float) -> Observation:
    """Both services of the shop, born at these times."""
    release = shop()
    found = []
    for name, born in (("web", web), ("db", db)):
        one = seen(release.spec(name))
        replicas = tuple(
            msgspec.structs.replace(each, created=born + number * 60) for number, each in enumerate(one.replicas)
        )
        found.append(msgspec.structs.replace(one, replicas=replicas))
    return observation(*found)


def due(found: Observation, policy: Policy, now: float = NOW, **facts: object) -> dict[str, Due]:
    return {each.service: each for each in schedule(found, policy, now, **facts)}  # type: ignore[arg-type]


WEEKLY = Policy(max_age_seconds=7 * DAY)
NIGHTLY = Policy(max_age_seconds=7 * DAY, windows=(window("02:00-05:00 Europe/Berlin"),))


def test_the_oldest_goes_first_and_age_counts_from_the_oldest_replica():
    found = schedule(fleet(web=NOW - 3 * DAY, db=NOW - 8 * DAY), WEEKLY, NOW)
    assert [each.service for each in found] == ["db", "web"]
    assert found[0].at == NOW
    assert found[0].age_seconds == 8 * DAY
    assert found[1].at == NOW + 4 * DAY


def test_without_max_age_nothing_ever_goes():
    assert {each.at for each in schedule(fleet(web=0, db=0), Policy(), NOW)} == {None}


def test_a_hold_and_a_job_are_exempt():
    aged = fleet(web=NOW - 9 * DAY, db=NOW - 9 * DAY)
    web = aged.active_set("web")
    assert web is not None
    aside = HoldObservation(replica=web.replicas[1], traffic="out")
    found = due(msgspec.structs.replace(aged, holds=(aside,)), WEEKLY, jobs={"db"})
    assert found["web"].at == NOW  # its set goes, and it stays
    in_place = msgspec.structs.replace(aside, in_set=True)
    found = due(msgspec.structs.replace(aged, holds=(in_place,)), WEEKLY, jobs={"db"})
    assert (found["web"].at, found["web"].reason) == (None, "web.2 is held")
    assert (found["db"].at, found["db"].reason) == (None, "a job is not done again")


def test_what_is_aged_waits_for_its_window():
    found = due(fleet(web=NOW - 9 * DAY, db=NOW), NIGHTLY)
    assert found["web"].at == at("2026-03-03T02:00", BERLIN)
    assert found["web"].reason == "waits for its window"
    inside = at("2026-03-03T03:30", BERLIN)
    assert due(fleet(web=NOW - 9 * DAY, db=NOW), NIGHTLY, inside)["web"].at == inside


def test_a_clock_that_was_set_back_makes_nobody_wait_for_ever():
    found = due(
        fleet(web=NOW + 400 * DAY, db=NOW), WEEKLY, attempts={"web": Attempt(finished=NOW + 400 * DAY, failures=5)}
    )
    assert found["web"].age_seconds == 0
    assert found["web"].at == NOW + 7 * DAY


def test_a_clock_that_jumped_ahead_lets_them_go_one_after_the_other():
    found = fleet(web=NOW - 4000 * DAY, db=NOW - 4000 * DAY)
    assert {each.at for each in schedule(found, WEEKLY, NOW)} == {NOW}
    later = NOW + 10
    after = schedule(found, WEEKLY, later, attempts={"db": Attempt(finished=NOW)})
    assert {each.at for each in after} == {NOW + SPACING_SECONDS}


def test_what_failed_is_tried_again_later_and_later():
    found = fleet(web=NOW - 9 * DAY, db=NOW)
    for failures, wait in ((1, 3600), (2, 7200), (3, 14400), (50, LONGEST_RETRY_SECONDS)):
        one = due(found, WEEKLY, attempts={"web": Attempt(finished=NOW - 5, failures=failures)})["web"]
        assert (one.at, one.reason) == (NOW - 5 + wait, "the last try failed")
    assert retry_seconds(1) == 3600


def test_jitter_comes_from_the_name_and_never_makes_a_set_older():
    shares = {jitter_seconds(SetId(f"web-{number:010x}"), 3600) for number in range(200)}
    assert all(0 <= share < 3600 for share in shares)
    assert len(shares) == 200
    assert max(shares) > 3400 > 200 > min(shares)
    policy = msgspec.structs.replace(WEEKLY, jitter_seconds=DAY)
    found = due(fleet(web=NOW, db=NOW), policy)
    assert all(NOW + 6 * DAY < each.at <= NOW + 7 * DAY for each in found.values() if each.at)
    assert found["web"].at != found["db"].at
    assert found == due(fleet(web=NOW, db=NOW), policy)


SPRING, AUTUMN = "2026-03-29", "2026-10-25"  # daylight saving in Berlin: 02:00 becomes 03:00; 03:00 becomes 02:00


@pytest.mark.parametrize(
    ("text", "asked", "wanted"),
    [
        ("mon-fri 02:00-05:00 Europe/Berlin", at("2026-03-07T00:00", BERLIN), at("2026-03-09T02:00", BERLIN)),
        ("22:00-02:00 Europe/Berlin", at("2026-03-08T01:00", BERLIN), at("2026-03-08T01:00", BERLIN)),
        ("sat 22:00-02:00", at("2026-03-08T01:00"), at("2026-03-08T01:00")),
        ("sun 22:00-02:00", at("2026-03-08T01:00"), at("2026-03-08T22:00")),
        ("mon 00:00-24:00 Pacific/Auckland", at("2026-03-02T10:59"), at("2026-03-02T10:59")),
        ("mon 00:00-24:00 Pacific/Auckland", at("2026-03-02T11:00"), at("2026-03-08T11:00")),
        # the skipped hour: the window opens at the jump and closes by the clock
        ("02:30-03:30 Europe/Berlin", at(f"{SPRING}T00:00", BERLIN), at(f"{SPRING}T03:00", BERLIN)),
        ("02:10-02:50 Europe/Berlin", at(f"{SPRING}T00:00", BERLIN), at("2026-03-30T02:10", BERLIN)),
        # the hour that comes twice: once is enough
        ("02:00-02:30 Europe/Berlin", at(f"{AUTUMN}T00:00", BERLIN), at(f"{AUTUMN}T02:00", BERLIN)),
        ("02:00-02:30 Europe/Berlin", at(f"{AUTUMN}T02:10", BERLIN, 1), at("2026-10-26T02:00", BERLIN)),
        ("02:00-03:30 Europe/Berlin", at(f"{AUTUMN}T02:10", BERLIN, 1), at(f"{AUTUMN}T02:10", BERLIN, 1)),
    ],
)  # fmt: skip
def test_a_window_opens_by_the_clock_of_its_zone(text: str, asked: float, wanted: float):
    assert opening((window(text),), asked) == wanted


def test_of_several_windows_the_first_counts():
    both = (window("mon 01:00-02:00"), window("tue 03:00-04:00"))
    assert opening(both, NOW) == at("2026-03-03T03:00")
    assert shown(NOW, (window("01:00-02:00 Europe/Berlin"),)) == "Mon 2026-03-02 13:00 Europe/Berlin"


@given(
    asked=st.floats(min_value=at("2026-01-01"), max_value=at("2027-12-31")),
    start=st.integers(0, 1439), length=st.integers(1, 1439), days=st.sets(st.integers(0, 6), min_size=1),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)  # fmt: skip
def test_an_opening_is_in_its_window_and_asking_again_changes_nothing(
    asked: float, start: int, length: int, days: set[int], zone: str
):
    one = window(f"{'00:00-24:00'} {zone}")
    one = msgspec.structs.replace(one, days=tuple(sorted(days)), start=start, end=(start + length) % 1440)
    if one.start == one.end:
        return
    found = opening((one,), asked)
    assert found is not None
    assert asked <= found <= asked + 9 * DAY
    assert opening((one,), found) == found
