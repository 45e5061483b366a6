"""``x-bennu.hooks``."""

from __future__ import annotations

import pytest

from bennu.compose.extension import Given, Hook, Hooks
from bennu.compose.hooks import BLOCKING, EVENTS
from bennu.errors import Invalid
from tests.unit.compose.support import project

MINIMAL = "services: {web: {image: nginx}}\n"


def hooks(text: str) -> Hooks:
    return project(f"x-bennu: {{hooks: {{{text}}}}}\n{MINIMAL}").x_bennu.hooks


def test_short_forms():
    found = hooks("failed: ['./tell.sh now', 'mail root', 'https://chat.example/x'], pre_build: ./check.sh")
    assert found.failed == (
        Hook(command=("/work/shop/tell.sh", "now")),
        Hook(command=("mail", "root")),
        Hook(url="https://chat.example/x"),
    )
    assert found.pre_build == (Hook(command=("/work/shop/check.sh",)),)
    assert found.of("failed") == found.failed
    assert list(found.by_event) == ["pre_build", "failed"]
    assert hooks("failed: [[./a b, c]]").failed == (Hook(command=("/work/shop/a b", "c")),)


def test_long_forms():
    (command,) = hooks("pre_switch: {command: [./gate], timeout: 2m, retries: 0, blocking: true}").pre_switch
    assert command == Hook(command=("/work/shop/gate",), timeout_seconds=120, retries=0, blocking=True)
    text = "{url: 'http://h/p', headers: {A: b, T: {env: TOKEN}, F: {file: secrets/f}}, sign: {env: KEY}}"
    (request,) = hooks(f"failed: [{text}]").failed
    assert request.headers == {
        "A": Given(text="b"), "T": Given(variable="TOKEN"), "F": Given(file="/work/shop/secrets/f"),
    }  # fmt: skip
    assert request.sign == Given(variable="KEY")


def test_without_hooks_there_is_nothing():
    assert project(MINIMAL).x_bennu.hooks == hooks("") == hooks("failed: []") == Hooks()


def test_every_event_is_read():
    assert set(EVENTS) == set(hooks(", ".join(f"{event}: x" for event in EVENTS)).by_event)


@pytest.mark.parametrize("event", sorted(set(EVENTS) - BLOCKING))
def test_what_comes_too_late_cannot_block(event: str):
    assert hooks(f"{event}: {{command: x, blocking: false}}").of(event)  # type: ignore[arg-type]
    with pytest.raises(Invalid, match=f"a hook of '{event}' cannot block"):
        hooks(f"{event}: {{command: x, blocking: true}}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("post_build: x", "key 'post_build' is not known in 'hooks'"),
        ("failed: {command: x, cmd: x}", "key 'cmd' is not known in a hook"),
        ("failed: {timeout: 1s}", "has neither 'command' nor 'url'"),
        ("failed: {command: x, url: 'http://x'}", "has both 'command' and 'url'"),
        ("failed: ['']", "is empty"),
        ("failed: {command: []}", "is empty"),
        ("failed: ['ftp://x/']", "'ftp://x/' is no address of a web hook"),
        ("failed: {url: 'http:///x'}", "is no address of a web hook"),
        ("failed: {url: 'http://x', headers: {'a b': c}}", "'a b' is no name of a header"),
        ('failed: {url: "http://x", headers: {a: "b\\nc: d"}}', "characters that no header can have"),
        ("failed: {url: 'http://x', headers: {a: {evn: B}}}", "did you mean 'env'"),
        ("failed: {url: 'http://x', headers: {a: {env: B, file: c}}}", "neither {env: NAME} nor {file: PATH}"),
        ("failed: {url: 'http://x', headers: {a: {env: B-C}}}", "'B-C' is no name of a variable"),
        ("failed: {url: 'http://x', sign: abc}", "does not belong in the file"),
        ("failed: {command: x, sign: {env: A}}", "means nothing for a command"),
        ("failed: {command: x, headers: {a: b}}", "means nothing for a command"),
        ("failed: {command: x, timeout: 0s}", "nothing is done in no time"),
        ("failed: {command: x, retries: -1}", "-1 is less than 0"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str):
    with pytest.raises(Invalid) as caught:
        hooks(text)
    assert message in f"{caught.value.message} {caught.value.hint}"
