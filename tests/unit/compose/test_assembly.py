"""What a file includes and extends, over real files: paths, variables, what wins, and every way to get it wrong."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from bennu.compose.load import load
from bennu.compose.nodes import plain
from bennu.compose.relocation import relocated
from bennu.compose.yaml import parse
from bennu.errors import Invalid, InvalidMany


@pytest.fixture
def write(tmp_path: Path):
    def made(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_yaml", ".yaml").replace("dot_env", ".env")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return tmp_path

    return made


def read(directory: Path, **environ: str):
    return load((), environ=environ, name="shop", working_directory=str(directory))


def refused(directory: Path, **environ: str) -> list[Invalid]:
    with pytest.raises(Invalid) as caught:
        read(directory, **environ)
    return list(caught.value.errors) if isinstance(caught.value, InvalidMany) else [caught.value]


def test_a_service_of_the_same_file_is_extended(write):
    found = read(
        write(
            compose_yaml="""\
            services:
              base: {image: nginx, environment: {A: 1, B: 1}, ports: [80], command: one, profiles: [never]}
              web:
                extends: base
                environment: {B: 2}
                ports: [81]
                command: two
                profiles: !reset []
            """
        )
    )
    web = found.services["web"]
    assert web.image == "nginx"
    assert web.environment == {"A": "1", "B": "2"}
    assert [port.target for port in web.ports] == [80, 81]
    assert web.command == ("two",)


def test_extending_goes_on_and_on(write):
    found = read(
        write(
            compose_yaml="""\
            services:
              c: {extends: {service: b}, labels: {c: "1"}}
              b: {extends: {service: a}, labels: {b: "1"}}
              a: {image: x, labels: {a: "1"}}
            """
        )
    )
    assert found.services["c"].labels == {"a": "1", "b": "1", "c": "1"}


def test_paths_of_another_file_start_there(write):
    root = write(
        compose_yaml="services: {web: {extends: {file: common/base.yaml, service: web}, volumes: ['./here:/here']}}\n",
        common__base_yaml="""\
        services:
          web:
            extends: {file: ../other/more.yaml, service: web}
            build: {context: ./app}
            env_file: [web.env, {path: none.env, required: false}]
            label_file: web.labels
            volumes: ["./data:/data", "named:/named", "/abs:/abs", {type: bind, source: x, target: /x}]
        """,
        common__web_env="NAME=there\n",
        other__more_yaml="services: {web: {build: ., volumes: ['./deep:/deep']}}\n",
    )
    (root / "common/web.env").write_text("NAME=there\n")
    (root / "common/web.labels").write_text("from=file\n")
    text = (root / "compose.yaml").read_text()
    (root / "compose.yaml").write_text(text + "volumes: {named: }\n")
    web = read(root).services["web"]
    assert web.build.context == str(root / "common/app")
    sources = {mount.target: mount.source for mount in web.mounts}
    assert sources == {
        "/abs": "/abs",
        "/data": str(root / "common/data"),
        "/deep": str(root / "other/deep"),
        "/here": str(root / "here"),
        "/named": "named",
        "/x": str(root / "common/x"),
    }
    assert web.environment == {"NAME": "there"}
    assert web.labels == {"from": "file"}


def test_what_is_included_lies_under_the_file(write):
    root = write(
        compose_yaml="""\
        include:
          - infra/compose.yaml
          - {path: [other/a.yaml, other/b.yaml], project_directory: elsewhere, env_file: other/vars}
        services:
          web: {image: nginx, depends_on: [db]}
          db: {labels: {mine: "1"}}
        """,
        infra__compose_yaml="""\
        services: {db: {image: "postgres:${TAG}", volumes: ["./data:/data", "pg:/pg"], labels: {theirs: "1"}}}
        volumes: {pg: }
        """,
        infra__dot_env="TAG=16\n",
        other__a_yaml="services: {mail: {image: mail, volumes: ['./box:/box'], environment: {X: '${X}'}}}\n",
        other__b_yaml="services: {mail: {hostname: mx}}\n",
        other__vars="X=theirs\n",
    )
    found = read(root)
    assert list(found.services) == ["db", "mail", "web"]
    db, mail = found.services["db"], found.services["mail"]
    assert db.image == "postgres:16"
    assert db.labels == {"theirs": "1", "mine": "1"}
    assert db.mounts[0].source == str(root / "infra/data")
    assert list(found.volumes) == ["pg"]
    assert (mail.hostname, mail.environment) == ("mx", {"X": "theirs"})
    assert mail.mounts[0].source == str(root / "elsewhere/box")
    assert read(root, X="ours", TAG="17").services["mail"].environment == {"X": "ours"}
    assert read(root, TAG="17").services["db"].image == "postgres:17"


def test_an_included_file_includes_and_its_services_can_be_extended(write):
    found = read(
        write(
            compose_yaml="include: [a/compose.yaml]\nservices: {web: {extends: base, hostname: w}}\n",
            a__compose_yaml="include: [b/compose.yaml]\nservices: {base: {image: x}}\n",
            a__b__compose_yaml="services: {deep: {image: y}}\n",
        )
    )
    assert set(found.services) == {"web", "base", "deep"}
    assert (found.services["web"].image, found.services["web"].hostname) == ("x", "w")


@pytest.mark.parametrize(
    ("compose", "said", "line", "column"),
    [
        ("services: {a: {extends: b}}\n", "service 'b' is not known", 1, 25),
        ("services:\n  webs: {image: x}\n  a: {extends: {service: web}}\n", "service 'web' is not known", 3, 26),
        ("services: {a: {extends: {file: no.yaml, service: b}}}\n", "does not exist", 1, 32),
        ("services: {a: {extends: {file: other.yaml, service: b}}}\n", "service 'b' is not known", 1, 53),
        ("services: {a: {image: x, extends: {servce: b}}}\n", "has no 'service'", 1, 26),
        ("services: {a: {extends: a}}\n", "services extend each other: a -> a", 1, 25),
        ("services:\n  a: {extends: b}\n  b: {extends: a}\n", "services extend each other", 2, 16),
        ("include: [no.yaml]\nservices: {a: {image: x}}\n", "does not exist", 1, 11),
        ("include: no.yaml\nservices: {a: {image: x}}\n", "should be a list", 1, 10),
        ("include: [{env_file: x}]\nservices: {a: {image: x}}\n", "has no 'path'", 1, 11),
        ("include: [{path: other.yaml, env_file: no.env}]\nservices: {a: {image: x}}\n", "does not exist", 1, 40),
        ("include: [compose.yaml]\nservices: {a: {image: x}}\n", "files include each other", 1, 11),
        ("include: [bad.yaml]\nservices: {a: {image: x}}\n", "key 'imge' is not known", 1, 16),
        ("include: [broken.yaml]\nservices: {a: {image: x}}\n", "", 1, None),
    ],
)
def test_what_is_wrong_is_said_at_its_place(write, compose, said, line, column):
    root = write(
        compose_yaml=compose,
        other_yaml="services: {other: {image: x}}\n",
        bad_yaml="services: {b: {imge: x, image: y}}\n",
        broken_yaml="a: [\n",
    )
    error = refused(root)[0]
    assert said in error.message
    if column is not None:
        assert (error.line, error.column) == (line, column)
        assert error.excerpt is not None


def test_paths_in_every_form_are_made_absolute():
    text = """\
    services:
      web:
        build: {additional_contexts: {lib: ../lib, image: "docker-image://x"}}
      two: {build: app, env_file: one.env, extends: {file: f.yaml, service: x}}
      three: {build: {additional_contexts: [lib=./lib, "a=https://x"], context: "https://x/y.git"}}
    secrets: {s: {file: s.txt}}
    configs: {c: {file: ~/c}}
    """
    tree = parse(textwrap.dedent(text), "f.yaml")
    assert plain(relocated(tree, "/there/in")) == {
        "services": {
            "web": {
                "build": {
                    "context": "/there/in",
                    "additional_contexts": {"lib": "/there/lib", "image": "docker-image://x"},
                }
            },
            "two": {
                "build": "/there/in/app",
                "env_file": "/there/in/one.env",
                "extends": {"file": "/there/in/f.yaml", "service": "x"},
            },
            "three": {
                "build": {"additional_contexts": ["lib=/there/in/lib", "a=https://x"], "context": "https://x/y.git"}
            },
        },
        "secrets": {"s": {"file": "/there/in/s.txt"}},
        "configs": {"c": {"file": "~/c"}},
    }
