"""Several builds as one: what they share, what they wait for, and how they end together."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bennu.build.batch import build_all, labelled, needs
from bennu.build.progress import Event, Finished, Started
from bennu.build.request import BuildRequest
from bennu.errors import Failed
from bennu.oci.reference import parse_name

PATIENCE_SECONDS = 20


def request(text: str = "FROM scratch", *names: str, **options: object) -> BuildRequest:
    return BuildRequest(
        context=Path("/"), text=text.encode(), names=tuple(parse_name(name) for name in names), **options
    )


class Builder:
    """Tells of two steps, then gives the request itself for a result. ``meanwhile`` runs between."""

    def __init__(self, meanwhile: Callable[[BuildRequest, threading.Event], None] = lambda _request, _cancel: None):
        self.meanwhile = meanwhile
        self.ended: list[BuildRequest] = []

    def __call__(self, wanted, listener, cancel):
        for number, label in ((1, "[1/2] FROM scratch"), (2, "[make 2/2] RUN x")):
            listener(Started(number, label))
            listener(Finished(number, label, seconds=1.0))
        self.meanwhile(wanted, cancel)
        self.ended.append(wanted)
        return wanted


def test_each_build_has_its_result_under_its_name_in_the_order_asked_for():
    wanted = {name: request(f"FROM {name}") for name in ("web", "api", "db")}
    built = build_all(Builder(), wanted, lambda _event: None)
    assert list(built) == ["web", "api", "db"]
    assert [each.text for each in built.values()] == [each.text for each in wanted.values()]


def test_all_run_at_once_and_know_of_each_other():
    barrier = threading.Barrier(3, timeout=PATIENCE_SECONDS)
    builder = Builder(lambda _request, _cancel: barrier.wait() and None)
    build_all(builder, {name: request() for name in "abc"}, lambda _event: None)
    (nonce,) = {each.nonce for each in builder.ended}
    assert nonce


def test_steps_are_numbered_through_and_carry_their_build_s_name():
    events: list[Event] = []
    build_all(Builder(), {"web": request(), "api": request()}, events.append)
    started = {event.number: event.label for event in events if isinstance(event, Started)}
    finished = {event.number: event.label for event in events if isinstance(event, Finished)}
    assert sorted(started) == [1, 2, 3, 4]
    assert started == finished
    assert sorted(started.values()) == [
        "[api 1/2] FROM scratch",
        "[api make 2/2] RUN x",
        "[web 1/2] FROM scratch",
        "[web make 2/2] RUN x",
    ]


def test_one_build_alone_is_told_of_as_it_is():
    events: list[Event] = []
    build_all(Builder(), {"web": request()}, events.append)
    assert [event.label for event in events][::2] == ["[1/2] FROM scratch", "[make 2/2] RUN x"]
    assert labelled("web", "FROM scratch") == "[web] FROM scratch"


def test_the_first_failure_ends_the_others_and_is_the_one_that_is_raised():
    def meanwhile(wanted: BuildRequest, cancel: threading.Event) -> None:
        if wanted.text == b"FROM bad":
            raise Failed("it is bad", status=3)
        assert cancel.wait(PATIENCE_SECONDS)
        raise Failed("cancelled", status=137)

    with pytest.raises(Failed, match="it is bad"):
        build_all(Builder(meanwhile), {"a": request(), "b": request("FROM bad"), "c": request()}, lambda _event: None)


def test_an_interrupt_ends_all_of_them_first():
    ended: list[str] = []
    barrier = threading.Barrier(2, timeout=PATIENCE_SECONDS)

    def meanwhile(wanted: BuildRequest, cancel: threading.Event) -> None:
        barrier.wait()
        if wanted.text == b"FROM a":
            os.kill(os.getpid(), signal.SIGINT)
        assert cancel.wait(PATIENCE_SECONDS)
        os.kill(os.getpid(), signal.SIGINT)
        ended.append("")
        raise Failed("cancelled", status=137)

    with pytest.raises(KeyboardInterrupt):
        build_all(Builder(meanwhile), {name: request(f"FROM {name}") for name in "ab"}, lambda _event: None)
    assert len(ended) == 2


def test_what_stands_on_another_one_s_image_is_built_after_it():
    builder = Builder()
    wanted = {
        "web": request("FROM shop-base\nCOPY --from=shop-files:latest / /"),
        "files": request("FROM scratch", "shop-files"),
        "base": request("FROM other", "shop-base"),
    }
    assert needs(wanted) == {"web": {"files", "base"}, "files": set(), "base": set()}
    build_all(builder, wanted, lambda _event: None)
    assert builder.ended[-1].text == wanted["web"].text


def test_what_waits_for_a_build_that_failed_never_begins():
    def meanwhile(wanted: BuildRequest, _cancel: threading.Event) -> None:
        raise Failed(str(wanted.names), status=1)

    wanted = {"web": request("FROM base"), "base": request("FROM scratch", "base")}
    with pytest.raises(Failed, match="base"):
        build_all(Builder(meanwhile), wanted, lambda _event: None)


def test_builds_that_need_each_other_do_not_wait_for_ever():
    wanted = {
        "a": request("FROM b", "a"),
        "b": request("FROM c", "b"),
        "c": request("FROM a\nCOPY --from=c / /", "c"),
    }
    assert needs(wanted) == {"a": {"b"}, "b": {"c"}, "c": set()}
    assert list(build_all(Builder(), wanted, lambda _event: None)) == ["a", "b", "c"]


def test_what_is_wrong_in_a_dockerfile_is_left_to_its_build(tmp_path):
    wanted = {"a": request("NO DOCKERFILE", "a"), "b": request(dockerfile=tmp_path / "none"), "c": request("FROM $X")}
    assert needs(wanted) == {"a": set(), "b": set(), "c": set()}
