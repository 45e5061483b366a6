"""How plans read: signs, what differs, images, gaps, steps. And the same for programs."""

from __future__ import annotations

import json

import msgspec
import pytest

from bennu.compose.extension import Canary, Expectation, Hook, Hooks, Validation, Watch, XBennu
from bennu.compose.model import Volume
from bennu.deploy.planning import plan as planning
from bennu.deploy.planning.details import Details
from bennu.deploy.planning.document import document
from bennu.deploy.planning.plan import Plan
from bennu.deploy.planning.replacing import with_renewals
from bennu.deploy.planning.steps import replicas, steps
from bennu.deploy.planning.text import render, summary
from bennu.deploy.policy import Policy
from bennu.deploy.release import Release
from bennu.engine.sets import Observation
from bennu.store.image_changes import ConfigChange, FileChanges, ImageChanges
from bennu.store.packages import PackageChange
from tests.unit.deploy.fleets import PROJECT, image, observation, release, seen, service, shop

AGAIN = "drain, burn and make again from the image, wait until it is ready"
NOTHING = Observation(project=PROJECT)
MARKS = {
    image(f"{name} {version}").rpartition(":")[2][:12]: f"{name}-{version}"
    for name in ("web", "db")
    for version in "12"
}
PROOF = XBennu(
    validate=(Validation(http=Expectation(port=80, path="/up")), Validation(script=("check", "me"))),
    canary=Canary(seconds=60, percent=5, more_error_share=0.001, max_p99_seconds=0.5),
    watch=Watch(seconds=30, max_error_share=0.01),
)
HOOKS = Hooks(pre_switch=(Hook(command=("ask", "somebody"), blocking=True), Hook(url="http://told")))
INSIDE = ImageChanges(
    packages=(PackageChange("curl", "1", "2"), PackageChange("less", None, "590"), PackageChange("vi", "9", None)),
    files=FileChanges(added=("/srv/b",), changed=("/srv/a",), removed=("/srv/c",)),
    of_packages=7,
    config=(ConfigChange("Env.A", "changed"), ConfigChange("User", "added", None, '"www"')),
)


def make(new: Release, found: Observation, **options) -> Plan:
    return planning.make(new, found, revision=4, **options)


def running(of: Release) -> Observation:
    return observation(*(seen(of.spec(name)) for name in of.services))


def text(plan: Plan, details: Details | None = None, **options: bool) -> str:
    """The plan's text with names in the place of digests."""
    whole = "\n".join(render(plan, details, **options))
    for change in plan.changes:
        for word, spec in (("OLD", change.old), ("NEW", change.new)):
            if spec is not None:
                whole = whole.replace(spec.id, f"{word} {change.service}")
    for digest, name in MARKS.items():
        whole = whole.replace(digest, name)
    return whole.replace(plan.release.rpartition(":")[2][:12], "RELEASE")


def test_an_empty_plan():
    assert text(make(shop(), running(shop()))) == "Project shop: no changes. What runs is what the fleet file says."
    scoped = msgspec.structs.replace(make(shop(), running(shop())), scope="only web")
    assert text(scoped) == "Project shop, only web: no changes."


def test_a_first_plan():
    assert text(make(shop(), NOTHING), Details(volumes_added={"data": Volume(name="shop_data")})) == (
        "Project shop at revision 4, release RELEASE\n"
        "\n"
        "  + db: create db.1 of db as set NEW db\n"
        "  + web: create web.1..2 of web as set NEW web\n"
        "  + volume shop_data (data)\n"
        "\n"
        "Steps:\n"
        "  1. db: start db.1, wait until it is ready\n"
        "  2. db: put set NEW db into service\n"
        "  3. web: start web.1..2, wait until all are ready\n"
        "  4. web: put set NEW web into service\n"
        "\n"
        "Plan: 2 to create."
    )


