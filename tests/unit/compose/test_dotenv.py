import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.compose.dotenv import parse
from bennu.errors import Invalid

ENVIRON = {"HOST": "outside", "A": "given"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("export A=1\nexport  B = 2", {"A": "1", "B": "2"}),
        ("A: 1", {"A": "1"}),
        ("# c\n\n  A=1  # c\nB=x#y", {"A": "1", "B": "x#y"}),
        ("A=# nothing", {"A": ""}),
        ("A=", {"A": ""}),
        ("A=\nB=2", {"A": "", "B": "2"}),
        ("A='$HOST \\n # x'", {"A": "$HOST \\n # x"}),
        ("A='it\\'s'", {"A": "it's"}),
        ('A="a\\tb\\n${HOST} \\$HOST \\"q\\""', {"A": 'a\tb\noutside $HOST "q"'}),
        ('A="two\nlines" # c\nB=1', {"A": "two\nlines", "B": "1"}),
        ("HOST", {"HOST": "outside"}),
        ("NOWHERE\nB=1", {"B": "1"}),
        ("X=1\nY=${X}2", {"X": "1", "Y": "12"}),
        ("A=file\nB=$A", {"A": "file", "B": "given"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("\ufeffA=1", {"A": "1"}),
        ("export=3", {"export": "3"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=a b  c ", {"A": "a b  c"}),
        ("A=${NOPE:-x y}", {"A": "x y"}),
    ],
)
def test_forms(text, expected):
    assert parse(text, ".env", ENVIRON) == expected


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("A=1\na b=1", ".env:2:3", "instead of '='"),
        ("1A=x", ".env:1:1", "begins with a letter"),
        ("=x", ".env:1:1", "begins with a letter"),
        ("A='x\nB=1", ".env:1:3", "never closed"),
        ('A="x" y', ".env:1:7", "after the closing quote"),
        ("A=x${", ".env:1:4", "not followed by the name"),
        ("A=${B:?must}", ".env:1:3", "variable 'B' must have a value: must"),
    ],
)
def test_what_is_refused(text, where, words):
    with pytest.raises(Invalid, match=words) as caught:
        parse(text, ".env", {})
    assert caught.value.where == where


@given(st.text(max_size=40))
def test_any_text_parses_or_fails_with_a_place(text):
    try:
        parse(text, ".env", {})
    except Invalid as error:
        assert error.line >= 1


@given(st.text(alphabet=st.characters(exclude_characters="'\\\r", exclude_categories=("Cs",)), max_size=30))
def test_single_quotes_keep_everything(text):
    assert parse(f"A='{text}'", ".env", ENVIRON) == {"A": text}
