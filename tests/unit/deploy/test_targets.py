"""Releases of which only some services move, and what is made again from scratch."""

from __future__ import annotations

import pytest

from bennu.deploy.planning import plan as planning
from bennu.deploy.planning.replacing import Replacing, parse, with_renewals
from bennu.deploy.planning.targets import merged, select
from bennu.deploy.release import Release
from bennu.engine.sets import Observation
from bennu.errors import Conflict, NotFound
from tests.unit.deploy.fleets import PROJECT, observation, release, seen, service, shop


def file(**versions: str) -> Release:
    """``web`` needs ``api``, which needs ``db``; ``mail`` stands alone."""
    needs = {"web": {"api": "service_started"}, "api": {"db": "service_started"}}
    return release(*(service(name, needs=needs.get(name)) for name in versions), versions=versions)


OLD = file(web="1", api="1", db="1")
NEW = file(web="2", api="2", db="2", mail="2")


def running(of: Release, *names: str) -> Observation:
    return observation(*(seen(of.spec(name)) for name in names or of.services))


def moved(found: Observation, *targets: str, before: Release | None = OLD, after: Release = NEW) -> dict[str, str]:
    """What happens to each service when only these are targeted."""
    services = {name: entry.service for name, entry in after.services.items()}
    whole = merged(after, before, found, select(services, targets, found.active))
    return {change.service: change.kind for change in planning.make(whole, found, revision=1).changes}


def test_only_the_targets_move():
    assert moved(running(OLD), "web") == {"web": "replace", "api": "keep", "db": "keep"}
    assert moved(running(OLD), "web", "mail") == {"web": "replace", "mail": "create", "api": "keep", "db": "keep"}


def test_what_a_target_needs_comes_along_if_it_does_not_run():
    nothing = Observation(project=PROJECT)
    assert moved(nothing, "web", before=None) == {"db": "create", "api": "create", "web": "create"}
    some = running(OLD, "db")
    assert moved(some, "web") == {"db": "keep", "api": "create", "web": "create"}
    found = select({name: one.service for name, one in NEW.services.items()}, ["web"], some.active)
    assert found.line == "only web, with api, which must come along; left as they are: db, mail"


def test_a_target_that_the_file_has_no_more_leaves():
    after = file(web="2", db="2", api="2")
    gone = release(service("old"), *(entry.service for entry in OLD.services.values()))
    assert moved(running(gone), "old", before=gone, after=after) == {
        "old": "remove", "web": "keep", "api": "keep", "db": "keep",
    }  # fmt: skip
    services = {name: entry.service for name, entry in after.services.items() if name != "api"}
    with pytest.raises(Conflict, match="'api' cannot leave: 'web' depends on it"):
        merged(after, OLD, running(OLD), select(services, ["api"], running(OLD).active))


def test_the_release_says_what_runs():
    found = running(OLD)
    selection = select({name: entry.service for name, entry in NEW.services.items()}, ["web"], found.active)
    whole = merged(NEW, OLD, found, selection)
    assert {name: entry.image for name, entry in whole.services.items()} == {
        "web": NEW.services["web"].image, "api": OLD.services["api"].image, "db": OLD.services["db"].image,
    }  # fmt: skip
    again = observation(seen(OLD.spec("web")), seen(OLD.spec("api", 3)), seen(OLD.spec("db")))
    assert planning.make(merged(NEW, OLD, again, selection), again, revision=1).change("api").kind == "keep"
    strange = observation(seen(OLD.spec("web")), seen(file(api="7").spec("api")), seen(OLD.spec("db")))
    assert merged(NEW, OLD, strange, selection).services["api"].image == file(api="7").services["api"].image


def test_an_unknown_target():
    with pytest.raises(NotFound, match="'wob' is not in the fleet file and does not run"):
        moved(running(OLD), "wob")


def test_words_of_what_is_made_again():
    services = {"web", "db", "odd.2"}
    assert parse(["web.2", "db", "web.1", "web.2", "odd.2"], services) == Replacing(
        services=("db", "odd.2"), replicas=(("web", 2), ("web", 1))
    )
    assert parse(["web.2", "web"], services) == Replacing(services=("web",))
    for word in ("nobody", "web.x", "web.", ".2"):
        with pytest.raises(NotFound, match="neither a service nor a replica"):
            parse([word], services)


def test_replicas_of_sets_that_go_anyhow_are_not_made_again():
    found = running(shop())
    assert [one.name for one in with_renewals(planning.make(shop(), found, revision=1), [("web", 2)], found).renew] == [
        "web.2"
    ]
    assert with_renewals(planning.make(shop("2"), found, revision=1), [("web", 2)], found).renew == ()
    for index in (0, 3):
        with pytest.raises(NotFound, match="does not exist"):
            with_renewals(planning.make(shop(), found, revision=1), [("web", index)], found)
    nothing = Observation(project=PROJECT)
    with pytest.raises(NotFound, match="no set of 'web' is active"):
        with_renewals(planning.make(shop(), nothing, revision=1), [("web", 1)], nothing)
