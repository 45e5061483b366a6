from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.errors import Invalid
from bennu.runtime import logs
from bennu.runtime.detach_keys import KeySequence, parse_detach_keys


@dataclass
class FakePlace:
    directory: Path

    @property
    def log(self):
        return self.directory / "log"

    @property
    def control(self):
        return self.directory / "ctl"


def record(number, text, stream="stdout", tag="F"):
    return f"2024-01-01T00:00:{number:02}.000000001+00:00 {stream} {tag} {text}\n"


def texts(place, **options):
    return [line.data.decode() for line in logs.read(place, **options)]


@pytest.fixture
def place(tmp_path):
    return FakePlace(tmp_path)


def test_lines_and_pieces(place):
    place.log.write_text(
        record(1, "one") + record(2, "half ", tag="P") + record(3, "err", "stderr") + record(4, "line") + "2024 torn"
    )
    lines = list(logs.read(place))
    assert [(line.stream, line.data) for line in lines] == [
        ("stdout", b"one\n"), ("stderr", b"err\n"), ("stdout", b"half line\n"),
    ]  # fmt: skip
    assert lines[2].time.startswith("2024-01-01T00:00:02")


def test_an_unended_last_line(place):
    place.log.write_text(record(1, "one") + record(2, "prompt> ", tag="P"))
    assert texts(place) == ["one\n", "prompt> "]


def test_tail_since_and_until(place):
    place.log.write_text("".join(record(n, str(n)) for n in range(10)))
    second = logs.moment_of("2024-01-01T00:00:05+00:00")
    assert texts(place, tail=2) == ["8\n", "9\n"]
    assert texts(place, tail=0) == []
    assert texts(place, tail=50)[0] == "0\n"
    assert texts(place, since=second) == ["5\n", "6\n", "7\n", "8\n", "9\n"]
    assert texts(place, until=second - 0.5) == ["0\n", "1\n", "2\n", "3\n", "4\n"]
    assert texts(place, since=second, tail=1) == ["9\n"]


def test_a_rotated_log_is_one(place):
    place.log.write_text("".join(record(n, str(n)) for n in range(3)))
    assert logs.rotate(place, limit_bytes=1 << 20) is False
    assert logs.rotate(place, limit_bytes=10) is True
    assert texts(place) == ["0\n", "1\n", "2\n"]
    place.log.write_text(record(4, "4"))
    assert texts(place) == ["0\n", "1\n", "2\n", "4\n"]
    assert texts(place, tail=2) == ["2\n", "4\n"]
    assert texts(place, tail=1) == ["4\n"]


def test_no_log_at_all(place):
    assert texts(place) == []


def test_following_across_a_rotation(place):
    place.log.write_text(record(1, "1"))
    steps = iter(
        [
            lambda: place.log.open("a").write(record(2, "2")),
            lambda: logs.rotate(place, 1),
            lambda: place.log.write_text(record(3, "3")),
            lambda: place.log.write_text(""),  # cut by conmon's cap
            lambda: place.log.write_text(record(4, "4")),
        ]
    )

    def may_come():
        step = next(steps, None)
        if step is not None:
            step()
        return step is not None

    assert texts(place, follow=may_come) == ["1\n", "2\n", "3\n", "4\n"]


@given(st.lists(st.text(alphabet="ab \t", max_size=30), max_size=400), st.integers(0, 420))
def test_the_tail_is_the_end_of_the_whole(lines, count):
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        place = FakePlace(Path(directory))
        text = ""
        for number, line in enumerate(lines):
            middle = len(line) // 2
            if number % 3 == 0:
                text += record(number % 60, line[:middle], tag="P") + record(number % 60, line[middle:])
            else:
                text += record(number % 60, line)
        place.log.write_text(text)
        whole = texts(place)
        assert whole == [f"{line}\n" for line in lines]
        assert texts(place, tail=count) == whole[len(whole) - count if count < len(whole) else 0 :]


@given(st.binary(max_size=60), st.lists(st.integers(1, 5), max_size=40))
def test_detach_keys_however_they_are_cut(data, cuts):
    keys = b"\x10\x11"
    sequence = KeySequence(keys)
    passed, rest, found = b"", data, False
    for cut in [*cuts, len(data) or 1]:
        out, found = sequence.feed(rest[:cut]) if rest[:cut] else (b"", False)
        passed, rest = passed + out, rest[cut:]
        if found:
            break
    if found:
        assert passed == data[: data.index(keys)]
    else:
        assert keys not in data[: len(data) - len(rest)]
        assert data.startswith(passed)
        assert len(data) - len(rest) - len(passed) <= 1


def test_names_of_detach_keys():
    assert parse_detach_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert parse_detach_keys("a,ctrl-@,ctrl-[") == b"a\x00\x1b"
    for bad in ("", "ctrl-", "ctrl-1", "ab", "a,,b"):
        with pytest.raises(Invalid):
            parse_detach_keys(bad)
