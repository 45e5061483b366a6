import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bennu.compose.nodes import plain
from bennu.compose.yaml import MAX_DEPTH, parse
from bennu.errors import Invalid, Unsupported


def value(text):
    return plain(parse(text, "f"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", "yes"),
        ("No", "No"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("0o17", 15),
        ("0x1F", 31),
        ("0755", 755),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        ("22:22", "22:22"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("!!int 12", 12),
        (".inf", ".inf"),
        ("[a, {b: c}]", ["a", {"b": "c"}]),
    ],
)
def test_scalars_follow_the_core_schema(text, expected):
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


def test_places_count_from_one():
    node = parse("a:\n  - b: 'x'\n    c: |\n\n      text\n", "f.yaml")
    item = node.get("a").items[0]
    assert str(item.index["b"].place) == "f.yaml:2:5"
    assert str(item.get("b").place) == "f.yaml:2:8"
    assert str(item.get("b").content) == "f.yaml:2:9"
    assert str(item.get("c").content) == "f.yaml:5:7"


def test_merge_keys():
    text = """
a: &a {x: 1, y: 1}
b: &b {y: 2, z: 2}
one: {<<: *a, y: 9}
late: {y: 9, <<: *a}
many: {<<: [*a, *b]}
quoted: {"<<": kept}
"""
    found = value(text)
    assert found["one"] == found["late"] == {"x": 1, "y": 9}
    assert found["many"] == {"x": 1, "y": 1, "z": 2}
    assert found["quoted"] == {"<<": "kept"}


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a: 1\nb: 2\na: 3", "f:3:1", "key 'a' is there twice, first on line 1"),
        ("a: {<<: {}, <<: {}}", "f:1:13", "'<<' is there twice"),
        ("a: *x", "f:1:4", "no anchor"),
        ("a: &x [*x]", "f:1:8", "inside its own anchor"),
        ("a: {<<: 3}", "f:1:9", "a merge key takes a mapping"),
        ("[a]: 1", "f:1:1", "a key must be a single value"),
        ("a: [1", "f:2:1", "not valid YAML"),
        ("\ta: 1", "f:1:1", "not valid YAML"),
        ("a: \x01", "f:1:4", "control characters"),
        ("a: 1\n---\nb: 2", "f:2:1", "a second document"),
        ("a: !!int x", "f:1:4", "not of the type"),
        ("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), f"f:1:{MAX_DEPTH + 2}", "nested deeper"),
    ],
)
def test_what_is_refused(text, where, words):
    with pytest.raises(Invalid) as caught:
        parse(text, "f")
    assert caught.value.where == where
    assert words in caught.value.message


def test_unknown_tags_are_refused_by_name():
    with pytest.raises(Unsupported, match="!python"):
        parse("a: !python x", "f")


def test_alias_bombs_are_bounded():
    wide = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    with pytest.raises(Invalid, match="aliases written out"):
        parse(wide, "f")
    deep = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 500))
    with pytest.raises(Invalid, match="nested deeper"):
        parse(deep, "f")


def test_tabs_get_a_hint():
    with pytest.raises(Invalid) as caught:
        parse("a:\n\tb: 1", "f")
    assert "spaces" in caught.value.hint
    assert caught.value.excerpt == "\tb: 1"


@given(st.text(max_size=60))
@settings(max_examples=300)
def test_any_text_gives_nodes_or_one_placed_error(text):
    try:
        plain(parse(text, "f"))
    except Invalid as error:
        assert error.file == "f"
        assert error.line >= 1
        assert error.column >= 1


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
def test_json_is_yaml_and_quoted_text_is_a_string(text):
    assert value(json.dumps({"k": [text, 1, None, True]})) == {"k": [text, 1, None, True]}
