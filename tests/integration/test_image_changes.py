"""What is different inside two images, beside what the kernel shows of their trees; then the verb."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bennu.build.trees import mounted
from bennu.config import Settings
from bennu.host.files import remove_tree
from bennu.oci.image_config import ContainerConfig, ImageConfig
from bennu.oci.reference import parse_name
from bennu.store.base import CommittedSnapshot
from bennu.store.image_changes import ConfigChange, FileChanges, ImageChanges, compare
from bennu.store.images import Image
from bennu.store.packages import PackageChange
from bennu.wiring import Store
from tests.integration.test_images import World

pytestmark = pytest.mark.root


class Bench:
    """Makes images layer by layer, through real mounts."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store

    def layer(self, parent: CommittedSnapshot | None, change: Callable[[Path], None]) -> CommittedSnapshot:
        active = self.store.snapshots.prepare(parent)
        with mounted(self.settings, self.store.snapshots.mounts(active)) as inside:
            inside(change)
        return self.store.snapshots.commit(active)

    def image(self, top: CommittedSnapshot, name: str = "box:1", **config: object) -> Image:
        whole = ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(**config))
        return self.store.images.create(whole, top, names=(parse_name(name),), durable=False)

    def seen(self, top: CommittedSnapshot) -> dict[str, tuple[object, ...]]:
        """What the kernel shows: every file, and every directory with its mode and whether it is empty."""

        def look(root: Path) -> dict[str, tuple[object, ...]]:
            found: dict[str, tuple[object, ...]] = {}
            for place, folders, names in os.walk(root):
                for name in (*names, *(one for one in folders if os.path.islink(f"{place}/{one}"))):
                    path = Path(place, name)
                    status = path.lstat()
                    content = os.readlink(path) if path.is_symlink() else path.read_bytes()
                    found[str(path)[len(str(root)) :]] = (stat.S_IFMT(status.st_mode), status.st_mode, content)
                if place != str(root):
                    status = os.lstat(place)
                    found[place[len(str(root)) :] + "/"] = (status.st_mode, not (names or folders))
            return found

        with mounted(self.settings, self.store.snapshots.mounts(top, readonly=True)) as inside:
            return inside(look)

    def expected(self, one: CommittedSnapshot, two: CommittedSnapshot) -> FileChanges:
        before, after = self.seen(one), self.seen(two)

        def only(mine: dict[str, tuple[object, ...]], others: dict[str, tuple[object, ...]]) -> tuple[str, ...]:
            return tuple(sorted(p for p in mine if p not in others and (not p.endswith("/") or mine[p][1])))

        changed = [
            path
            for path in before.keys() & after.keys()
            if before[path] != after[path] and (not path.endswith("/") or before[path][0] != after[path][0])
        ]
        return FileChanges(only(after, before), tuple(sorted(changed)), only(before, after))


@pytest.fixture
def bench(root_settings: Settings) -> Iterator[Bench]:
    with Store(root_settings) as store:
        yield Bench(root_settings, store)
    remove_tree(root_settings.run)


def shuffled(seed: random.Random) -> Callable[[Path], None]:
    """A layer that writes, removes, replaces and links things at random, few names in few directories."""

    def change(root: Path) -> None:
        for _ in range(seed.randint(1, 6)):
            path = root.joinpath(*(seed.choice("abc") for _ in range(seed.randint(1, 3))))
            kind = seed.choice(["write", "write", "remove", "remake", "link", "folder", "mode"])
            if any(part.is_symlink() or part.is_file() for part in path.parents if part != root):
                continue
            if kind == "mode":
                if path.is_dir() and not path.is_symlink():
                    path.chmod(seed.choice([0o700, 0o755]))
                continue
            if kind != "write" or path.is_dir() or path.is_symlink():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "write":
                path.write_text(seed.choice(["one", "two", "three"]))
            elif kind == "link":
                path.symlink_to(seed.choice("abc"))
            elif kind in {"remake", "folder"}:
                path.mkdir(exist_ok=True)
                if kind == "remake":  # an opaque directory, where there was one
                    (path / seed.choice("abc")).write_text("anew")

    return change


