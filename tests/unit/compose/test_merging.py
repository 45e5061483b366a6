import textwrap

import pytest

from bennu.compose.merging import merge, settle
from bennu.compose.nodes import plain
from bennu.compose.problems import Problems
from bennu.compose.yaml import parse
from bennu.errors import Invalid


def merged(*texts):
    """The merged files as plain values; texts are the keys of service ``a``."""
    problems = Problems()
    node, *others = [
        parse(f"services:\n  a:\n{textwrap.indent(text, '    ')}\n", f"f{n}") for n, text in enumerate(texts)
    ]
    for other in others:
        node = merge(node, other, problems)
    problems.raise_if_any()
    return plain(settle(node))["services"]["a"]


@pytest.mark.parametrize(
    ("base", "over", "expected"),
    [
        ("image: x\nuser: u", "image: y", {"image": "y", "user": "u"}),
        ("image: x", "image:", {"image": "x"}),
        ("image:", "image: x", {"image": "x"}),
        ("command: [a, b]", "command: c", {"command": "c"}),
        ("entrypoint: a", "entrypoint: [b]", {"entrypoint": ["b"]}),
        ("healthcheck: {test: [], retries: 2}", "healthcheck: {test: b}", {"healthcheck": {"retries": 2, "test": "b"}}),
        ("environment: {A: 1, B: 2}", "environment: [B=3, C]", {"environment": {"A": 1, "B": "3", "C": None}}),
        ("labels: [a=1]", "labels: {b: 2}", {"labels": {"a": "1", "b": 2}}),
        ("ports: ['80:80']", "ports: ['80:80', '81:81']", {"ports": ["80:80", "81:81"]}),
        (
            "ports: [{target: 80, published: 8080}]",
            "ports: [{target: 80, published: 8080, app_protocol: http}]",
            {"ports": [{"target": 80, "published": 8080, "app_protocol": "http"}]},
        ),
        ("volumes: [a:/x, b:/y]", "volumes: [c:/x/]", {"volumes": ["c:/x/", "b:/y"]}),
        (
            "volumes: ['a:/x']",
            "volumes: [{type: bind, source: ., target: /x}]",
            {"volumes": [{"type": "bind", "source": ".", "target": "/x"}]},
        ),
        ("cap_add: [A]", "cap_add: [A, B]", {"cap_add": ["A", "B"]}),
        ("expose: ['1']", "expose: ['1', '2']", {"expose": ["1", "2"]}),
        ("tmpfs: /run", "tmpfs: ['/run:size=1m', /tmp]", {"tmpfs": ["/run:size=1m", "/tmp"]}),
        ("env_file: a", "env_file: [b, {path: a}]", {"env_file": [{"path": "a"}, "b"]}),
        ("depends_on: [x]", "depends_on: {y: {restart: true}}", {"depends_on": {"x": None, "y": {"restart": True}}}),
        ("build: .", "build: {target: t}", {"build": {"context": ".", "target": "t"}}),
        ("build: {args: [A=1]}", "build: {args: {B: 2}}", {"build": {"args": {"A": "1", "B": 2}}}),
        ("ulimits: {nofile: 1}", "ulimits: {nofile: {soft: 1}}", {"ulimits": {"nofile": {"soft": 1}}}),
        ("extra_hosts: [a:1]", "extra_hosts: [a:1, a:2]", {"extra_hosts": ["a:1", "a:2"]}),
        ("deploy: {labels: [a=1]}", "deploy: {labels: {b: 1}}", {"deploy": {"labels": {"a": "1", "b": 1}}}),
        ("environment: {A: 1}\nuser: u", "environment: !reset null", {"user": "u"}),
        ("environment: {A: 1}", "environment: !override {B: 2}", {"environment": {"B": 2}}),
        ("ports: [80]", "ports: !override [81]", {"ports": [81]}),
        ("x-any: {a: [1]}", "x-any: {a: [2]}", {"x-any": {"a": [1, 2]}}),
    ],
)  # fmt: skip
def test_rules(base, over, expected):
    assert merged(base, over) == expected


def test_three_files_and_new_services():
    assert merged("image: a", "user: b", "image: c") == {"image": "c", "user": "b"}


def test_what_cannot_be_merged_is_placed():
    with pytest.raises(Invalid, match="is a list, and a mapping in f0:3:12; the two cannot be merged") as caught:
        merged("build: {context: .}", "build: [x]")
    assert caught.value.where == "f1:3:12"