def test_changes():
    kept = [seen(shop("0").spec("web"))]
    old = shop(replicas=3)
    found = observation(seen(old.spec("db")), seen(old.spec("web")), kept=kept)
    plan = make(shop("2", db="2", proof=PROOF), found, policy=Policy(hooks=HOOKS))
    details = Details(images={"web": INSIDE, "db": ImageChanges()}, gaps={"db": 2.34}, release=old.digest)
    assert text(plan, details).replace(old.digest.rpartition(":")[2][:12], "BEFORE") == (
        "Project shop at revision 4, release BEFORE -> RELEASE\n"
        "\n"
        "+/- db: replace by db.1 of db as set NEW db, stop-first; OLD db is kept\n"
        "      image db-1 -> db-2\n"
        "        nothing is different inside\n"
        "      the sets share a volume that they write: the old one stops before the new one starts,\n"
        "      so the service does not answer until the new set is ready, for 2.3 s, going by earlier revisions\n"
        "      what is kept of it is stopped, never warm or frozen\n"
        "-/+ web: replace by web.1..2 of web as set NEW web, start-first; OLD web is kept\n"
        "      image web-1 -> web-2\n"
        "        packages: 1 added, 1 changed, 1 removed\n"
        "          ~ curl 1 -> 2\n"
        "          + less 590\n"
        "          - vi 9\n"
        "        files: 1 added, 1 changed, 1 removed (and 7 of packages)\n"
        "          ~ /srv/a\n"
        "          + /srv/b\n"
        "          - /srv/c\n"
        "        image setting Env.A changed\n"
        '        image setting User (unset) -> "www"\n'
        "      replicas 3 -> 2\n"
        f"  - kept sets that nothing comes back to: {kept[0].id}\n"
        "\n"
        "Steps:\n"
        "   1. db: stop set OLD db; db does not answer from here on, for 2.3 s, going by earlier revisions\n"
        "   2. db: start db.1, wait until it is ready\n"
        "   3. db: pre_switch hook, which may stop it: command ask somebody\n"
        "   4. db: put set NEW db into service\n"
        "   5. web: start web.1 as the test server, out of the traffic, wait until it is ready\n"
        "   6. web: validate it: GET :80/up; script check me\n"
        "   7. web: start web.2, wait until all are ready\n"
        "   8. pre_switch hook, which may stop it: command ask somebody\n"
        "   9. try web with 5 % of the traffic for 60 s; give it up if a replica ends or falls ill, "
        "or 0.10% more requests fail than with the old set, or 1 % of answers take more than 0.5 s\n"
        "  10. switch web; old connections end by themselves\n"
        "  11. watch web for 30 s; switch back if a replica ends or falls ill, or more than 1.00% of requests fail\n"
        f"  12. remove kept sets that nothing comes back to: {kept[0].id}\n"
        "\n"
        "Plan: 2 to replace, 1 kept set to remove."
    )


def test_removals_repairs_and_returns():
    full = release(service("web"), service("api"), service("db"))
    found = observation(
        seen(full.spec("web"), there=[]), seen(full.spec("api")), seen(release(service("db"), version="2").spec("db")),
        kept=[seen(full.spec("db"))],
    )  # fmt: skip
    plan = make(release(service("web"), service("db")), found)
    assert text(plan, Details(volumes_removed={"data": Volume(name="shop_data")})) == (
        "Project shop at revision 4, release RELEASE\n"
        "\n"
        "  ~ web: start what is missing of web.1, set OLD web\n"
        "      replicas are missing\n"
        "-/+ db: return to db.1 of db as set NEW db, start-first; OLD db is kept\n"
        "      image db-2 -> db-1\n"
        "  - api: remove api.1, set OLD api; it is no longer in the fleet file\n"
        "  - volume shop_data (data) is in the fleet file no more; its data stays\n"
        "\n"
        "Steps:\n"
        "  1. web: start what is missing of set OLD web, wait until it is ready\n"
        "  2. db: start db.1, wait until it is ready\n"
        "  3. switch db; old connections end by themselves\n"
        "  4. take api out of service and stop set OLD api\n"
        "\n"
        "Plan: 1 to replace, 1 to repair, 1 to remove."
    )


