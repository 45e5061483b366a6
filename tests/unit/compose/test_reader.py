import pytest

from bennu.compose import schema
from bennu.compose.extension import XBennuProject
from bennu.compose.model import Volume
from bennu.compose.reader import draft, unknown_service
from bennu.compose.render import compose_document
from bennu.compose.yaml import parse
from bennu.deploy.release import check_served
from bennu.errors import InvalidMany, Unsupported
from tests.unit.compose.support import errors, project, service

MINIMAL = "services:\n  web: {image: x}\n"


def test_all_errors_come_at_once_in_the_order_of_the_file():
    found = errors(
        project,
        """\
        servces: {}
        services:
          web:
            imge: nginx
            privileged: true
            ports: ["x"]
            healthcheck: {interval: 3}
          db: {image: "${MUST:?have}", depends_on: [web, bd]}
        """,
    )
    assert [(error.line, error.column) for error in found] == [
        (1, 1),
        (3, 3),
        (4, 5),
        (6, 13),
        (7, 29),
        (8, 16),
        (8, 50),
    ]
    assert [error.hint for error in found][0:3:2] == ["did you mean 'services'?", "did you mean 'image'?"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("- a", "the file is a list"),
        ("name: x", "has no 'services'"),
        ("services: [a]", "services: is a list"),
        ("services: {a: b}", "services.a: is a string"),
        ("services: {'a b': {image: x}}", "cannot be the name of a service"),
        ("volumes: {a: {driver_opts: {device: /x, size: y}}}\n" + MINIMAL, "key 'size' is not known"),
        ("volumes: {a: {driver_opts: {type: nfs}}}\n" + MINIMAL, "has no 'device'"),
        ("volumes: {a: {driver_opts: {type: tmpfs, device: tmpfs}}}\n" + MINIMAL, "memory of each replica"),
        ("volumes: {a: {driver_opts: {device: /x}}}\nx-bennu: {snapshot: [a]}\n" + MINIMAL, "has 'driver_opts'"),
        ("volumes: {a: {external: true, labels: [b]}}\n" + MINIMAL, "is external"),
        ("volumes: {a: {name: '/x'}}\n" + MINIMAL, "cannot be the name of a volume"),
        ("x-bennu: {keep: -1}\n" + MINIMAL, "-1 is less than 0"),
        ("x-bennu: {keep_warn: 1m}\n" + MINIMAL, "key 'keep_warn' is not known"),
        ("x-bennu: {max_age: 0s}\n" + MINIMAL, "live for no time"),
        ("x-bennu: {snapshot: [data]}\n" + MINIMAL, "volume 'data' is not declared"),
    ],
)
def test_what_is_refused(text, words):
    (error,) = errors(project, text)
    assert words in error.message
    assert error.file == "f0.yaml"


def test_volumes_and_their_names():
    found = project(
        "name: p\nvolumes: {a: , b: {name: own, labels: {l: 1}}, c: {external: true}, d: {external: {name: e}}}\n"
        + MINIMAL
    )
    assert found.volumes == {
        "a": Volume(name="p_a"),
        "b": Volume(name="own", labels={"l": "1"}),
        "c": Volume(name="c", external=True),
        "d": Volume(name="e", external=True),
    }


def test_x_bennu_of_the_project():
    text = "x-bennu: {keep: 2, keep_warm: 1m, max_age: 7d, snapshot: [d]}\nvolumes: {d: }\n" + MINIMAL
    assert project(text).x_bennu == XBennuProject(keep=2, keep_warm_seconds=60, max_age_seconds=604800, snapshot=("d",))
    assert project(MINIMAL).x_bennu == XBennuProject(keep=3, keep_warm_seconds=600)


def test_notices():
    found = project(
        "version: '3'\nservices:\n  web: {image: $X, tty: true, deploy: {update_config: {}}}\n", environ={"X": "i"}
    )
    assert [(notice.place.line, notice.message.partition(":")[0]) for notice in found.notices] == [
        (1, "version"),
        (3, "services.web.tty"),
        (3, "services.web.deploy.update_config"),
    ]


def test_image_names():
    found = project("name: p\nservices: {a: {image: i, build: .}, b: {build: .}}\n")
    assert [found.image_name(name) for name in found.services] == ["i", "p-b"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "file"),
        ({"environ": {"COMPOSE_PROJECT_NAME": "env"}}, "env"),
        ({"environ": {"COMPOSE_PROJECT_NAME": "env"}, "name": "given"}, "given"),
    ],
)
def test_the_order_of_names(options, expected):
    assert project("name: ${X:-file}\n" + MINIMAL, **options).name == expected


def test_the_name_is_a_variable():
    found = project("name: p\nservices: {web: {image: '${COMPOSE_PROJECT_NAME}-web'}}\n")
    assert found.services["web"].image == "p-web"


