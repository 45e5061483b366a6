import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.compose.interpolation import InterpolationError, expand, interpolate
from bennu.compose.nodes import plain
from bennu.compose.problems import Problems
from bennu.compose.yaml import parse
from bennu.errors import Invalid

ENVIRON = {"A": "1", "EMPTY": "", "NAME": "ada"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A", "1"),
        ("${A}x", "1x"),
        ("$Ax", ""),
        ("${NONE:-x}", "x"),
        ("${NONE-x}", "x"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${A:-x}", "1"),
        ("${A:+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${NONE+x}", ""),
        ("${A:?no}", "1"),
        ("${EMPTY?no}", ""),
        ("$$A", "$A"),
        ("$${A}", "${A}"),
        ("cost 5$", "cost 5$"),
        ("$5", "$5"),
        ("${NONE:-${ALSO:-${NAME}}}", "ada"),
        ("${NONE:-a-${NAME}-b}c", "a-ada-bc"),
        ('${NONE:-{"a": {"b": 1}}}', '{"a": {"b": 1}}'),
        ("${NONE:-http://x:80/?a=b}", "http://x:80/?a=b"),
        ("${A:-${NONE?unused}}", "1"),
    ],
)
def test_forms(text, expected):
    assert expand(text, ENVIRON).text == expected


@pytest.mark.parametrize(
    ("text", "offset", "words"),
    [
        ("ab${", 2, "not followed by the name"),
        ("${1}", 0, "not followed by the name"),
        ("${A", 0, "not closed"),
        ("${A:-x", 0, "not closed"),
        ("x${A!y}", 1, "no operator"),
        ("${NONE:?set it, $NAME}", 0, "variable 'NONE' must have a value: set it, ada"),
        ("${EMPTY:?}", 0, "variable 'EMPTY' must have a value"),
        ("${NONE?}", 0, "must have a value"),
        ("${NONE:-" * 40 + "}" * 40, 8 * 33, "nested deeper"),
    ],
)
def test_errors_know_their_offset(text, offset, words):
    with pytest.raises(InterpolationError, match=words) as caught:
        expand(text, ENVIRON)
    assert caught.value.offset == offset


def test_unset_variables_are_named_once_and_only_where_they_count():
    assert expand("$X $X ${Y} ${A:-$Z} ${N:-$W}", ENVIRON).unset == ("X", "Y", "W")


def test_growth_is_bounded():
    with pytest.raises(InterpolationError, match="longer than"):
        expand("$BIG" * 100, {"BIG": "x" * 100_000})


def test_values_of_a_tree_and_not_its_keys():
    problems = Problems()
    tree = parse("$A: [$A, {b: '${NAME}'}]\nc: ${NONE}\n", "f")
    assert plain(interpolate(tree, ENVIRON, problems)) == {"$A": ["1", {"b": "ada"}], "c": ""}
    assert [str(notice) for notice in problems.notices] == [
        "f:2:4: variable 'NONE' is not set; an empty string is used"
    ]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: xy${", "f:1:6"),
        ("a: 'xy${'", "f:1:7"),
        ("a: |\n  one\n  two ${\n", "f:3:7"),
        ("- a\n- - b: ${\n", "f:2:8"),
    ],
)
def test_errors_in_a_tree_are_placed(text, where):
    problems = Problems()
    interpolate(parse(text, "f"), {}, problems)
    with pytest.raises(Invalid) as caught:
        problems.raise_if_any()
    assert caught.value.where == where


def test_aliases_stay_shared():
    tree = parse("a: &a [$A]\nb: *a\n", "f")
    new = interpolate(tree, ENVIRON, Problems())
    assert new.get("a") is new.get("b")


@given(st.text(alphabet="${}A:-?+x", max_size=30))
def test_any_text_expands_or_fails_within_itself(text):
    try:
        expand(text, ENVIRON)
    except InterpolationError as error:
        assert 0 <= error.offset <= len(text)


@given(st.text(max_size=40))
def test_doubled_dollars_come_back(text):
    assert expand(text.replace("$", "$$"), {}).text == text
