"""Hooks called for real: commands with their events, requests with their signatures, what fails and what is owed."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from bennu.compose.extension import Given, Hook, Hooks
from bennu.config import Settings
from bennu.deploy.apply import Deployer, Outcome
from bennu.deploy.errands import Deliveries
from bennu.deploy.history import History
from bennu.deploy.policy import Origin, Policy
from bennu.deploy.release import Release
from bennu.deploy.telling import calls as calling
from bennu.deploy.telling import hooks as telling
from bennu.deploy.telling.news import News, notify
from bennu.deploy.telling.outbox import Outbox
from bennu.errors import BennuError, Failed, Unavailable
from bennu.host.files import remove_tree
from bennu.store.database import Database
from tests.engine_memory import MemoryEngine
from tests.unit.deploy.fleets import PROJECT, image, shop
from tests.unit.deploy.test_apply import Listener

NOW = 1_790_000_000.0


@dataclass
class Desk:
    """One project on an engine that only remembers, with hooks in a directory of its own."""

    directory: Path
    settings: Settings
    history: History
    outbox: Outbox
    engine: MemoryEngine
    environ: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/bin:/bin"})
    listener: Listener = field(default_factory=Listener)

    def policy(self, **hooks: tuple[Hook, ...]) -> Policy:
        return Policy(hooks=Hooks(**hooks), directory=str(self.directory), origin=Origin(directory=str(self.directory)))

    def news(self, *, asks: bool = True) -> News:
        return News(self.outbox, self.environ, project=PROJECT, author="me", asks=asks)

    def apply(
        self, release: Release, policy: Policy | None = None, *, kind: str = "apply", asks: bool = True
    ) -> Outcome:
        deployer = Deployer(
            self.engine, self.history, self.settings.locks, project=PROJECT, author="me", news=self.news(asks=asks)
        )
        with deployer.exclusive(self.listener):
            plan = deployer.plan(release, policy=policy)
            return deployer.carry_out(plan, release, self.listener, kind=kind)  # type: ignore[arg-type]

    def recorder(self, name: str, *, status: int = 0, **fields: object) -> Hook:
        """A command that appends its event to a file, then what BENNU_EVENT is, and ends with a status."""
        script = f'cat >> {name}; echo "$BENNU_EVENT $BENNU_REVISION" >> {name}.names; echo trouble; exit {status}'
        return Hook(command=("sh", "-c", script), **fields)  # type: ignore[arg-type]

    def told(self, name: str) -> list[dict[str, object]]:
        path = self.directory / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def desk(root_settings: Settings, tmp_path: Path) -> Iterator[Desk]:
    database = Database(root_settings.database)
    directory = tmp_path / "fleet"
    directory.mkdir()
    engine = MemoryEngine(lambda spec: "sick" if spec.image == image("web bad") else "good")
    yield Desk(directory, root_settings, History(database), Outbox(database), engine)
    database.close()
    remove_tree(root_settings.run)


@contextmanager
def server(*statuses: int) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """Answers with these statuses, the last for ever; the requests that came."""
    came: list[tuple[dict[str, str], bytes]] = []
    left = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(b"as I said")

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}/hook?key=secret", came
    finally:
        running.shutdown()
        running.server_close()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "FIRST_PAUSE_SECONDS", 0.001)


def test_a_deploy_tells_each_step_with_what_it_is_about(desk: Desk):
    every = {event: (desk.recorder("all", blocking=event.startswith("p") and event != "post_switch"),) for event in (
        "pre_build", "post_validate", "pre_switch", "post_switch", "failed", "rolled_back",
    )}  # fmt: skip
    policy = desk.policy(**every)
    desk.apply(shop(), policy)
    desk.apply(shop("2"))
    desk.apply(shop(), kind="rollback")
    assert [(each["event"], each["revision"], each["services"]) for each in desk.told("all")] == [
        ("post_validate", 1, ["db"]), ("pre_switch", 1, ["db"]), ("post_validate", 1, ["web"]),
        ("pre_switch", 1, ["web"]), ("post_switch", 1, ["db", "web"]),
        ("post_validate", 2, ["web"]), ("pre_switch", 2, ["web"]), ("post_switch", 2, ["web"]),
        ("pre_switch", 3, ["web"]), ("post_switch", 3, ["web"]), ("rolled_back", 3, ["web"]),
    ]  # fmt: skip
    last = desk.told("all")[-1]
    assert last.keys() == set(telling.Event.__struct_fields__)
    assert (last["kind"], last["author"], last["project"], last["version"]) == ("rollback", "me", PROJECT, 1)
    assert last["directory"] == str(desk.directory)
    assert len({each["id"] for each in desk.told("all")}) == len(desk.told("all"))
    assert (desk.directory / "all.names").read_text().splitlines()[-1] == "rolled_back 3"
    assert desk.outbox.calls(PROJECT) == ()


@pytest.mark.parametrize("event", ["post_validate", "pre_switch"])
def test_a_hook_that_blocks_stops_the_deploy_with_its_output(desk: Desk, event: str):
    desk.apply(shop())
    before = dict(desk.engine.observe(PROJECT).active)
    refuses = desk.recorder("asked", status=3, blocking=True, retries=1)
    with pytest.raises(Failed) as caught:
        desk.apply(shop("2"), desk.policy(**{event: (refuses,), "failed": (desk.recorder("failed"),)}))
    assert f"hook {event}: command sh -c" in caught.value.message
    assert "ended with exit status 3; it was reverted" in caught.value.message
    assert (caught.value.status, caught.value.tail) == (3, ("trouble",))
    assert len(desk.told("asked")) == 2
    assert desk.engine.observe(PROJECT).active == before
    (told,) = desk.told("failed")
    assert (told["revision"], told["phase"], told["tail"]) == (
        2, "vetting" if event == "post_validate" else "clearing", ["trouble"],
    )  # fmt: skip
    assert desk.history.policy(PROJECT) is None  # of what never ran nothing holds


def test_nothing_is_asked_of_a_person_who_knows_better(desk: Desk):
    outcome = desk.apply(shop(), desk.policy(pre_switch=(desk.recorder("a", status=1, blocking=True),)), asks=False)
    assert outcome.revision.state == "active"
    assert "ended with exit status 1; the agent will try again" in outcome.notes[0]
    kept = desk.history.policy(PROJECT)
    assert kept is not None
    assert kept.hooks.pre_switch[0].blocking


def test_what_does_not_block_never_changes_the_verdict(desk: Desk):
    broken = (Hook(command=("no-such-program",), retries=1), desk.recorder("b", status=7, retries=2))
    outcome = desk.apply(shop(), desk.policy(post_switch=broken))
    assert outcome.revision.state == "active"
    assert sorted(outcome.notes) == [
        "hook post_switch: " + line + "; the agent will try again" for line in (
            f"command {' '.join(broken[1].command)} ended with exit status 7",
            "program 'no-such-program' is not installed",
        )
    ]  # fmt: skip
    assert len(desk.told("b")) == 3
    assert [call.problem is not None for call in desk.outbox.calls(PROJECT)] == [True, True]


def test_a_full_disk_takes_no_word_from_a_hook_and_no_verdict_from_a_deploy(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> int:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(desk.outbox, "put", full)
    hooks = (desk.recorder("well"), desk.recorder("ill", status=1, retries=0))
    outcome = desk.apply(shop(), desk.policy(pre_switch=hooks[:1], post_switch=hooks))
    assert outcome.revision.state == "active"
    assert len(desk.told("well")) == 3
    assert outcome.notes[0].endswith("and nothing could be written down for the agent")


def test_a_slow_hook_is_ended_with_all_that_it_began(desk: Desk):
    hook = Hook(command=("sh", "-c", "sleep 1000 & echo $! > pid; wait"), timeout_seconds=0.2, retries=0)
    outcome = desk.apply(shop(), desk.policy(post_switch=(hook,)))
    assert "has not ended after 0.2 s" in outcome.notes[0]
    pid = int((desk.directory / "pid").read_text())
    gone = threading.Event()
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text():
            break
        gone.wait(0.05)
    else:
        pytest.fail("it lives on")


def test_a_build_is_announced_and_its_failure_told(desk: Desk):
    policy = desk.policy(pre_build=(desk.recorder("p", blocking=True),), failed=(desk.recorder("f"),))
    with desk.news().building(policy, ("web",), desk.listener.say):
        pass
    with pytest.raises(Failed, match="no such file"), desk.news().building(policy, ("web",), desk.listener.say):
        raise Failed("COPY: no such file")
    assert len(desk.told("p")) == 2
    (told,) = desk.told("f")
    assert (told["phase"], told["reason"], told["revision"]) == ("building", "COPY: no such file", None)
    refusing = desk.policy(pre_build=(desk.recorder("r", status=1, blocking=True, retries=0),))
    with pytest.raises(Failed, match="hook pre_build"), desk.news().building(refusing, ("web",), desk.listener.say):
        pytest.fail("it was built")


def test_a_request_is_signed_and_its_secrets_come_from_elsewhere(desk: Desk):
    (desk.directory / "key").write_text("sesame\n")
    desk.environ["TOKEN"] = "Bearer abc"
    with server(200) as (url, came):
        headers = {"Authorization": Given(variable="TOKEN"), "X-Own": Given(text="x")}
        hook = Hook(url=url, headers=headers, sign=Given(file=str(desk.directory / "key")))
        assert desk.apply(shop(), desk.policy(post_switch=(hook,))).notes == ()
    ((sent, body),) = came
    assert sent["Authorization"] == "Bearer abc"
    assert (sent["X-Own"], sent["X-Bennu-Event"], sent["Content-Type"]) == ("x", "post_switch", "application/json")
    assert sent["X-Bennu-Signature"] == f"sha256={hmac.new(b'sesame', body, hashlib.sha256).hexdigest()}"
    event = msgspec.json.decode(body, type=telling.Event)
    assert sent["X-Bennu-Delivery"] == event.id
    assert event.text == "shop: revision 1 (db, web) has the traffic"


def test_a_request_is_tried_again_and_never_sent_elsewhere(desk: Desk):
    with server(503, 302, 204) as (url, came):
        assert desk.apply(shop(), desk.policy(post_switch=(Hook(url=url),))).notes == ()
        assert len(came) == 3
    outcome = desk.apply(shop("2"), desk.policy(post_switch=(Hook(url=url, retries=0),)))
    assert "POST http://127.0.0.1:" in outcome.notes[0]
    assert "secret" not in outcome.notes[0]
    assert "Connection refused" in outcome.notes[0]


def test_a_variable_that_is_not_set_is_named(desk: Desk):
    hook = Hook(url="http://127.0.0.1:1/", headers={"A": Given(variable="NOBODY")}, retries=0)
    assert "variable 'NOBODY' is not set" in desk.apply(shop(), desk.policy(post_switch=(hook,))).notes[0]
    desk.environ["NOBODY"] = "a\nb: c"
    assert "no header can have" in desk.apply(shop("2")).notes[0]


def test_what_was_not_delivered_the_agent_delivers(desk: Desk):
    with server(500, 200) as (url, came):
        desk.apply(shop(), desk.policy(post_switch=(Hook(url=url, retries=0),)))
        (owed,) = desk.outbox.calls(PROJECT)
        assert owed.due is not None
        calling.deliver_due(desk.outbox, desk.environ, desk.listener.say, threading.Event(), owed.due - 1)
        assert len(came) == 1
        calling.deliver_due(desk.outbox, desk.environ, desk.listener.say, threading.Event(), owed.due)
        assert len(came) == 2
        assert came[0] == came[1] or came[0][1] == came[1][1]
    assert desk.outbox.calls(PROJECT) == ()


def test_what_can_never_be_delivered_is_given_up_and_told(desk: Desk):
    policy = desk.policy(drift_found=(desk.recorder("d", status=1),))
    desk.apply(shop(), policy)
    notify(desk.history, desk.outbox, PROJECT, "drift_found", reason="3 files", key="k", detail={"count": 3}, now=1.0)
    (owed,) = desk.outbox.calls(PROJECT)
    assert (owed.due, owed.event.detail, owed.event.revision) == (1.0, {"count": 3}, 1)
    desk.outbox.failed(owed.number, "no", due=1.0, failures=20)
    calling.deliver_due(desk.outbox, desk.environ, desk.listener.say, threading.Event(), 2.0)
    (left,) = desk.outbox.calls(PROJECT)
    assert left.due is None
    assert "given up after a day" in desk.listener.lines[-1]


def test_an_event_of_the_agent_is_owed_at_once_and_delivered_in_its_own_thread(desk: Desk):
    desk.apply(shop(), desk.policy(hold_expiring=(desk.recorder("h"),)))
    told = notify(
        desk.history, desk.outbox, PROJECT, "hold_expiring", reason="web.2 in one hour", key="web.2 1",
        services=("web",), detail={"replica": "web.2"}, now=NOW,
    )  # fmt: skip
    assert told == 1
    assert notify(desk.history, desk.outbox, PROJECT, "drift_found", reason="x", key="y", now=NOW) == 0
    assert notify(desk.history, desk.outbox, "nobody", "drift_found", reason="x", key="y", now=NOW) == 0
    chore = Deliveries(desk.outbox, desk.environ, desk.listener.say)
    assert chore.round(NOW - 5) == 5
    chore.round(NOW)
    for _ in range(200):
        if not desk.outbox.calls(PROJECT):
            break
        threading.Event().wait(0.05)
    chore.stop()
    (event,) = desk.told("h")
    assert (event["detail"], event["text"]) == (
        {"replica": "web.2"}, "shop: revision 1 (web) has a hold that ends soon: web.2 in one hour",
    )  # fmt: skip
    assert chore.round(NOW) > 0


def test_a_call_belongs_to_whoever_claims_it(desk: Desk):
    desk.apply(shop(), desk.policy(drift_found=(desk.recorder("d"),)))
    notify(desk.history, desk.outbox, PROJECT, "drift_found", reason="x", key="y", now=NOW)
    (owed,) = desk.outbox.due(NOW)
    assert desk.outbox.claim(owed.number, now=NOW, due=NOW + 60)
    assert not desk.outbox.claim(owed.number, now=NOW, due=NOW + 60)
    assert desk.outbox.due(NOW) == ()
    assert desk.outbox.next_due() == NOW + 60
    assert desk.outbox.forget(PROJECT) == 1


def test_a_dead_deploy_that_is_reverted_tells_that_it_failed(desk: Desk):
    policy = desk.policy(failed=(desk.recorder("f"),))
    desk.apply(shop(), policy)
    deployer = Deployer(desk.engine, desk.history, desk.settings.locks, project=PROJECT, author="dead")
    plan = deployer.plan(shop("2"))
    desk.history.begin(shop("2"), plan, kind="apply", origin=None, author="dead", now=NOW)
    with Deployer(
        desk.engine, desk.history, desk.settings.locks, project=PROJECT, author="me", news=desk.news()
    ).exclusive(desk.listener):
        pass
    (event,) = desk.told("f")
    assert event["revision"] == 2
    assert "has died" in str(event["reason"])


def test_the_pauses_grow_and_end():
    hook = Hook(command=("x",), timeout_seconds=10, retries=2)
    assert [telling.pause_seconds(number) for number in (1, 2, 3)] == [0.001, 0.002, 0.004]
    assert telling.patience_seconds(hook) == pytest.approx(30.003)
    assert telling.later_seconds(1) < telling.later_seconds(2) <= telling.later_seconds(30) == 3600


def test_an_address_is_shown_without_what_is_secret_in_it():
    assert telling.described(Hook(url="https://u:p@chat.example:1/services/T0/B0")) == "POST chat.example:1"
    assert telling.described(Hook(url="https://chat.example/x")) == "POST https://chat.example"


def test_a_command_that_cannot_run_says_why(desk: Desk):
    event = telling.Event(id="1", event="failed", time="", host="h", project=PROJECT, text="")
    for command, directory, message in (
        (str(desk.directory), desk.directory, "Permission denied"),
        ("true", desk.directory / "gone", "cannot be worked in"),
    ):
        with pytest.raises(BennuError, match=message):
            calling.attempt(Hook(command=(command,)), event, str(directory), desk.environ, threading.Event())
