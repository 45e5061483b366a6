"""What the embedded engine remembers."""

import pytest

from bennu.compose.model import Service
from bennu.digest import digest_of
from bennu.engine.embedded.health import Answer, HealthState
from bennu.engine.embedded.records import EngineRecords
from bennu.engine.sets import SetId, SetSpec
from bennu.errors import Conflict, NotFound
from bennu.store.database import Database


@pytest.fixture
def database(tmp_path):
    with Database(tmp_path / "db") as made:
        yield made


@pytest.fixture
def records(database):
    return EngineRecords(database)


def spec(name: str, project: str = "shop") -> SetSpec:
    service = name.partition("-")[0]
    return SetSpec(
        id=SetId(name), project=project, image=digest_of(b""), image_name="i", service=Service(name=service, image="i")
    )


def test_projects_and_services(records):
    assert records.projects() == ()
    assert records.services("shop") == {}
    records.prepare("shop", {"web": Service(name="web", image="i")})
    records.prepare("shop", {"web": Service(name="web", image="i", command=("a",))})
    records.prepare("other", {})
    assert records.projects() == ("other", "shop")
    assert records.services("shop") == {"web": Service(name="web", image="i", command=("a",))}
    records.forget("shop")
    assert records.projects() == ("other",)


def test_activation_is_all_or_nothing(records):
    for name in ("web-1", "web-2", "api-1"):
        records.put_set(spec(name))
    records.activate("shop", {"web": SetId("web-1"), "api": SetId("api-1")})
    with pytest.raises(NotFound, match="api-9"):
        records.activate("shop", {"web": SetId("web-2"), "api": SetId("api-9")})
    assert records.active("shop") == {"web": "web-1", "api": "api-1"}
    assert records.sets("shop")[SetId("web-1")].released is None
    records.activate("shop", {"web": SetId("web-2")})
    sets = records.sets("shop")
    assert sets[SetId("web-1")].released is not None
    assert sets[SetId("web-2")].released is None
    records.activate("shop", {"web": SetId("web-1")})
    assert records.sets("shop")[SetId("web-1")].released is None
    records.activate("shop", {"web": SetId("web-1")})
    assert records.sets("shop")[SetId("web-1")].released is None
    records.deactivate("shop", ["web", "nobody"])
    assert records.active("shop") == {"api": "api-1"}
    assert records.sets("shop")[SetId("web-1")].released is not None


def test_a_set_keeps_its_spec(records):
    records.put_set(spec("web-1"))
    records.mark_stopped(spec("web-1"))
    assert records.sets("shop")[SetId("web-1")].stopped
    records.put_set(spec("web-1"))
    found = records.find(SetId("web-1"))
    assert (found.spec, found.stopped) == (spec("web-1"), False)
    assert records.find(SetId("web-9")) is None


def test_an_active_set_is_not_forgotten(records):
    records.put_set(spec("web-1"))
    records.activate("shop", {"web": SetId("web-1")})
    with pytest.raises(Conflict, match="is active"):
        records.forget_set(spec("web-1"))
    records.deactivate("shop", ["web"])
    records.forget_set(spec("web-1"))
    records.forget_set(spec("web-1"))
    assert records.sets("shop") == {}


def test_health_lives_with_its_container(records, database):
    with database.transaction() as rows:
        rows.execute(
            "INSERT INTO containers (id, name, snapshot, body, transient, created) VALUES ('a', 'a', 's', '{}', 0, 0)"
        )
    state = HealthState(started=1.5, verdict="unhealthy", failures=3, last=9.0, answer=Answer(1, "no"), since=9.0)
    records.put_health({"a": state, "gone": state})
    records.put_health({})
    assert records.health(["a", "gone"]) == {"a": state}
    assert records.health([]) == {}
    with database.transaction() as rows:
        rows.execute("DELETE FROM containers")
    assert records.health(["a"]) == {}


def test_host_ports_are_chosen_once(records):
    assert records.host_port("shop", "web", 80, "tcp") is None
    records.choose_host_port("shop", "web", 80, "tcp", 40000)
    assert records.host_port("shop", "web", 80, "tcp") == 40000
    records.forget("shop")
    assert records.host_port("shop", "web", 80, "tcp") is None
