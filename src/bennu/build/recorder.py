"""What one build is remembered by: listens to its steps, then writes the record that ``bennu why`` reads.

A record is written whether the build succeeded or not, and never makes it fail: it explains builds, it is no part of
them. ``records`` keeps it, ``why`` compares it with earlier ones.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from bennu.build.graph import Base, Graph, Run, parent_of, reads_of
from bennu.build.keys import Key
from bennu.build.progress import Broken, Cached, Event, Finished, Started
from bennu.build.records import BuildRecord, BuildRecords, Outcome, StepRecord
from bennu.build.request import BuildRequest
from bennu.build.solver import Known
from bennu.digest import Digest
from bennu.store.images import Image


class Recorder:
    """A listener of one build. ``file`` is the Dockerfile; ``fresh`` the vertices that may take nothing earlier."""

    def __init__(self, graph: Graph, request: BuildRequest, file: str, fresh: frozenset[int]) -> None:
        self._graph = graph
        self._request = request
        self._file = file
        self._fresh = fresh
        self._started = time.time()
        self._outcomes: dict[int, tuple[Outcome, float]] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take note of what becomes of a step."""
        with self._lock:
            match event:
                case Cached():
                    self._outcomes.setdefault(event.number, ("cached", 0.0))
                case Started():
                    self._outcomes[event.number] = ("failed", 0.0)
                case Finished():
                    self._outcomes[event.number] = ("ran", event.seconds)
                case Broken(cancelled=False):
                    self._outcomes[event.number] = ("failed", event.seconds)
                case Broken():
                    self._outcomes.pop(event.number, None)
                case _:
                    pass

    def write(
        self,
        records: BuildRecords,
        known: Mapping[int, Known],
        listing: Callable[[str], bytes | None],
        image: Image | None,
    ) -> None:
        """Write the record. ``known`` has the vertices that were looked at; ``listing`` gives what was taken, by its
        content; ``image`` is None where the build failed.
        """
        numbers = {index: each.number for index, each in known.items()}
        steps = [self._step(index, each, numbers) for index, each in known.items() if each.number in self._outcomes]
        contents = {content for step in steps if step.outcome != "cached" for _, content in step.taken}
        listings = {Digest(content): body for content in contents if (body := listing(content)) is not None}
        place = os.path.abspath(self._request.shown)
        record = BuildRecord(
            id=0,
            manifest=None if image is None else image.manifest,
            scope=f"{place}\n{self._file}\n{self._request.target or ''}",
            started=self._started,
            steps=tuple(sorted(steps, key=lambda step: step.number)),
            use_cache=self._request.use_cache,
            fresh=tuple(sorted(numbers[index] for index in self._fresh if index in numbers)),
            file=self._file,
        )
        records.add(record, listings)

    def _step(self, index: int, known: Known, numbers: Mapping[int, int]) -> StepRecord:
        vertex = self._graph.vertices[index]
        step = vertex.step
        outcome, seconds = self._outcomes[known.number]
        parent = parent_of(step)
        first = known.keys[0] if known.keys else None
        fields = first.preimage if first else ()
        if isinstance(step, Base):
            fields = (("step", "base"), ("chain", step.chain), ("manifest", step.manifest))
        return StepRecord(
            number=known.number,
            label=vertex.label,
            outcome=outcome,
            key=first.digest if first else known.identity,
            identity=known.identity,
            fields=fields,
            taken=tuple(_taken(known.keys)),
            parent=0 if parent is None else numbers.get(parent, 0),
            reads=tuple(numbers.get(read, 0) for read in reads_of(step)),
            arguments=step.declared if isinstance(step, Run) else (),
            line=0 if vertex.span is None else vertex.span.line,
            seconds=seconds,
        )


def _taken(keys: Sequence[Key]) -> Iterator[tuple[int, str]]:
    found: dict[int, str] = {}
    for key in keys:
        for name, value in key.preimage:
            kind, _, number = name.rpartition(" ")
            if kind == "content":
                found[int(number)] = value
    yield from found.items()
