"""The turn: who deploys a project now. One at a time; who it is, since when, and what it is doing can be read.

The kernel frees the lock with its process, so it is never stale; what a dead one has signed is said when the lock is
taken over. Whoever waits says so in a second lock, which what the agent does by itself looks at: a person goes first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from bennu.errors import Conflict
from bennu.host import locks

AGENT: Final = "bennu agent run"
"""What the agent's author line holds: it takes up dead rollouts, stops kept sets, replaces old ones, and gives way."""
POLL_SECONDS: Final = 0.1
Say = Callable[[str], None]


class Turn:
    """The turn of one project, as one process sees it."""

    def __init__(self, locks_directory: Path, project: str, author: str, clock: Callable[[], float]) -> None:
        self._lock = locks_directory / f"deploy-{project}.lock"
        self._queue = locks_directory / f"deploy-{project}.queue"
        self._project = project
        self._author = author
        self._clock = clock
        self._since = ""
        self._yields = False
        self._held = False

    @contextmanager
    def taken(self, say: Say, *, wait_seconds: float | None, yields: bool) -> Iterator[None]:
        """Have the turn for the block. ``Conflict`` says who has it, since when and what for, once time is up.

        ``wait_seconds`` None waits for ever. For the agent everybody else waits, since it gives way or is soon done.
        """
        with ExitStack() as stack:
            died = self._take(stack, say, wait_seconds)
            if died is not None:
                say(f"the last deploy died at its work and its lock is taken over: {died}")
            self._yields, self._held = yields, True
            stack.callback(self._let_go)
            yield

    def enter(self, phase: str) -> None:
        """Say what is being done now."""
        if self._held:
            locks.sign(self._lock, self._line(phase))

    @property
    def is_over(self) -> bool:
        """Somebody else waits, and this one gives way."""
        return self._held and self._yields and locks.is_wanted(self._queue)

    def _take(self, stack: ExitStack, say: Say, wait_seconds: float | None) -> str | None:
        deadline = None if wait_seconds is None else time.monotonic() + wait_seconds
        with ExitStack() as waiting:
            return self._wait(stack, waiting, say, deadline)

    def _wait(self, stack: ExitStack, waiting: ExitStack, say: Say, deadline: float | None) -> str | None:
        is_agent, told = AGENT in self._author, False
        while True:
            try:
                self._since = datetime.fromtimestamp(self._clock()).astimezone().strftime("%Y-%m-%d %H:%M:%S")
                return stack.enter_context(
                    locks.held(
                        self._lock, wait_seconds=0, owner=self._line("planning"), subject=f"project {self._project!r}"
                    )
                )
            except Conflict as error:
                holder = locks.holder(self._lock)
                waits_anyway = holder is None or (AGENT in holder and not is_agent)
                if not waits_anyway and deadline is not None and time.monotonic() >= deadline:
                    raise Conflict(
                        f"project {self._project!r} is locked by {holder}", "wait for it, or try again with --wait TIME"
                    ) from error
                if holder is not None and not told:
                    say(f"waiting for {holder}")
                    waiting.enter_context(locks.wanted(self._queue))
                    told = True
            time.sleep(POLL_SECONDS)

    def _let_go(self) -> None:
        self._held = False

    def _line(self, phase: str) -> str:
        return f"{self._author}, since {self._since}: {phase}"


def holder(locks_directory: Path, project: str) -> str | None:
    """Who deploys a project now, since when and what for, in one line; None if nobody does."""
    return locks.holder(locks_directory / f"deploy-{project}.lock")
