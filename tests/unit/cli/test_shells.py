"""Completion, asked of the real shells."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from pathlib import Path

import pytest

from bennu.cli import shells
from bennu.cli.command import PROJECT, Command, operand, option, switch
from bennu.cli.table import load, rows

VERBS: shells.Verbs = [
    (
        ("container run",),
        Command(
            "run",
            "Run a command in a new container, it's said: [here]",
            (
                switch("-d", "--detach", help="Don't wait"),
                option("--network", metavar="NAME", help="Network", choices=("none", "host")),
                option("--env-file", metavar="FILE", help="Variables", complete="file", repeatable=True),
                operand("IMAGE", help="Image", complete="image"),
                operand("COMMAND", help="Command", remainder=True),
            ),
        ),
    ),
    (("image ls",), Command("images", "List images", (switch("-q", "--quiet", help="Only digests"),))),
    ((), Command("image inspect", "Show an image", (operand("IMAGE", help="I", repeatable=True, complete="image"),))),
    ((), Command("logs", "Show logs", (*PROJECT, operand("SERVICE", help="S", required=False, complete="service")))),
]
STAND_IN = """#!/bin/sh
case "$1" in
    images) printf 'debian:bookworm\\nweb:latest\\n' ;;
    config) printf 'web\\ndb\\n' ;;
esac
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a ``bennu`` that answers the scripts' questions, and the scripts."""
    program = tmp_path / "bennu"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    for shell in ("bash", "zsh", "fish"):
        (tmp_path / f"script.{shell}").write_text(getattr(shells, shell)(VERBS))
    return tmp_path


def bash(place: Path, *words: str) -> set[str]:
    program = (
        f"source {place}/script.bash\nCOMP_WORDS=(bennu {' '.join(repr(word) for word in words)})\n"
        f"COMP_CWORD={len(words)}\ncompopt() {{ :; }}\n_bennu\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(
        ["bash", "-c", program],
        env={"PATH": f"{place}:/usr/bin:/bin"}, cwd=place, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["im"], {"image", "images"}),
        (["--root", "/x", "l"], {"logs"}),
        (["image", ""], {"inspect", "ls"}),
        (["image", "ins"], {"inspect"}),
        (["run", "--de"], {"--detach", "--debug"}),
        (["container", "run", "--net"], {"--network"}),
        (["run", "--network", ""], {"none", "host"}),
        (["run", "--env-file", "script.b"], {"script.bash"}),
        (["run", "-d", "w"], {"web:latest"}),
        (["run", "deb"], {"debian:bookworm"}),
        (["run", "debian:b"], {"bookworm"}),
        (["image", "inspect", "web"], {"web:latest"}),
        (["-p", "shop", "logs", ""], {"web", "db"}),
        (["logs", "-p", ""], set()),
    ],
)
def test_bash_offers_what_fits(place: Path, words: list[str], expected: set[str]):
    assert bash(place, *words) == expected


def fish(place: Path, line: str) -> set[str]:
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {place}/script.fish; complete -C '{line}'"],
        env={"PATH": f"{place}:/usr/bin:/bin", "HOME": str(place), "TERM": "dumb"}, cwd=place,
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert done.stderr == ""
    return {text.split("\t")[0] for text in done.stdout.splitlines()}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bennu im", {"image", "images"}),
        ("bennu image ", {"inspect", "ls"}),
        ("bennu run --de", {"--detach", "--debug"}),
        ("bennu run --network ", {"none", "host"}),
        ("bennu container run deb", {"debian:bookworm"}),
        ("bennu image inspect web", {"web:latest"}),
        ("bennu logs ", {"web", "db"}),
    ],
)
def test_fish_offers_what_fits(place: Path, line: str, expected: set[str]):
    assert fish(place, line) == expected


ZSH = """
autoload -Uz compinit && compinit -u -D
bindkey '^I' complete-word
unsetopt list_beep
compadd() {
    if [[ ${@[(I)-[OAD]]} -eq 0 ]]; then
        local -a hits; builtin compadd -O hits "$@"; print -rl -- "HIT:"${^hits} >> $OUT
    fi
    builtin compadd "$@"
}
"""


def zsh(place: Path, line: str) -> set[str]:
    """Type the line and a tab into a zsh on a pseudo terminal, and collect what the completion adds."""
    out = place / "out"
    out.write_text("")
    (place / "_bennu").write_text((place / "script.zsh").read_text())
    (place / "rc.zsh").write_text(f"fpath=({place} $fpath)\nOUT={out}\n{ZSH}")
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=place, start_new_session=True,
        env={"PATH": f"{place}:/usr/bin:/bin", "HOME": str(place), "TERM": "vt100", "OUT": str(out)},
    )  # fmt: skip
    os.close(theirs)
    try:
        # Only at its prompt does zsh read key by key; before, the terminal itself would act on the Ctrl-U below.
        os.write(ours, f"source {place}/rc.zsh; PS1=REA''DY\n".encode())
        await_text(ours, b"READY")
        os.write(ours, f"{line}\t".encode())
        os.write(ours, b"\x15echo DO''NE\n")
        await_text(ours, b"DONE\r")
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)
    return {text.removeprefix("HIT:") for text in out.read_text().splitlines() if text.removeprefix("HIT:")}


def await_text(terminal: int, text: bytes) -> None:
    """Read until the text has been seen; what a shell may take is bounded."""
    seen = b""
    while text not in seen:
        ready, _, _ = select.select([terminal], [], [], 20)
        assert ready, f"the shell said only {seen!r}"
        seen += os.read(terminal, 4096)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bennu im", {"image", "images"}),
        ("bennu image in", {"inspect"}),
        ("bennu run --det", {"--detach"}),
        ("bennu run --network ", {"none", "host"}),
        ("bennu container run deb", {"debian:bookworm"}),
        ("bennu image inspect web", {"web:latest"}),
        ("bennu logs ", {"web", "db"}),
    ],
)
def test_zsh_offers_what_fits(place: Path, line: str, expected: set[str]):
    assert zsh(place, line) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_real_table_gives_a_script_that_parses(tmp_path: Path, shell: str):
    script = tmp_path / "script"
    script.write_text(getattr(shells, shell)([(row.aliases, load(row)[0]) for row in rows()]))
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
