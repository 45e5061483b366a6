"""Cache mounts: which directory a build gets, and who waits for whom."""

import io
import tarfile
import threading

import pytest

from bennu.build.cache_mounts import CacheMounts, Wanted
from bennu.build.mounts import Look
from bennu.config import Settings
from bennu.dockerfile.mounts import Sharing
from bennu.errors import Conflict, Failed, NotFound

PLAIN = Wanted("/root/.cache")


@pytest.fixture
def caches(tmp_path):
    return CacheMounts(Settings.from_environ({"BENNU_ROOT": str(tmp_path)}))


@pytest.fixture
def held(caches):
    def hold(wanted=PLAIN, sharing=Sharing.SHARED, **more):
        more.setdefault("cancel", threading.Event())
        return caches.held(wanted, sharing, **more)

    return hold


def test_what_one_build_leaves_the_next_finds(held):
    with held() as first:
        (first / "a").write_text("1")
    with held() as second:
        assert (second / "a").read_text() == "1"


@pytest.mark.parametrize("other", [Wanted("x"), Wanted(PLAIN.id, origin="abc"), Wanted(PLAIN.id, look=Look(0o700))])
def test_what_begins_differently_is_another_cache(held, other):
    with held() as first, held(other) as second:
        assert first != second


def test_one_begins_with_what_it_is_filled_with_and_only_then(held):
    with held(fill=lambda path: (path / "a").write_text("filled")) as first:
        (first / "a").write_text("changed")
    with held(fill=lambda path: (path / "a").write_text("again")) as second:
        assert (second / "a").read_text() == "changed"


def test_a_filling_that_fails_leaves_nothing(held, caches):
    with pytest.raises(ZeroDivisionError), held(fill=lambda _path: 1 / 0):
        pass
    assert caches.walk() == ()


def test_mode_of_a_new_one(held):
    with held(Wanted("x", look=Look(0o711))) as path:
        assert path.stat().st_mode & 0o7777 == 0o711


class TestSharing:
    def test_shared_ones_use_one_directory(self, held):
        with held() as first, held() as second:
            assert first == second

    @pytest.mark.parametrize("first", [Sharing.PRIVATE, Sharing.LOCKED])
    @pytest.mark.parametrize("second", [Sharing.PRIVATE, Sharing.SHARED])
    def test_what_is_in_use_alone_makes_others_begin_anew(self, held, first, second):
        with held(sharing=first) as one, held(sharing=second) as other:
            assert one != other

    def test_a_private_one_does_not_join_shared_ones(self, held):
        with held() as one, held(sharing=Sharing.PRIVATE) as other:
            assert one != other

    def test_what_is_free_again_is_taken_up(self, held):
        with held(sharing=Sharing.PRIVATE) as first, held(sharing=Sharing.PRIVATE) as second:
            pass
        with held(sharing=Sharing.PRIVATE) as third, held(sharing=Sharing.PRIVATE) as fourth:
            assert (third, fourth) == (first, second)

    @pytest.mark.parametrize("first", [Sharing.PRIVATE, Sharing.LOCKED, Sharing.SHARED])
    def test_a_locked_one_waits(self, held, first):
        begun, told, order = threading.Event(), threading.Event(), []

        def wait_for():
            with held(sharing=Sharing.LOCKED, on_wait=lambda _holder: told.set()) as path:
                order.append("second")
                assert path == mine
            begun.set()

        with held(sharing=first) as mine:
            thread = threading.Thread(target=wait_for)
            thread.start()
            assert told.wait(10)
            order.append("first")
        assert begun.wait(10)
        thread.join()
        assert order == ["first", "second"]

    def test_who_holds_it_is_told(self, held):
        cancel, told = threading.Event(), []

        def on_wait(holder):
            told.append(holder)
            cancel.set()

        with held(sharing=Sharing.LOCKED, owner="a build of /x"), pytest.raises(Failed):  # noqa: SIM117
            with held(sharing=Sharing.LOCKED, on_wait=on_wait, cancel=cancel):
                pass
        assert told == ["a build of /x"]


class TestVerbs:
    def test_listed_with_its_size(self, held, caches):
        with held() as path:
            (path / "a").write_bytes(b"x" * 10000)
            (record,) = caches.walk()
            assert record.is_busy
        (record,) = caches.walk()
        assert (record.id, record.path, record.is_busy) == (PLAIN.id, path, False)
        assert record.size_bytes >= 10000
        assert record.created <= record.used + 1

    def test_removed_unless_it_is_used(self, held, caches):
        with held():
            (record,) = caches.walk()
            with pytest.raises(Conflict, match="is locked by"):
                caches.remove(record.name)
        caches.remove(record.name)
        assert caches.walk() == ()
        assert not record.path.exists()
        with pytest.raises(NotFound):
            caches.remove(record.name)

    def test_exported(self, held, caches):
        with held() as path:
            (path / "d").mkdir()
            (path / "d/a").write_text("hello")
        sink = io.BytesIO()
        caches.export(caches.walk()[0].name, sink)
        sink.seek(0)
        with tarfile.open(fileobj=sink) as archive:
            assert [member.name for member in archive] == ["d", "d/a"]
            assert archive.extractfile("d/a").read() == b"hello"
