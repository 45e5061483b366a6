"""Verifying builds, what ``bennu why`` says of real ones, and trees that are found for another SOURCE_DATE_EPOCH."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bennu.build.trees import in_trees
from bennu.config import Settings
from tests.integration.build_world import Builds, Told
from tests.integration.run_world import World, eventually, processes_of, world
from tests.quick_runs import QuickRuntime

pytestmark = pytest.mark.root

EPOCH = 1_500_000_000
TEXT = """FROM box AS make
COPY src /src/
RUN cat /src/p > /prog
FROM box
RUN echo one > /srv/x; rm /etc/group
COPY site /srv/www/
COPY --from=make /prog /bin/
RUN ls /srv > /list; rm -r /tmp; mkdir /tmp
"""


@pytest.fixture
def box(root_settings: Settings) -> Iterator[World]:
    with world(root_settings, QuickRuntime) as made:
        yield made


@pytest.fixture
def builds(box: World, tmp_path: Path) -> Builds:
    made = Builds.of(box, tmp_path / "context")
    made.write({"src/p": "p", "src/q": "q", "site/a": "a", "site/deep/b": "b"})
    return made


def snapshots(builds: Builds) -> int:
    return len(os.listdir(builds.settings.snapshots))


class TestVerify:
    def verdicts(self, builds: Builds, text: str = TEXT) -> dict[str, str]:
        built = builds.build(text, verify=True)
        return {each.label.partition("] ")[2]: each.verdict for each in built.verified if each.verdict != "same"}

    def test_what_the_cache_has_is_what_the_steps_leave(self, builds):
        built = builds.build(TEXT)
        before = snapshots(builds)
        verified = builds.build(TEXT, verify=True).verified
        assert [each.verdict for each in verified] == ["same"] * (built.steps - 1)
        assert snapshots(builds) == before

    def test_a_command_that_leaves_something_else_each_time_is_told_as_such(self, builds):
        line = "RUN mknod /u c 1 9; head -c 9 /u > /id; rm /u"
        assert self.verdicts(builds, f"{TEXT}{line}\n") == {line: "unreproducible"}

    def test_a_wrong_result_is_found_and_what_differs_is_named(self, builds):
        builds.build(TEXT)
        row = builds.runtime.database.one("SELECT snapshot FROM steps WHERE label LIKE '%COPY site%'")
        layer = builds.settings.snapshots / row["snapshot"] / "fs/srv/www"
        (layer / "a").write_text("wrong")
        (layer / "more").write_text("")
        (layer / "deep/b").chmod(0o600)
        (wrong,) = [each for each in builds.build(TEXT, verify=True).verified if each.verdict != "same"]
        assert wrong.verdict == "wrong"
        found = {(each.path, each.what) for each in wrong.differences}
        assert found == {("/srv/www/a", "content"), ("/srv/www/more", "missing"), ("/srv/www/deep/b", "mode")}


class TestWhy:
    def reasons(self, box: World) -> dict[str, list[dict[str, object]]]:
        document = json.loads(box.bennu("why", "--format", "json").stdout)
        return {each["label"].partition("] ")[2]: each["reasons"] for each in document["steps"] if "reasons" in each}

    def test_the_file_that_changed_and_what_follows_from_it(self, box, builds):
        builds.build(TEXT)
        builds.write({"site/deep/b": "new"})
        builds.build(TEXT)
        found = self.reasons(box)
        assert list(found) == ["COPY site /srv/www/", "COPY --from=make /prog /bin/", TEXT.splitlines()[-1]]
        assert found["COPY site /srv/www/"] == [{"kind": "file", "subject": "site/deep/b", "how": "changed"}]
        assert found["COPY --from=make /prog /bin/"][0]["kind"] == "below"

    def test_a_stage_with_another_outcome_names_its_file(self, box, builds):
        builds.build(TEXT)
        builds.write({"src/p": "new"})
        builds.build(TEXT)
        found = self.reasons(box)["COPY --from=make /prog /bin/"]
        assert [(each["kind"], each["subject"]) for each in found][1] == ("file", "prog")

    def test_the_words_name_the_variable_and_nothing_where_nothing_ran(self, box, builds):
        builds.build(TEXT)
        builds.build(TEXT.replace("RUN ls", "ENV A=1\nRUN ls"), name="named:1")
        said = box.bennu("why", "named:1").stdout
        assert 'ENV A: (none) -> "1"' in said
        assert "COPY" not in said
        builds.build(TEXT)
        assert "Nothing ran" in box.bennu("why").stdout

    def test_an_image_that_nobody_built_is_an_error(self, box, builds):
        builds.build(TEXT)
        done = box.bennu("why", "box")
        assert done.returncode != 0
        assert "no build of image" in done.stderr


class TestEpochs:
    def times(self, builds: Builds, **options: object) -> tuple[str, dict[str, int]]:
        image = builds.build(TEXT, **options).image
        tree = builds.runtime.images.snapshot(image)

        def look(roots: tuple[Path, ...]) -> dict[str, int]:
            return {
                str(path.relative_to(roots[0])): int(path.lstat().st_mtime)
                for path in (*roots[0].glob("srv/**/*"), roots[0] / "list", roots[0] / "bin/prog", roots[0] / "srv")
            }

        return image.id, in_trees(builds.settings, (builds.runtime.snapshots.mounts(tree),), look)

    @pytest.mark.parametrize("before", [None, EPOCH - 1000, EPOCH + 1000])
    def test_another_epoch_runs_nothing_and_gives_what_a_build_for_it_gives(self, builds, before):
        for path in builds.context.rglob("*"):
            os.utime(path, (EPOCH - 5000, EPOCH - 5000))
        builds.build(TEXT, epoch=before)
        told = Told()
        builds.build(TEXT, told, epoch=EPOCH)
        assert told.ran == []
        image, found = self.times(builds, epoch=EPOCH)
        clean, wanted = self.times(builds, epoch=EPOCH, use_cache=False)
        assert found == wanted
        assert set(found.values()) == {EPOCH}
        assert image == clean

    def test_a_dated_tree_is_made_once(self, builds):
        builds.build(TEXT)
        first = builds.build(TEXT, epoch=EPOCH).image.id
        before = snapshots(builds)
        assert builds.build(TEXT, epoch=EPOCH).image.id == first
        assert snapshots(builds) == before


class TestKilled:
    def test_no_record_of_a_killed_build_is_half_a_result(self, box, builds):
        """Two builds at once, killed at any moment: what is recorded is whole, and what a clean build gives."""
        text = TEXT + "".join(f"RUN echo {number} > /srv/{number}\nCOPY site /srv/s{number}/\n" for number in range(4))
        (builds.context / "Dockerfile").write_text(text)
        chance = random.Random(5)
        for _ in range(8):
            words = ("build", "-q", "--network=none", str(builds.context))
            both = [box.spawn(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
            for each in both:
                with suppress(subprocess.TimeoutExpired):
                    each.wait(chance.uniform(0.1, 0.5))
                each.kill()
                each.wait()
            query = "SELECT steps.label, snapshots.id, state FROM steps LEFT JOIN snapshots ON snapshots.id = snapshot"
            rows = builds.runtime.database.query(query)
            for row in rows:
                assert row["state"] == "committed", row["label"]
                assert (builds.settings.snapshots / row["id"] / "fs").is_dir(), row["label"]
        done = box.bennu("build", "-q", "--network=none", "--verify", str(builds.context))
        assert done.returncode == 0, done.stderr
        eventually(lambda: not processes_of(box.settings))