PROFILES = """
services:
  web: {image: x}
  debug: {image: x, profiles: [dev, test], env_file: gone.env}
"""


@pytest.mark.parametrize(
    ("profiles", "active"),
    [((), ["web"]), (("dev",), ["web", "debug"]), (("*",), ["web", "debug"]), (("other",), ["web"])],
)
def test_profiles(profiles, active):
    found = project(PROFILES, profiles=profiles, env_texts={"/work/shop/gone.env": ""})
    assert list(found.services) == active
    assert list(found.inactive) == [name for name in ("web", "debug") if name not in active]


def test_files_of_inactive_services_are_not_wanted():
    tree = parse(PROFILES, "f")
    assert draft([tree], {}, directory="/x").env_files() == ()
    assert draft([tree], {}, directory="/x", profiles=["dev"]).env_files() == ("/x/gone.env",)
    assert project(PROFILES).inactive["debug"].environment == {}


def test_depending_on_an_inactive_service():
    text = "services: {a: {image: x, depends_on: {b: {required: %s}}}, b: {image: x, profiles: [p]}}"
    (error,) = errors(project, text % "true")
    assert error.hint == "choose one of its profiles: p"
    assert project(text % "false").start_order() == (("a",),)


def test_cycles_are_named():
    (error,) = errors(
        project,
        """\
        services:
          a: {image: x, depends_on: [b]}
          b: {image: x, depends_on: {c: }}
          c: {image: x, depends_on: [b]}
        """,
    )
    assert error.message.endswith("services depend on each other: b -> c -> b")
    assert error.line == 3


def test_waiting_for_a_health_that_is_never_checked():
    (error,) = errors(
        project,
        """\
        services:
          a: {image: x, depends_on: {b: {condition: service_healthy}}}
          b: {image: x, healthcheck: {disable: true}}
        """,
    )
    assert "its health check is turned off" in error.message


def test_the_order_of_start():
    found = project(
        "services: {a: {image: x, depends_on: [c]}, b: {image: x}, c: {image: x, depends_on: [b]}, d: {image: x}}"
    )
    assert found.start_order() == (("b", "d"), ("c",), ("a",))


def test_places():
    found = project("services:\n  web:\n    image: x\nvolumes:\n  d:\n")
    assert {key: str(place) for key, place in found.places.items()} == {
        "services.web": "f0.yaml:2:3",
        "services.web.image": "f0.yaml:3:5",
        "volumes.d": "f0.yaml:5:3",
    }


def test_names_of_services_that_are_not_there():
    found = project(PROFILES)
    assert unknown_service(found, "wb").hint == "did you mean 'web'?"
    assert "no chosen profile" in unknown_service(found, "debug").message


SAMPLES = {"mapping": "{a: b}", "mappings": "[{a: b}]", "list": "[a]", "pairs": "{a: b}", "flag": "true", "whole": "1"}


@pytest.mark.parametrize("name", sorted(name for name, key in schema.SERVICE.items() if key.standing == "stated"))
def test_every_stated_key_is_kept_printed_and_not_run(name):
    value = SAMPLES.get(schema.SERVICE[name].shape.split("|")[0], "x")
    found = project(f"services:\n  web:\n    image: x\n    {name}: {value}\n")
    assert list(found.services["web"].other) == [name]
    (unserved,) = found.unserved
    assert (unserved.place.line, unserved.place.column) == (4, 5)
    assert unserved.message.startswith(f"services.web.{name}: is not supported")
    assert compose_document(found)["services"]["web"][name] == found.services["web"].other[name]
    with pytest.raises(Unsupported, match=name):
        check_served(found)


def test_a_stated_key_without_a_value_asks_for_nothing():
    assert project("services: {web: {image: x, privileged: }}").unserved == ()


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("privileged: [x]", "is a list, should be true or false"),
        ("annotations: {a: {b: c}}", "is a mapping, should be a mapping or a list of NAME=VALUE"),
        ("mem_swappiness: high", "is 'high', should be a whole number"),
        ("devices: x", "should be a list of strings or a list of mappings"),
        ("gpus: [x]", "should be a string or a list of mappings"),
    ],
)
def test_a_stated_key_has_its_shape(key, said):
    (error,) = errors(service, key)
    assert said in error.message


def test_what_one_host_cannot_do_is_told_when_it_is_to_run():
    found = project("services:\n  web: {image: x, deploy: {mode: global, placement: {constraints: [a]}}}\n")
    assert [each.message.partition(":")[0] for each in found.unserved] == [
        "services.web.deploy.mode",
        "services.web.deploy.placement",
    ]
    with pytest.raises(InvalidMany):
        check_served(found)


def test_unknown_many():
    with pytest.raises(InvalidMany):
        project("services: {a: {image: x, b: 1, c: 2}}")
