"""What differs between releases, and what is left of each."""

from __future__ import annotations

import json

import msgspec

from bennu.compose.model import Volume
from bennu.deploy.history import Revision, RevisionState
from bennu.deploy.kept import records
from bennu.deploy.planning.release_changes import compare, document, render
from bennu.deploy.release import Release
from bennu.digest import digest_of, short
from bennu.engine.sets import Observation, ReplicaFile
from bennu.store.image_changes import FileChanges, ImageChanges
from tests.unit.deploy.fleets import PROJECT, observation, release, seen, service, shop

OLD = release(service("web", environment={"A": "secret"}), service("gone"), service("same"))
NEW = release(
    service("web", replicas=2, environment={"A": "hidden"}), service("new"), service("same"),
    versions={"web": "2"},
)  # fmt: skip
NEW = msgspec.structs.replace(NEW, volumes={"other": Volume(name="x")})


def test_two_releases():
    images = [short(each.services["web"].image) for each in (OLD, NEW)]
    changes = compare(OLD, NEW)
    inside = {"web": ImageChanges(files=FileChanges(changed=("/a", "/b")))}
    assert render(changes, inside, limit=1) == [
        f"- gone: gone ({short(OLD.services['gone'].image)})",
        f"+ new: new ({short(NEW.services['new'].image)})",
        "~ web",
        f"    image web: {images[0]} -> {images[1]}",
        "      files: 2 changed",
        "        ~ /a",
        "          ... 1 more (--full shows them)",
        "    replicas 1 -> 2",
        "    environment.A changed",
        "+ volume other",
        "- volume data",
    ]
    assert "what differs inside is not known" in "\n".join(render(changes, {}, limit=None))
    given = json.dumps(document(changes, inside))
    assert "secret" not in given
    assert "hidden" not in given
    assert compare(OLD, OLD).is_empty


def test_contents_of_secrets_differ_by_version():
    def with_secret(text: bytes) -> Release:
        file = ReplicaFile(
            source="key", version=digest_of(text), target="/run/secrets/key", is_secret=True
        )  # fmt: skip
        return msgspec.structs.replace(
            OLD, services={**OLD.services, "web": msgspec.structs.replace(OLD.services["web"], files=(file,))}
        )

    one, two = with_secret(b"1"), with_secret(b"2")
    assert render(compare(one, two), {}, limit=None) == [
        "~ web", f"    secret key {short(digest_of(b'1'))} -> {short(digest_of(b'2'))}",
    ]  # fmt: skip
    assert compare(one, one).is_empty


def revision(number: int, of: Release, state: RevisionState, *, bad: bool = False) -> Revision:
    return Revision(
        project=PROJECT, number=number, kind="apply", release=of.digest, origin=number, sets={}, state=state,
        author="me", started=float(number), reason="it fell over" if bad else None, bad=bad,
    )  # fmt: skip


def test_what_is_left_of_each_release():
    versions = {name: shop(name) for name in "12345"}
    found = observation(
        seen(shop("5").spec("db", 2)), seen(shop("5").spec("web")),
        kept=[seen(shop("4").spec("web"), released=9.0), seen(shop("3").spec("web"), released=8.0, state="exited")],
    )  # fmt: skip
    images = {entry.image for name in "2345" for entry in versions[name].services.values()}
    history = [
        revision(6, versions["5"], "active"), revision(5, versions["2"], "failed", bad=True),
        revision(4, versions["4"], "superseded"), revision(3, versions["3"], "superseded"),
        revision(2, versions["2"], "superseded"), revision(1, versions["1"], "superseded"),
    ]  # fmt: skip
    got = records(history, {one.digest: one for one in versions.values()}, found, images)
    assert [(one.revisions, one.remains, one.bad) for one in got] == [
        ((6,), "active", False),
        ((5, 2), "images", True),
        ((4,), "warm", False),
        ((3,), "stopped", False),
        ((1,), "gone", False),
    ]
    assert got[0].sets["db"].endswith("-2")
    assert (got[1].reason, got[1].served) == ("it fell over", True)
    assert records([], {}, Observation(project=PROJECT), set()) == ()
