"""Whatever stands in a file: a project, or errors that each have a place in it; and what is printed reads the same."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from bennu.compose import reader, schema, yaml
from bennu.compose.canonical import project_json
from bennu.compose.render import compose_document, yaml_text
from bennu.errors import Invalid, InvalidMany

SECTIONS = [value for name, value in vars(schema).items() if name.isupper() and isinstance(value, dict)]
KEYS = st.sampled_from(sorted({key for section in SECTIONS for key in section} | {"a", "web", "x-a", "default", "<<"}))
WORDS = """
a web /x ./x data:/x 80 80:80 8080:80/udp 1m 10s -1 0 1.5 true no {} $A ${A:-b} ${ CMD NONE always tcp bind volume tmpfs
A=1 =1 : :: [::1]:80:80 service_healthy SIGQUIT NET_ADMIN host-gateway http://:80/ 'x \u00e9
"""
TEXTS = st.sampled_from(["", *WORDS.split()])
SCALARS = st.one_of(
    TEXTS, st.none(), st.booleans(), st.integers(-2, 99999), st.floats(allow_nan=False), st.text(max_size=4)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
SERVICES = st.dictionaries(st.sampled_from(sorted(schema.SERVICE)), VALUES, max_size=6)
FILES = st.fixed_dictionaries(
    {"services": st.dictionaries(st.sampled_from(["web", "db", "a b"]), SERVICES, min_size=1, max_size=2)},
    optional={name: VALUES for name in sorted(schema.PROJECT) if name != "services"},
)


def read(*texts):
    trees = [yaml.parse(text, f"f{number}") for number, text in enumerate(texts)]
    return reader.resolve(trees, {"A": "1"}, directory="/work/shop", profiles=["*"])


def check_errors(error):
    for each in error.errors if isinstance(error, InvalidMany) else (error,):
        assert each.message
        assert each.line is not None
        assert each.column is not None


@given(st.lists(FILES, min_size=1, max_size=2))
@settings(max_examples=150, deadline=None)
def test_any_file_is_read_or_refused_with_places(files):
    try:
        found = read(*(json.dumps(file, ensure_ascii=False) for file in files))
    except Invalid as error:
        check_errors(error)
        return
    text = yaml_text(compose_document(found))
    again = reader.resolve([yaml.parse(text, "f")], {}, directory="/elsewhere", profiles=["*"])
    assert project_json(again) == project_json(found)
    assert yaml_text(compose_document(again)) == text


LIKELY = st.fixed_dictionaries(
    {"image": st.just("x")},
    optional={
        "command": st.one_of(st.lists(TEXTS, max_size=3), st.just("a 'b c'")),
        "environment": st.dictionaries(st.sampled_from("ABC"), SCALARS, max_size=3),
        "labels": st.lists(st.sampled_from(["a", "b=1", "c=$A"]), max_size=3),
        "ports": st.lists(st.sampled_from([80, "81:80", "1.2.3.4:82:80/udp", "90-91:90-91"]), max_size=3, unique=True),
        "expose": st.lists(st.sampled_from(["1", "2/udp", "3-4"]), max_size=3),
        "volumes": st.lists(st.sampled_from(["/a", "./b:/b:ro", "~/c:/c"]), max_size=3, unique=True),
        "tmpfs": st.sampled_from(["/t", "/t:size=1m", "/t:uid=1,exec", "/t:mode=700"]),
        "healthcheck": st.sampled_from([{"test": "a"}, {"test": ["CMD", "$A"]}, {"disable": True}, {"retries": 2}]),
        "restart": st.sampled_from(["no", "always", "unless-stopped", "on-failure", "on-failure:2"]),
        "deploy": st.fixed_dictionaries(
            {},
            optional={
                "replicas": st.integers(0, 5),
                "restart_policy": st.sampled_from([{}, {"condition": "none", "delay": "1s"}, {"max_attempts": 2}]),
            },
        ),
        "stop_grace_period": st.sampled_from(["0s", "1.5s", "1h30m", "250us"]),
        "cpus": st.sampled_from([0, 0.25, "1.5"]),
        "extra_hosts": st.sampled_from([["a:1.2.3.4"], {"a": ["::1", "host-gateway"]}]),
        "x-bennu": st.sampled_from([{"exec": True}, {"writes": False}, {"probe": "tcp://:1"}]),
        "user": st.sampled_from([0, "1:2", "ada"]),
        "init": st.booleans(),
    },
)


@given(st.dictionaries(st.sampled_from(["web", "db"]), LIKELY, min_size=1))
@settings(max_examples=80, deadline=None)
def test_likely_services_come_back_from_what_is_printed(services):
    try:
        found = read(json.dumps({"services": services}))
    except Invalid as error:
        check_errors(error)
        return
    text = yaml_text(compose_document(found))
    again = reader.resolve([yaml.parse(text, "f")], {}, directory="/elsewhere", profiles=["*"])
    assert project_json(again) == project_json(found)