def test_as_the_kernel_shows_them(bench: Bench):
    seed = random.Random(7)
    for _ in range(25):
        base = bench.layer(bench.layer(None, shuffled(seed)), shuffled(seed))
        tops = []
        for _ in range(2):
            top = base
            for _ in range(seed.randint(0, 2)):
                top = bench.layer(top, shuffled(seed))
            tops.append(top)
        got = compare(bench.store.images, *(bench.image(top, f"box:{at}") for at, top in enumerate(tops)))
        assert got.files == bench.expected(*tops)
        assert got.files.count or tops[0] == tops[1] or bench.seen(tops[0]).keys() == bench.seen(tops[1]).keys()


STATUS = "Package: {}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {}\n\n"


def debian(root: Path, **versions: str) -> None:
    info = root / "var/lib/dpkg/info"
    info.mkdir(parents=True, exist_ok=True)
    (root / "usr/bin").mkdir(parents=True, exist_ok=True)
    (root / "var/lib/dpkg/status").write_text("".join(STATUS.format(*each) for each in versions.items()))
    for name, version in versions.items():
        (info / f"{name}.list").write_text(f"/.\n/bin\n/bin/{name}\n")
        (root / "usr/bin" / name).write_text(version)


def test_files_of_packages_are_counted_apart(bench: Bench):
    base = bench.layer(None, lambda root: debian(root, curl="1", less="1"))

    def upgrade(root: Path) -> None:
        debian(root, curl="2", less="1", nano="7")
        (root / "usr/bin/mine").write_text("mine")

    one, two = bench.image(base, env=("A=1", "B=1"), cmd=("sh",)), bench.image(bench.layer(base, upgrade), env=("B=2",))
    assert compare(bench.store.images, one, two) == ImageChanges(
        packages=(PackageChange("curl", "1", "2"), PackageChange("nano", None, "7")),
        files=FileChanges(added=("/usr/bin/mine",)),
        of_packages=4,  # two programs, the status, the list of the new one
        config=(
            ConfigChange("Cmd", "removed", '["sh"]'),
            ConfigChange("Env.A", "removed"),
            ConfigChange("Env.B", "changed"),
        ),
        shared_layers=1,
        layers=(1, 2),
    )
    assert compare(bench.store.images, one, one).is_empty


def test_an_image_whose_links_lead_outside(bench: Bench, tmp_path: Path):
    (tmp_path / "dpkg").mkdir()
    (tmp_path / "dpkg/status").write_text(STATUS.format("secret", "1"))

    def link(root: Path) -> None:
        (root / "var/lib").mkdir(parents=True)
        (root / "var/lib/dpkg").symlink_to(tmp_path / "dpkg")

    empty = bench.image(bench.layer(None, lambda root: (root / "x").write_text("")))
    changes = compare(bench.store.images, empty, bench.image(bench.layer(None, link)))
    assert changes.packages == ()
    assert changes.files == FileChanges(added=("/var/lib/dpkg",), removed=("/x",))


def test_the_verb(tmp_path: Path):
    here = World(tmp_path)
    here.image("app:1", files=({"a": b"1", "odd\x1bname": b"1"}, {"b": b"1"}))
    here.image("app:2", files=({"a": b"1"}, {"b": b"2", "c": b"3"}), user="www")
    assert here.bennu("image", "diff", "app:1", "app:2").splitlines() == [
        "files: 1 added, 1 changed, 1 removed",
        "  ~ /b",
        "  + /c",
        "  - '/odd\\x1bname'",
        'image setting User (unset) -> "www"',
    ]
    assert here.bennu("image", "diff", "app:1", "app:1") == "nothing is different inside\n"
    assert '"added":["/c"]' in here.bennu("image", "diff", "--format", "json", "app:1", "app:2")
    assert "'app:9' is not in the store" in here.bennu("image", "diff", "app:1", "app:9", status=1)
