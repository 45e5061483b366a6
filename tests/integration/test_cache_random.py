"""No wrong hit over thousands of random edits: each build upon the cache equals one from clean.

Dockerfiles have every step that needs no process, real contexts and real trees; contexts change in content (often of
the same size, within one tick of the clock, or with the old time put back), mode, type, link target, name, and by files
that come and go. A failure names its seed and the shortest pair of states that fails by itself.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bennu.build.builder import Builder
from bennu.build.request import BuildRequest
from bennu.config import Settings
from bennu.errors import BennuError
from bennu.host.files import remove_tree
from bennu.oci.image_config import ContainerConfig, ImageConfig
from bennu.oci.reference import parse_reference
from bennu.wiring import Runtime
from tests.integration.build_world import Builds, Told

pytestmark = pytest.mark.root

EDITS = 2000
SEEDS = 4
AT_ONCE = 5
PATHS = ("a", "b", "d/a", "d/b", "d/e/a", "d/e/b", "f/a", "f/b")
LINES = (
    "COPY {p} /{w}/", "COPY {p} /{w}", "COPY {d} /{w}/", "COPY . /all/", "COPY d* /{w}/", "COPY {d} {d2} /{w}/",
    "COPY --chown={n} {d} /{w}/", "COPY --chmod=75{n} {d} /{w}/", "COPY --exclude={x} {d} /{w}/", "ADD {d} /{w}/",
    "COPY --link {d} /{w}/", "COPY <<E /{w}/{n}\n{n} $V\nE", "COPY --from={s} /{w} /{v}/", "COPY --from={s} / /{v}/",
    "COPY --from={s} /{w} /{w}", "WORKDIR {w}", "WORKDIR /{w}/{v}", "ENV V={n}", "ARG V={n}", "ARG A", "ENV W=$A",
    "WORKDIR $V", "USER {n}", "LABEL l={n}", "EXPOSE 8{n}", 'SHELL ["s{n}"]', "CMD c{n}", "COPY {p} $V/",
)  # fmt: skip

State = tuple[str, str, dict[str, tuple[str, str, int]]]
"""A Dockerfile, the build argument A, and the context: kind, content and mode by path."""


class Random:
    """A Dockerfile and a context on the disk that change at random."""

    def __init__(self, seed: int, context: Path) -> None:
        self.pick = random.Random(seed)
        self.context = context
        self.stages = [
            ["FROM base:1 AS s0", "COPY d /x/", "WORKDIR /y", "COPY --chown=1 f /y/", "COPY <<E /z/1\n1\nE"],
            ["FROM s0 AS s1", "COPY a /x/", "COPY --chmod=751 d /z/", "ENV V=1", "WORKDIR z"],
            ["FROM base:2 AS s2", "COPY --from=s1 /x /x/", "COPY d f /y/", "COPY --from=s0 /y /z/", "COPY . /all/"],
        ]
        self.good = [list(lines) for lines in self.stages]
        self.argument = "0"
        for path in PATHS:
            self.write(path)

    def line(self, stage: int) -> str:
        pick = self.pick
        words = {"w": pick.choice("xyz"), "v": pick.choice("xyz"), "n": pick.randrange(3), "p": pick.choice(PATHS)}
        words |= {"d": pick.choice("df"), "d2": pick.choice("df"), "x": pick.choice(("a", "e/*", "**/b"))}
        lines = [line for line in LINES if stage or "{s}" not in line]
        return pick.choice(lines).format(s=f"s{pick.randrange(max(stage, 1))}", **words)

    def write(self, path: str) -> None:
        place = self.context / path
        if any(parent.is_symlink() or parent.is_file() for parent in place.relative_to(self.context).parents):
            return
        for parent in reversed(place.relative_to(self.context).parents):
            whole = self.context / parent
            if whole.is_symlink() or whole.is_file():
                whole.unlink()
            whole.mkdir(exist_ok=True)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        elif place.is_symlink():
            place.unlink()
        place.write_text(str(self.pick.randrange(10)))

    def mend(self) -> None:
        """What cannot be built teaches little: go back to the lines that could, with every file there."""
        self.stages = [list(lines) for lines in self.good]
        (self.context / ".dockerignore").unlink(missing_ok=True)
        for path in PATHS:
            if not (self.context / path).is_file():
                self.write(path)

    def edit(self) -> None:
        """One edit, of the Dockerfile or of the context."""
        if self.pick.random() < 0.4:
            self.edit_text()
        else:
            self.edit_context()

    def edit_text(self) -> None:
        stage = self.pick.randrange(len(self.stages))
        lines = self.stages[stage]
        match self.pick.randrange(10):
            case 6 | 7 | 8 | 9 if len(lines) > 1:
                at = self.pick.randrange(1, len(lines))
                lines[at] = self.tweaked(lines[at])
            case 0 | 1 if len(lines) < 9:
                lines.insert(self.pick.randrange(1, len(lines) + 1), self.line(stage))
            case 2 if len(lines) > 4:
                del lines[self.pick.randrange(1, len(lines))]
            case 3 if len(lines) > 1:
                lines[self.pick.randrange(1, len(lines))] = self.line(stage)
            case 4:
                bases = ("base:1", "base:2", "scratch", *(f"s{number}" for number in range(stage)))
                lines[0] = f"FROM {self.pick.choice(bases)} AS s{stage}"
            case _:
                self.argument = str(self.pick.randrange(2))

    def tweaked(self, line: str) -> str:
        """A line with one number or one name another one: most of what it says stays."""
        places = list(re.finditer(r"(?<=[ =/5s])[0-2](?=\b)|(?<=[ /])[xyz](?=/)|(?<= )[df](?= )", line))
        if not places:
            return line
        place = self.pick.choice(places)
        other = self.pick.choice("012" if place[0].isdigit() else "xyz" if place[0] in "xyz" else "df")
        return line[: place.start()] + other + line[place.end() :]

    def edit_context(self) -> None:
        path = self.context / self.pick.choice(PATHS)
        if not path.is_file() or path.is_symlink():
            self.write(str(path.relative_to(self.context)))
            return
        match self.pick.randrange(9):
            case 0 | 1 | 2:
                path.write_text(str(self.pick.randrange(10)))
            case 3:
                before = path.stat()
                path.write_text(str(self.pick.randrange(10)))
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            case 4:
                path.chmod(self.pick.choice((0o600, 0o644, 0o755)))
            case 5:
                path.unlink()
            case 6:
                path.unlink()
                path.symlink_to(self.pick.choice(("a", "b", "nowhere", "../a")))
            case 7:
                path.unlink()
                path.mkdir(mode=0o755)
                (path / "in").write_text(str(self.pick.randrange(10)))
            case _:
                (self.context / ".dockerignore").write_text(
                    self.pick.choice(("", "b\n", "d/e\n!d/e/a\n", "**/b\n", "f\n"))
                )

    @property
    def text(self) -> str:
        return "\n".join(line for lines in self.stages for line in lines) + "\n"

    def state(self) -> State:
        found = {}
        for path in sorted(self.context.rglob("*")):
            kind = "link" if path.is_symlink() else "directory" if path.is_dir() else "file"
            content = os.readlink(path) if kind == "link" else path.read_text() if kind == "file" else ""
            found[str(path.relative_to(self.context))] = (kind, content, path.lstat().st_mode & 0o7777)
        return self.text, self.argument, found


def arranged(context: Path, files: dict[str, tuple[str, str, int]]) -> None:
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    for name, (kind, content, mode) in files.items():
        path = context / name
        if kind == "link":
            path.symlink_to(content)
            continue
        path.mkdir() if kind == "directory" else path.write_text(content)
        path.chmod(mode)


@contextmanager
def store(place: Path) -> Iterator[Builds]:
    settings = Settings.from_environ({"BENNU_ROOT": str(place)})
    with Runtime(settings) as runtime:
        for number in (1, 2):
            active = runtime.snapshots.prepare(None)
            (runtime.snapshots.directory(active) / "base").write_text(str(number))
            config = ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(env=(f"BASE={number}",)))
            name = parse_reference(f"base:{number}")
            runtime.images.create(config, runtime.snapshots.commit(active), names=(name,), durable=False)
        yield Builds(runtime, place.with_name(f"{place.name}-context"))
    remove_tree(settings.run)
    remove_tree(place)


def outcome(builds: Builds, builder: Builder, context: Path, state: State, *, use_cache: bool) -> tuple[object, int]:
    """The tree and configuration of a build, or why there is none; and how many steps ran."""
    text, argument, _ = state
    args = {"A": argument}
    request = BuildRequest(context=context, text=text.encode(), build_args=args, use_cache=use_cache, network="none")
    try:
        built = builder.build(request, Told())
    except BennuError as error:
        return type(error).__name__, 0
    assert built.image is not None
    return (builds.look(built.image), built.image.config.config), built.steps - built.ran


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_wrong_hit(tmp_path, seed):
    states: list[State] = []
    reused = done = compared = 0
    with store(tmp_path / "kept") as kept, store(tmp_path / "clean") as clean:
        (tmp_path / "context").mkdir()
        world = Random(seed, tmp_path / "context")
        while done < EDITS // SEEDS:
            count = world.pick.randint(1, AT_ONCE)
            for _ in range(count):
                world.edit()
            done += count
            state = world.state()
            states.append(state)
            found, hits = outcome(kept, kept.runtime.builder, world.context, state, use_cache=True)
            wanted, _ = outcome(clean, clean.runtime.builder, world.context, state, use_cache=False)
            reused += hits
            compared += not isinstance(found, str)
            if isinstance(found, str):
                world.mend()
            else:
                world.good = [list(lines) for lines in world.stages]
            if found != wanted:
                pytest.fail(f"seed {seed}, after {done} edits:\n{shortest(tmp_path / 'again', states)}\n{state[0]}")
    assert reused > len(states), "the comparison means something only where results are reused"
    assert compared > len(states) / 3, "and where something was built"


def shortest(place: Path, states: list[State]) -> str:
    """The latest state whose cache alone makes the last one wrong."""
    for number in reversed(range(len(states) - 1)):
        with store(place) as builds:
            context = place.with_name("again-context")
            for state in (states[number], states[-1]):
                arranged(context, state[2])
                found, _ = outcome(builds, builds.runtime.builder, context, state, use_cache=True)
            wanted, _ = outcome(builds, builds.runtime.builder, context, states[-1], use_cache=False)
        if found != wanted:
            return f"first build:\n{states[number]}\nsecond build:\n{states[-1]}"
    return f"no two states alone; the last of {len(states)}:\n{states[-1]}"
