"""A root with a small base image, contexts for builds, and a way to look at what was built."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bennu.build.progress import Cached, Event, Output, Started
from bennu.build.request import BuildRequest, Built
from bennu.build.trees import in_trees
from bennu.config import Settings
from bennu.oci.reference import parse_reference
from bennu.store.images import Image
from bennu.wiring import Runtime
from tests.integration.run_world import World

BASE = "box:latest"


@dataclass(frozen=True)
class Node:
    """One entry of a tree as far as an image's content goes."""

    kind: str
    mode: int
    owner: tuple[int, int]
    content: str


@dataclass
class Told:
    """A listener that remembers."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def labels(self, kind: type[Event]) -> list[str]:
        return [event.label.partition("] ")[2] for event in self.events if isinstance(event, kind)]

    @property
    def ran(self) -> list[str]:
        return self.labels(Started)

    @property
    def cached(self) -> list[str]:
        return self.labels(Cached)

    @property
    def output(self) -> str:
        return b"".join(event.data for event in self.events if isinstance(event, Output)).decode()


class Builds:
    """Builds in one world. ``write`` fills the context; a Dockerfile is given as text."""

    def __init__(self, runtime: Runtime, context: Path) -> None:
        self.runtime = runtime
        self.context = context
        context.mkdir(parents=True, exist_ok=True)

    @classmethod
    def of(cls, world: World, context: Path, **image: object) -> Builds:
        world.image(BASE, **image)
        return cls(world.runtime, context)

    @property
    def settings(self) -> Settings:
        return self.runtime.settings

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.context / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def build(self, dockerfile: str, told: Told | None = None, **options: object) -> Built:
        (self.context / "Dockerfile").write_text(dockerfile)
        options = {"network": "none", **options}
        if name := options.pop("name", None):
            options["names"] = (parse_reference(name),)
        return self.runtime.builder.build(BuildRequest(**{"context": self.context, **options}), told or Told())

    def tree(self, dockerfile: str, **options: object) -> dict[str, Node]:
        """The tree of what a Dockerfile builds, by absolute path."""
        return self.look(self.build(dockerfile, **options).image)

    def look(self, image: Image) -> dict[str, Node]:
        snapshot = self.runtime.images.snapshot(image)
        if snapshot is None:
            return {}
        return in_trees(self.settings, (self.runtime.snapshots.mounts(snapshot),), lambda roots: nodes(roots[0]))


def nodes(root: Path) -> dict[str, Node]:
    """Every entry below a directory, by its path from there."""
    found: dict[str, Node] = {}
    for place, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(place, name)
            status = os.lstat(path)
            kind = {stat.S_IFDIR: "d", stat.S_IFREG: "f", stat.S_IFLNK: "l"}.get(stat.S_IFMT(status.st_mode), "?")
            content = ""
            if kind == "f":
                data = Path(path).read_bytes()
                content = data.decode(errors="replace") if len(data) < 1000 else hashlib.sha256(data).hexdigest()
            elif kind == "l":
                content = os.readlink(path)
            found[path.removeprefix(str(root))] = Node(
                kind, stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid), content
            )
    return found
