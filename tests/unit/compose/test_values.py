import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.compose import values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("1m30s", 90),
        ("2.5s", 2.5),
        ("100ms", 0.1),
        ("250us", 0.00025),
        ("1h", 3600),
        ("7d", 604800),
        ("0", 0),
    ],
)
def test_durations(text, seconds):
    assert values.duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "1x", "-1s", "1 s", "1s1", "1.s"])
def test_bad_durations(text):
    with pytest.raises(ValueError, match="is not a duration"):
        values.duration_seconds(text)


@given(st.integers(min_value=0, max_value=10**13))
def test_durations_come_back(micros):
    seconds = micros / 1_000_000
    assert values.duration_seconds(values.duration_text(seconds)) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024", 1024),
        ("64k", 65536),
        ("64KB", 65536),
        ("512m", 512 << 20),
        ("1.5gb", 3 << 29),
        ("2GiB", 2 << 30),
        ("7b", 7),
    ],
)
def test_sizes(text, size):
    assert values.size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1m", "1x", "1mm", "0x10"])
def test_bad_sizes(text):
    with pytest.raises(ValueError, match="is not a size"):
        values.size_bytes(text)


@pytest.mark.parametrize(("text", "mode"), [("1777", 0o1777), ("0755", 0o755), ("0o644", 0o644)])
def test_modes(text, mode):
    assert values.file_mode(text) == mode


@pytest.mark.parametrize("text", ["", "8", "77777", "rwx"])
def test_bad_modes(text):
    with pytest.raises(ValueError, match="octal"):
        values.file_mode(text)


def test_words():
    assert values.words("nginx -g 'daemon off;' \"a b\"") == ("nginx", "-g", "daemon off;", "a b")
    assert values.words("") == ()
    with pytest.raises(ValueError, match="never closed"):
        values.words("a 'b")


@pytest.mark.parametrize(("text", "expected"), [("80", (80, 80)), ("80-82", (80, 82)), ("0", (0, 0))])
def test_ports(text, expected):
    assert values.ports(text) == expected


@pytest.mark.parametrize("text", ["", "x", "65536", "9-8", "1-2-3", "-1", "\uff18\uff10"])
def test_bad_ports(text):
    with pytest.raises(ValueError):
        values.ports(text)


@pytest.mark.parametrize("text", ["nan", ".inf", "1e", "0x", "x"])
def test_bad_numbers(text):
    with pytest.raises(ValueError):
        values.number(text)
