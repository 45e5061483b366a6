"""What old releases leave behind, and what goes above the disk budget, in a store that is only small."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bennu.config import Settings
from bennu.deploy.errands import Tidies
from bennu.deploy.history import History
from bennu.deploy.planning.plan import make
from bennu.deploy.release import Release
from bennu.deploy.tidying import GRACE_SECONDS, Tidied, Tidying, described
from bennu.digest import Digest
from bennu.errors import Invalid
from bennu.oci.image_config import ContainerConfig
from bennu.oci.reference import parse_name
from bennu.store.gc import Root
from bennu.store.images import Image
from tests.unit.deploy.fleets import PROJECT, observation, release, service
from tests.unit.store.test_gc import CONFIG, World

LATER = 10 * GRACE_SECONDS


class Shelf(World):
    """Images that releases of one project have run, one release after the other."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.history = History(self.database)
        self.cache = 0

    def image(self, text: str, *names: str) -> Image:
        config = msgspec.structs.replace(CONFIG, config=ContainerConfig(labels={"version": text}))
        return self.images.create(
            config, self.layers.make(text.encode() * 5000, None), names=[parse_name(n) for n in names]
        )

    def run(self, image: Image, now: float) -> Release:
        web = release(service("web"))
        entry = msgspec.structs.replace(web.services["web"], image=image.manifest)
        wanted = msgspec.structs.replace(web, services={"web": entry})
        plan = make(wanted, observation(), revision=self.history.last_number(PROJECT))
        revision = self.history.begin(wanted, plan, kind="apply", origin=None, author="me", now=now)
        self.history.finish(revision, "active", now=now + 1, phases={}, reason=None)
        return wanted

    def tidying(self, limit_bytes: int | None = None) -> Tidying:
        return Tidying(
            self.settings, self.images, self.garbage, self.history, prune_cache=self._prune, limit_bytes=limit_bytes
        )

    def tidy(self, limit_bytes: int | None = None, **options: bool) -> Tidied:
        return self.tidying(limit_bytes).tidy(now=time.time() + LATER, **options)

    def _prune(self, size_bytes: int, dry_run: bool) -> int:
        gone = min(self.cache, size_bytes)
        self.cache -= 0 if dry_run else gone
        return gone

    def there(self) -> set[Digest]:
        return {image.manifest for image in self.images.walk()}


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path)
    yield made
    made.database.close()


def test_images_of_old_releases_go_without_being_asked(shelf: Shelf):
    old, kept, active, own = (shelf.image(text) for text in ("old", "kept", "active", "own"))
    for number, image in enumerate((old, kept, active)):
        shelf.run(image, 100.0 * number)
    shelf.roots = [Root("kept", (kept.manifest,)), Root("active", (active.manifest,))]
    shelf.age()
    dry = shelf.tidy(dry_run=True)
    assert dry.images == (old.manifest,)
    assert shelf.there() == {old.manifest, kept.manifest, active.manifest, own.manifest}
    assert shelf.tidy().images == (old.manifest,)
    assert shelf.there() == {kept.manifest, active.manifest, own.manifest}  # what no release ran is the user's
    assert shelf.tidy(all_untagged=True).images == (own.manifest,)


def test_without_a_budget_a_name_keeps_an_old_image(shelf: Shelf):
    old = shelf.image("old", "shop:1")
    shelf.run(old, 1.0)
    shelf.age()
    assert shelf.tidy(all_untagged=True).images == ()


def test_above_the_budget_the_oldest_goes_first_and_only_as_much_as_has_to(shelf: Shelf):
    images = [shelf.image(str(number), f"shop:{number}") for number in range(4)]
    for number in (2, 0, 1, 3):  # in this order they were run
        shelf.run(images[number], 100.0 * (5 + [2, 0, 1, 3].index(number)))
    shelf.roots = [Root("active", (images[3].manifest,))]
    shelf.age()
    used = shelf.tidying().used_bytes()
    dry = shelf.tidy(used - 1, dry_run=True)
    assert dry.names == ("shop:2",)
    done = shelf.tidy(used - 1)
    assert done.names == ("shop:2",)
    assert done.over_bytes == 0
    assert shelf.there() == {image.manifest for number, image in enumerate(images) if number != 2}
    done = shelf.tidy(0)
    assert done.names == ("shop:0", "shop:1")
    assert done.over_bytes > 0  # the rest is in use
    assert shelf.there() == {images[3].manifest}


def test_loose_images_go_before_old_ones_and_the_cache_after_them(shelf: Shelf):
    old, loose, active = shelf.image("old", "shop:1"), shelf.image("loose"), shelf.image("now", "shop:2")
    shelf.run(old, 1.0)
    shelf.run(active, 2.0)
    shelf.roots = [Root("active", (active.manifest,))]
    shelf.cache = 10**9
    shelf.age()
    used = shelf.tidying().used_bytes()
    done = shelf.tidy(used - 1)
    assert done.images == (loose.manifest,)
    assert done.cache_bytes == 0
    done = shelf.tidy(0)
    assert done.images == (old.manifest,)
    assert done.cache_bytes > 0
    assert "build cache" in described(done)


def test_what_was_named_lately_may_be_about_to_be_deployed(shelf: Shelf):
    old = shelf.image("old", "shop:1")
    shelf.run(old, 1.0)
    shelf.age()
    assert shelf.tidying(0).tidy(now=time.time() + 1).names == ()
    assert shelf.there() == {old.manifest}


def test_volumes_are_not_counted(shelf: Shelf):
    shelf.settings.volumes.mkdir(parents=True)
    (shelf.settings.volumes / "data").write_bytes(bytes(1 << 20))
    assert shelf.tidying().used_bytes() < 1 << 20


def test_the_agent_tidies_after_each_deploy_and_once_an_hour(shelf: Shelf):
    old, active = shelf.image("old"), shelf.image("now")
    lines: list[str] = []
    chore = Tidies(shelf.history, shelf.tidying, lines.append)

    def settle(now: float) -> float:
        later = chore.round(now)
        for _ in range(500):
            if chore.round(now) > 1:
                return later
            time.sleep(0.01)
        pytest.fail("it goes on and on")

    shelf.run(old, 1.0)
    shelf.age()
    settle(1000.0)
    assert lines == ["removed what old releases left: 1 image " + old.manifest[7:19]]
    shelf.run(active, 5.0)
    shelf.age()
    settle(1001.0)
    assert len(lines) == 2
    chore.stop()


def test_a_root_has_settings_of_its_own(tmp_path: Path):
    file = tmp_path / "settings.toml"
    assert Settings.from_environ({"BENNU_ROOT": str(tmp_path)}).disk_limit is None
    file.write_text('disk_limit = "20GB"\n')
    assert Settings.from_environ({"BENNU_ROOT": str(tmp_path)}).disk_limit == "20GB"
    assert Settings.from_environ({"BENNU_ROOT": str(tmp_path), "BENNU_DISK_LIMIT": "1GB"}).disk_limit == "1GB"
    for text, message in (
        ("disk = 'x'", "'disk' is no setting"),
        ("disk_limit = 5", "should be a text"),
        ("x", "no TOML"),
    ):
        file.write_text(text)
        with pytest.raises(Invalid, match=message):
            Settings.from_environ({"BENNU_ROOT": str(tmp_path)})
