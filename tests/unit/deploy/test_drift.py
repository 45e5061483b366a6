"""What is drift and what is not, how it is told, and what mends it: without a host."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from bennu.deploy.drift import mending
from bennu.deploy.drift.comparison import Baseline, Changed, Missing, Record, Unexpected, compute, differences, span
from bennu.deploy.drift.kinds import KINDS
from bennu.deploy.drift.looks import Drifts, DriftWatch
from bennu.deploy.drift.news import told
from bennu.deploy.drift.records import DriftRecords, Look, identity
from bennu.deploy.drift.text import about, command, document, page, sentence, summary
from bennu.engine.actions import RemoveSet, RemoveStray, RenewReplica, RenewSurroundings
from bennu.engine.sets import SetId
from bennu.engine.survey import Facts, Survey
from bennu.store.database import Database

NOW = 1_000_000.0
DOCUMENTED = Path(__file__).parents[3] / "docs/drift.md"


def survey(*facts: Facts, **fields: object) -> Survey:
    return Survey(project="shop", taken=NOW, facts=facts, **fields)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_can_be_missing_unexpected_and_changed(kind):
    facts = Facts(
        kind=kind, subject="web.2", want={"a": "1", "b": "2"}, have={"b": "3", "c": "4"}, since={"c": NOW - 60}
    )
    found = compute(survey(facts), Record())
    assert found == (
        Missing(kind=kind, subject="web.2", field="a", want="1"),
        Changed(kind=kind, subject="web.2", field="b", want="2", have="3"),
        Unexpected(kind=kind, subject="web.2", field="c", have="4", since=NOW - 60),
    )
    for drift in found:
        assert sentence(drift)
        assert re.fullmatch(r"bennu [a-z]+( .*)?", command(drift))
        assert about(drift) == "web.2"


def test_there_are_at_least_forty_kinds_and_each_is_documented():
    documented = re.findall(r"^\| `([a-z-]+)` \|", DOCUMENTED.read_text(), re.MULTILINE)
    assert len(KINDS) >= 40
    assert documented == list(KINDS)


def test_what_is_as_it_should_be_is_no_drift():
    facts = Facts(kind="mount", subject="web.1", want={"/tmp": "tmpfs"}, have={"/tmp": "tmpfs"})
    assert compute(survey(facts), Record()) == ()
    assert compute(survey(), Record()) == ()


def of(kind: str, index: int, *, counts_alone: bool = True, held: bool = False, **have: str) -> Facts:
    return Facts(kind=kind, subject=f"web.{index}", have=have, peers="web-1", counts_alone=counts_alone, held=held)


def test_what_all_replicas_of_a_set_have_is_the_services_own_doing():
    found = compute(survey(of("scratch", 1, own="file"), of("scratch", 2, own="file", odd="file")), Record())
    assert [(one.subject, one.field) for one in found] == [("web.2", "odd")]


def test_replicas_of_different_sets_are_no_peers():
    other = msgspec.structs.replace(of("scratch", 1, own="file"), peers="web-2", subject="web.1 of kept set web-2")
    found = compute(survey(of("scratch", 1, own="file"), other), Record())
    assert len(found) == 2


def test_a_replica_without_peers():
    assert len(compute(survey(of("scratch", 1, odd="file")), Record())) == 1
    assert compute(survey(of("environment", 1, counts_alone=False, odd="value")), Record()) == ()


def test_a_held_replica_is_no_peer_and_its_drift_says_so():
    facts = (of("scratch", 1, own="file"), of("scratch", 2, own="file"), of("scratch", 3, held=True, mine="file"))
    (found,) = compute(survey(*facts), Record())
    assert found.held
    look = Look(project="shop", taken=NOW, drifts=(found,))
    assert look.own == ()
    text = page("shop", look.drifts, (), NOW)
    assert "web.3 is held" in text
    assert "-> " not in text
    assert text.endswith("No drift: shop is as it was made (1 more in held replicas).\n")
    assert mending.plan("shop", look.drifts, {"web": SetId("web-1")}).is_empty


def test_what_is_recorded_counts_too():
    active = {"web": SetId("web-1")}
    record = Record(sets={"web": SetId("web-2"), "db": SetId("db-1")}, active=active, agent=False)
    found = compute(survey(), record)
    assert found == (
        Missing(kind="agent", subject="", field="agent", want="running"),
        Missing(kind="active", subject="db", field="set", want="db-1"),
        Changed(kind="active", subject="web", field="set", want="web-2", have="web-1"),
    )
    # while a rollout is under way nobody knows what will be active
    assert compute(survey(), Record(active=active)) == ()
    # and a project that has nothing needs no agent
    assert compute(survey(), Record(agent=False)) == ()


def test_age():
    seen = survey(created={"web.1": NOW - 9 * 86400, "web.2": NOW - 86400})
    assert compute(seen, Record()) == ()
    (found,) = compute(seen, Record(max_age_seconds=7 * 86400))
    assert sentence(found) == "age: 9 days, should be at most 7 days"
    assert found.since == NOW - 2 * 86400
    assert command(found) == "bennu reprovision web"


def test_the_host_and_names_are_compared_with_what_they_were():
    host = {"host-package": {"crun": "1.8", "new": "1"}, "host-sysctl": {"vm.swappiness": "60", "net.x": "1"}}
    was = {"host-package": {"crun": "1.7", "gone": "1"}, "host-sysctl": {"vm.swappiness": "10", "fs.y": "1"}}
    baseline = Baseline(host=was, tags={"web:v1": "aaa", "old:1": "bbb"})
    found = compute(survey(host=host, tags={"web:v1": "ccc", "other:1": "ddd"}), Record(baseline=baseline))
    assert {(one.kind, one.field, type(one)) for one in found} == {
        ("host-package", "crun", Changed),
        ("host-package", "new", Unexpected),
        ("host-package", "gone", Missing),
        ("host-sysctl", "vm.swappiness", Changed),  # others come and go with modules of the kernel's
        ("tag", "web:v1", Changed),
    }
    assert compute(survey(host=host), Record()) == ()


def test_values_of_variables_are_not_told():
    facts = Facts(kind="environment", subject="web.1", want={"KEY": "value 1a2b"}, have={"KEY": "value 3c4d", "X": "y"})
    changed, more = differences(facts)
    assert sentence(changed) == "environment variable KEY has another value"
    assert sentence(more) == "unexpected environment variable X"


def drift_of(kind: str, subject: str = "", field: str = "x", *, held: bool = False) -> Unexpected:
    return Unexpected(kind=kind, subject=subject, field=field, have="y", held=held)


def test_mending_replaces_each_thing_once_and_strangers_go_first():
    active = {"web": SetId("web-1")}
    found = (
        drift_of("mount", "web.2"), drift_of("process", "web.2"), drift_of("switch-map"), drift_of("nftables"),
        drift_of("container", field="evil"), drift_of("file", "web.1 of kept set web-0"), drift_of("host-kernel"),
        Missing(kind="replica", subject="web", field="web.3", want="a replica"), drift_of("layer", "web:v1"),
        Missing(kind="agent", subject="", field="agent", want="running"), drift_of("mount", "web.9", held=True),
    )  # fmt: skip
    chosen = mending.plan("shop", found, active)
    assert [action for _, action in chosen.steps] == [
        RemoveStray(project="shop", container="evil"),
        RemoveSet(set=SetId("web-0")),
        RenewSurroundings(project="shop"),
        RenewReplica(set=SetId("web-1"), index=2),
        RenewReplica(set=SetId("web-1"), index=3),
    ]
    assert chosen.agent
    assert [one.kind for one in chosen.left] == ["host-kernel", "layer"]
    assert [line.rpartition(": ")[2] for line in mending.remains(chosen.left)] == [
        "bennu drift --accept",
        "bennu reprovision --rebuild",
    ]


@pytest.mark.parametrize(
    ("drift", "wanted"),
    [
        (drift_of("mount", "web.2"), "bennu apply --replace web.2"),
        (Missing(kind="replica", subject="web", field="web.3", want="a replica"), "bennu apply --replace web.3"),
        (drift_of("mount", "web.2 of kept set web-0"), "bennu drift --fix"),
        (drift_of("container", field="evil"), "bennu rm --force evil"),
        (drift_of("switch-map"), "bennu drift --fix"),
        (drift_of("tag"), "bennu apply"),
        (drift_of("upstream", field="nginx:1"), "bennu pull nginx:1 && bennu apply"),
        (drift_of("volume", "data"), "bennu apply"),
    ],
)
def test_the_command_that_mends(drift, wanted):
    assert command(drift) == wanted


def test_the_page():
    drifts = (
        Unexpected(kind="process", subject="web.2", field="pid 7", have="sh (user 0)", since=NOW - 7200),
        Changed(kind="limit", subject="web.2", field="memory", want="1", have="max", first_seen=NOW - 300),
        *(drift_of("sysctl", "web.2", f"net.{number:02}") for number in range(20)),
        drift_of("host-kernel", field="release"),
    )
    text = page("shop", drifts, ("web.9 came or went",), NOW)
    assert text.startswith("web.2\n  + unexpected process pid 7: sh (user 0)  (for 2 hours)\n")
    assert "  ~ limit of the control group, memory: max, should be 1  (seen 5 minutes ago)\n" in text
    assert "    and 8 more of this kind (sysctl); --format json has all of them\n" in text
    assert "  -> bennu apply --replace web.2\n" in text
    assert "  -> bennu drift --accept  (if it was meant; a fleet cannot mend its host)\n" in text
    assert text.endswith("note: web.9 came or went\nDrift: 23 differences in 2 places.\n")
    assert summary("shop", ()) == "No drift: shop is as it was made."


def test_the_document_is_whole():
    drifts = (drift_of("sysctl", "web.2"), drift_of("file", "web.3", held=True))
    found = json.loads(document(Look(project="shop", taken=NOW, drifts=drifts)))
    assert found["notes"] == []
    assert [one["subject"] for one in found["drifts"]] == ["web.2"]
    assert [one["subject"] for one in found["held"]] == ["web.3"]
    assert found["drifts"][0] == {
        "about": "web.2", "change": "unexpected", "field": "x", "have": "y", "kind": "sysctl",
        "mend": "bennu apply --replace web.2", "subject": "web.2", "text": "unexpected kernel setting x: y",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5 seconds"), (60, "1 minute"), (7200, "2 hours"), (1e5, "27 hours"), (9e5, "10 days")],
)
def test_spans(seconds, text):
    assert span(seconds) == text


# what is remembered


@pytest.fixture
def records(tmp_path: Path):
    with Database(tmp_path / "bennu.db") as database:
        yield DriftRecords(database)


def test_findings_keep_the_time_of_their_first_look_and_go_when_they_are_gone(records):
    one, two = drift_of("mount", "web.1"), drift_of("sysctl", "web.1")
    assert records.last("shop") is None
    whole, news = records.keep("shop", (one,), (), NOW)
    assert whole.drifts == news.drifts == (msgspec.structs.replace(one, first_seen=NOW),)
    whole, news = records.keep("shop", (one, two), ("a note",), NOW + 60)
    assert [drift.first_seen for drift in whole.drifts] == [NOW, NOW + 60]
    assert [drift.kind for drift in news.drifts] == ["sysctl"]
    assert records.last("shop") == whole
    whole, news = records.keep("shop", (two,), (), NOW + 120)
    assert news.drifts == ()
    assert records.last("shop") == whole
    assert records.projects() == ("shop",)
    records.forget("shop")
    assert records.last("shop") is None


def test_the_same_thing_with_another_value_is_the_same_finding():
    one = drift_of("mount", "web.1")
    assert identity(one) == identity(msgspec.structs.replace(one, have="z", since=NOW))
    assert identity(one) != identity(msgspec.structs.replace(one, field="z"))


def test_a_baseline_belongs_to_a_revision(records):
    baseline = Baseline(tags={"web:v1": "aaa"})
    records.keep_baseline("shop", 3, baseline, NOW)
    assert records.baseline("shop", 3) == baseline
    assert records.baseline("shop", 4) is None


def test_what_hooks_are_told():
    new = (drift_of("mount", "web.1"), drift_of("sysctl", "web.1"))
    event = told(Look(project="shop", taken=NOW, drifts=new), Look(project="shop", taken=NOW, drifts=new))
    assert event.reason == "web.1: unexpected mount x: y, and 1 more; `bennu apply --replace web.1`"
    assert event.detail["count"] == 2
    assert event.detail["mend"] == ["bennu apply --replace web.1"]


class Revisions:
    """A history as far as looks ask for it."""

    def __init__(self) -> None:
        self.number = 1
        self.is_rolling = False

    def active(self, _project: str):
        return type("Revision", (), {"number": self.number, "sets": {}})()

    def rolling(self, _project: str):
        return (1, None) if self.is_rolling else None

    def policy(self, _project: str):
        return None

    def last_number(self, _project: str) -> int:
        return self.number


class Surveyed:
    """An engine that finds what it is told to."""

    def __init__(self) -> None:
        self.found: tuple[Facts, ...] = ()
        self.host = {"host-zone": {"time zone": "UTC"}}
        self.looks = 0

    def projects(self):
        return ("shop",)

    def survey(self, project: str, *, deep: bool = False) -> Survey:
        self.looks += 1
        return Survey(project=project, taken=NOW + self.looks, facts=self.found, host=self.host)


def test_the_first_look_at_a_revision_records_the_host(records):
    engine, history = Surveyed(), Revisions()
    drifts = Drifts(engine, history, records)
    assert drifts.look("shop")[0].drifts == ()
    engine.host = {"host-zone": {"time zone": "CET"}}
    (found,) = drifts.look("shop")[0].drifts
    assert (found.kind, found.have) == ("host-zone", "CET")
    history.number = 2
    assert drifts.look("shop")[0].drifts == ()
    engine.host = {"host-zone": {"time zone": "UTC"}}
    assert len(drifts.look("shop")[0].drifts) == 1
    drifts.accept("shop")
    assert drifts.look("shop")[0].drifts == ()


def test_the_agent_looks_soon_after_a_switch_and_then_now_and_then(records):
    engine, history = Surveyed(), Revisions()
    told_of: list[str] = []
    watch = DriftWatch(
        Drifts(engine, history, records),
        history,
        lambda _line: None,
        lambda whole, _news: told_of.append(whole.project),
    )

    def round_at(now: float) -> float:
        later = watch.round(now)
        while watch._errand.is_under_way:
            pass
        return later

    assert round_at(NOW) == 10
    assert engine.looks == 0
    engine.found = (Facts(kind="mount", subject="web.1", have={"/x": "tmpfs"}),)
    assert round_at(NOW + 10) == 300
    assert (engine.looks, told_of) == (1, ["shop"])
    assert round_at(NOW + 11) == 299
    assert round_at(NOW + 310) == 300
    assert (engine.looks, told_of) == (2, ["shop"])  # it is no news
    history.number = 2
    assert round_at(NOW + 311) == 10
    history.is_rolling = True
    round_at(NOW + 321)
    assert engine.looks == 2
    watch.stop()
