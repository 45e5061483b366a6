"""Variables, quotes and escapes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.dockerfile.expansion import ExpansionError, Options, expand, expand_word

ENV = {"home": "/root", "two": "a  b", "empty": "", "path": "/usr/lib/x.tar.gz", "star": "*", "v7": "v7", "한": "글"}


@pytest.mark.parametrize(
    ("word", "want"),
    [
        ("plain", "plain"),
        ("$home/x", "/root/x"),
        ("${home}x", "/rootx"),
        ("$homex", ""),
        ("$한국", ""),
        ("$한", "글"),
        ("${unset}", ""),
        ("$", "$"),
        ("$.x", "$.x"),
        ("a$", "a$"),
        ("$1x", "x"),
        ("$12x", "x"),
        ("$$x", "x"),
        ("$@@", "@"),
        (r"\$home", "$home"),
        (r"\\$home", r"\/root"),
        (r"a\b", "ab"),
        ("a\\", "a"),
        ("'$home'", "$home"),
        (r"'a\'", "a\\"),
        ('"$home"', "/root"),
        (r'"\$home"', "$home"),
        (r'"a\b"', r"a\b"),
        (r'"a\"b"', 'a"b'),
        (r'"a\\b"', r"a\b"),
        ('"it\'s"', "it's"),
        ("a  b", "a  b"),
        ("$two", "a  b"),
        ("${unset:-x}", "x"),
        ("${empty:-x}", "x"),
        ("${empty-x}", ""),
        ("${unset-x}", "x"),
        ("${home:-x}", "/root"),
        ("${home:+x}", "x"),
        ("${empty:+x}", ""),
        ("${empty+x}", "x"),
        ("${unset+x}", ""),
        ("${home:?no}", "/root"),
        ("${empty?no}", ""),
        ("${unset:-${home}/x}", "/root/x"),
        ("${unset:-'}'}", "}"),
        (r"${unset:-\}}", "}"),
        ("lib-${v7:+-${v7}}.so", "lib--v7.so"),
        ("${path#*/}", "usr/lib/x.tar.gz"),
        ("${path##*/}", "x.tar.gz"),
        ("${path%.*}", "/usr/lib/x.tar"),
        ("${path%%.*}", "/usr/lib/x"),
        ("${path#?}", "usr/lib/x.tar.gz"),
        ("${path%no}", "/usr/lib/x.tar.gz"),
        ("${path/lib/share}", "/usr/share/x.tar.gz"),
        (r"${path//\//-}", "-usr-lib-x.tar.gz"),
        ("${path/.*/}", "/usr/lib/x"),
        ("${path//*/y}", "y"),
        (r"${star#\*}", ""),
        ("${star/$star/s}", "s"),
        ("${path//./$home}", "/usr/lib/x/roottar/rootgz"),
        ("${unset#x}", ""),
        ("<", "<"),
        ("<<x", "<<x"),
    ],
)
def test_words(word, want):
    assert expand_word(word, ENV) == want


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("'a", "closing single quote"),
        ('"a', "closing double quote"),
        ("${", "missing '}'"),
        ("${a", "missing '}'"),
        ("${a:-b", "missing '}'"),
        ("${}", "bad substitution"),
        ("${{a}", "bad substitution"),
        ("${:-a}", "bad substitution"),
        ("${a=b}", "unsupported modifier '='"),
        ("${a:=b}", "unsupported modifier ':='"),
        ("${a:#b}", "unsupported modifier ':#'"),
        ("${a.b}", "unsupported modifier '.'"),
        ("${a/b}", "missing '/'"),
        ("${a/b/c", "missing '}'"),
        (r"${home#\x}", "nothing to escape"),
        ("${unset?}", "unset: is not allowed to be unset"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        ("${unset:?say $home}", "unset: say /root"),
    ],
)
def test_refusals(word, message):
    with pytest.raises(ExpansionError) as caught:
        expand_word(word, ENV)
    assert message in str(caught.value)
    assert 0 <= caught.value.offset < len(word)


@pytest.mark.parametrize(
    ("word", "want"),
    [
        ("a b", ("a", "b")),
        ("  a\tb ", ("a", "b")),
        ("$two", ("a", "b")),
        ('"$two"', ("a  b",)),
        ("x$two", ("xa", "b")),
        (r"a\ b", ("a b",)),
        ('a" b "c', ("a b c",)),
        ('""', ()),
        ("${unset:-a b}", ("a", "b")),
        ("x${unset:-y}z", ("xyz",)),
        ("$unset", ()),
        ("<< EOF x", ("<< EOF", "x")),
    ],
)
def test_word_splitting(word, want):
    assert expand(word, ENV).words == want


def test_the_escape_character_is_the_files():
    assert expand_word("c:\\d`$home", ENV, escape="`") == "c:\\d$home"


def test_options_keep_what_they_name():
    assert expand("'a' \"$home\"", ENV, Options(keep_quotes=True)).text == "'a' \"/root\""
    assert expand('it\'s "$home"', ENV, Options(ignore_quotes=True)).text == 'it\'s "/root"'
    assert expand(r"a\b", ENV, Options(keep_escapes=True)).text == r"a\b"
    assert expand("$unset ${unset} ${unset:-x} ${unset/a/b}", ENV, Options(keep_unset=True)).text == (
        "$unset ${unset} ${unset:-x} ${unset/a/b}"
    )


def test_it_says_which_variables_it_looked_for():
    result = expand("$home ${unset:-$two} ${empty}", ENV)
    assert result.used == {"home", "two", "empty"}
    assert result.unset == {"unset"}


TEXT = st.text(alphabet="ab${}:-+?#%/\\'\"<* \t", max_size=24)


@given(TEXT)
def test_it_ends_in_a_result_or_a_refusal(word):
    try:
        result = expand(word, {"a": "b/a", "b": ""})
    except ExpansionError:
        return
    assert all(part and part in result.text for part in result.words)


@given(st.text(alphabet="ab $\\\"'`{}", max_size=16))
def test_single_quotes_keep_everything_and_double_quotes_can(text):
    plain = text.replace("'", "")
    assert expand_word(f"'{plain}'", {}) == plain
    quoted = "".join(f"\\{ch}" if ch in '$"\\' else ch for ch in text)
    assert expand_word(f'"{quoted}"', {}) == text
