"""What --chmod makes of modes. The expectations were observed with BuildKit."""

from __future__ import annotations

import pytest

from bennu.build.modes import parse_mode

FILE, SPECIAL, STICKY = 0o640, 0o6711, 0o3711


@pytest.mark.parametrize(
    ("text", "file", "special", "directory"),
    [
        ("755", 0o755, 0o755, 0o755),
        ("07777", 0o7777, 0o7777, 0o7777),
        ("u+x", 0o740, 0o6711, 0o3711),
        ("a+rX", 0o644, 0o6755, 0o3755),
        ("go-rwx", 0o600, 0o6700, 0o3700),
        ("u=rw,go=r", 0o644, 0o644, 0o1644),
        ("+x", 0o751, 0o6711, 0o3711),
        ("a=", 0o000, 0o000, 0o1000),
        ("go=", 0o600, 0o4700, 0o1700),
        ("o=u", 0o646, 0o6717, 0o3717),
        ("u=g,g=o", 0o400, 0o6111, 0o3111),
        ("g=u-w", 0o640, 0o6751, 0o3751),
        ("+u", 0o666, 0o6777, 0o3777),
        ("u+t", 0o1640, 0o7711, 0o3711),
        ("o+t", 0o640, 0o6711, 0o3711),
        ("g+s,o+t", 0o2640, 0o6711, 0o3711),
        ("a+rwxst", 0o7777, 0o7777, 0o7777),
        ("-X", 0o640, 0o6600, 0o3600),
        ("a-x+X", 0o640, 0o6711, 0o3711),
        ("u+", 0o640, 0o6711, 0o3711),
    ],
)
def test_modes(text: str, file: int, special: int, directory: int) -> None:
    mode = parse_mode(text)
    assert mode is not None
    found = [mode.of(FILE, is_directory=False), mode.of(SPECIAL, is_directory=False)]
    assert [*found, mode.of(STICKY, is_directory=True)] == [file, special, directory]


@pytest.mark.parametrize("text", ["", "8", "10000", "-1", "X", "u", "u+z", "u+x,", ",u+x", "0o755", "u+x g-w", "rwx"])
def test_no_modes(text: str) -> None:
    assert parse_mode(text) is None