def test_what_is_made_again():
    found = running(shop())
    again = with_renewals(make(shop(), found), [("web", 2), ("db", 1)], found)
    assert [line for line in text(again).splitlines() if line.startswith("  ")] == [
        "  ~ db.1: make this replica again from the image, in set OLD db",
        "  ~ web.2: make this replica again from the image, in set OLD web",
        "    unchanged: db, web",
        f"  1. db.1: {AGAIN}; it is the only one, so the service does not answer meanwhile",
        f"  2. web.2: {AGAIN}; the others serve meanwhile",
    ]
    assert summary(again) == "Plan: 2 replicas to make again, 2 unchanged."
    anew = make(shop(), found, generations={"web": 1})
    old = anew.change("web").old.id
    assert "\n".join(render(anew)).count(f"{old} goes") == 1


def test_many_paths_are_counted_unless_all_are_asked_for():
    many = ImageChanges(files=FileChanges(added=tuple(f"/srv/{n:02}" for n in range(14))))
    plan = make(shop("2"), running(shop()))
    short, full = (text(plan, Details(images={"web": many}), full=full) for full in (False, True))
    assert "... 4 more (--full shows them)" in short
    assert "/srv/10" not in short
    assert "/srv/13" in full
    assert "more" not in full


@pytest.mark.parametrize("count", [1, 2])
def test_the_summary_counts(count: int):
    kept = [seen(shop(f"old {n}").spec("web")) for n in range(count)]
    found = observation(seen(shop().spec("db")), seen(shop().spec("web")), kept=kept)
    assert (
        summary(make(shop(), found)) == f"Plan: 2 unchanged, {count} kept {'set' if count == 1 else 'sets'} to remove."
    )


def test_replicas_in_words():
    assert [replicas("web", 1), replicas("web", 3), replicas("web", 3, 2), replicas("web", 2, 2)] == [
        "web.1", "web.1..3", "web.2..3", "web.2",
    ]  # fmt: skip


def test_a_kept_set_that_returns_is_not_validated_again():
    kept = seen(shop("1", proof=PROOF).spec("web"))
    found = observation(seen(shop().spec("db")), seen(shop("2").spec("web")), kept=[kept])
    assert not [line for line in steps(make(shop("1", proof=PROOF), found), {}) if "validate" in line]


def test_the_document_for_programs():
    old = release(service("web", environment={"A": "secret"}), service("db", writes=True))
    new = release(service("web", replicas=2, environment={"A": "hidden"}), service("db", writes=True), version="2")
    plan = make(new, running(old))
    details = Details(images={"web": INSIDE}, gaps={"db": 1.5}, release=old.digest)
    found = json.loads(json.dumps(document(plan, details)))
    assert "secret" not in json.dumps(found)
    assert "hidden" not in json.dumps(found)
    assert {key: found[key] for key in ("format", "version", "revision", "has_changes", "counts")} == {
        "format": "bennu plan",
        "version": 1,
        "revision": 4,
        "has_changes": True,
        "counts": {"create": 0, "replace": 2, "repair": 0, "remove": 0, "keep": 0},
    }
    web = next(one for one in found["services"] if one["service"] == "web")
    assert (web["action"], web["sign"], web["order"], web["old"]["replicas"], web["new"]["replicas"]) == (
        "replace", "-/+", "start-first", 1, 2,
    )  # fmt: skip
    assert web["configuration"] == [{"field": "environment.A", "verdict": "changed"}]
    assert web["image"]["packages"][0] == {"name": "curl", "before": "1", "after": "2"}
    db = next(one for one in found["services"] if one["service"] == "db")
    assert (db["sign"], db["expected_gap_seconds"], db["image"]) == ("+/-", 1.5, None)
