"""ADD and COPY beyond plain files: archives, URLs, Git repositories, --parents, --link. What is expected was observed
with BuildKit, except for times of Git's files, which BuildKit takes from the clock.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from backports import zstd

from bennu.config import Settings
from bennu.digest import digest_of
from bennu.errors import Invalid, Unavailable
from tests.integration.build_world import Builds, Node, Told
from tests.integration.run_world import World, world
from tests.web_site import Site, serving

pytestmark = pytest.mark.root

LONG_AGO = 1_500_000_000


@pytest.fixture
def box(root_settings: Settings) -> Iterator[World]:
    with world(root_settings) as made:
        yield made


@pytest.fixture
def builds(box: World, tmp_path: Path) -> Builds:
    made = Builds.of(box, tmp_path / "context")
    made.write({"a.txt": "a", "x/a.txt": "xa", "x/y/b.c": "b", "x/y/c.txt": "c"})
    return made


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as found:
        yield found


def text(content: str, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> Node:
    return Node("f", mode, owner, content)


def directory(mode: int = 0o755, owner: tuple[int, int] = (0, 0)) -> Node:
    return Node("d", mode, owner, "")


def archive(*members: tuple[str, dict[str, object], bytes]) -> bytes:
    """A tar archive of names, fields of their headers, and contents."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, fields, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            header.mtime = LONG_AGO
            for field, value in fields.items():
                setattr(header, field, value)
            tar.addfile(header, io.BytesIO(content))
    return stream.getvalue()


SMALL = archive(
    ("d/", {"type": tarfile.DIRTYPE, "mode": 0o711, "uid": 5, "gid": 6}, b""),
    ("d/f", {"mode": 0o4755, "uid": 7, "gid": 8}, b"hello"),
    ("l", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, b""),
    ("deep/er/e", {}, b"e"),
    (".wh-like", {}, b"w"),
)


# archives


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_an_archive_is_known_by_its_content_and_keeps_what_is_in_it(builds, pack):
    (builds.context / "any.name").write_bytes(pack(SMALL))
    tree = builds.tree("FROM box\nADD any.name /new\n")
    assert tree["/new"] == directory()
    assert tree["/new/d"] == directory(0o711, (5, 6))
    assert tree["/new/d/f"] == text("hello", 0o4755, (7, 8))
    assert tree["/new/l"].content == "/etc/passwd"
    assert tree["/new/deep/er/e"] == text("e")
    assert "/new/any.name" not in tree


def test_owners_of_an_archive_are_set_and_modes_are_not(builds):
    (builds.context / "a.tar").write_bytes(SMALL)
    tree = builds.tree("FROM box\nADD --chown=web --chmod=600 a.tar /srv/x/\n")
    assert tree["/srv/x"] == directory(owner=(33, 33))
    assert tree["/srv/x/d/f"] == text("hello", 0o4755, (33, 33))
    assert tree["/srv/x/deep"] == directory()  # which the archive does not name


def test_archives_files_and_directories_in_their_order(builds):
    (builds.context / "one.tar").write_bytes(archive(("same", {}, b"one"), ("1", {}, b"")))
    (builds.context / "two.tgz").write_bytes(gzip.compress(archive(("same", {}, b"two"), ("2", {}, b""))))
    builds.write({"dir/kept.tar": "no archive"})
    tree = builds.tree("FROM box\nADD *.t* a.txt dir /x/\nADD --unpack=false one.tar /y\nCOPY one.tar /z/\n")
    assert {"/x/1", "/x/2", "/x/a.txt", "/x/kept.tar", "/y", "/z/one.tar"} <= set(tree)
    assert tree["/x/same"] == text("two")


@pytest.mark.parametrize(
    "content", [b"", bytes(1024), gzip.compress(b"no tar"), SMALL[:300], b"\0" * 257 + b"ustar"], ids=len
)
def test_what_is_no_archive_is_a_file(builds, content):
    (builds.context / "a.tar").write_bytes(content)
    assert builds.tree("FROM box\nADD a.tar /x/\n")["/x/a.tar"].kind == "f"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (SMALL[:1600], "cut off"),
        (gzip.compress(archive(("f", {}, os.urandom(9000))))[:5000], "damaged"),
        (lzma.compress(archive(("f", {}, os.urandom(9000))))[:5000], "damaged"),
        (archive(("../up", {}, b"")), "leads out of the root"),
        (archive(("l", {"type": tarfile.SYMTYPE, "linkname": "../../etc"}, b""), ("l/in", {}, b"")), "leads out"),
        (archive(("h", {"type": tarfile.LNKTYPE, "linkname": "nowhere"}, b"")), "hard link"),
        (archive(("c", {"type": b"Z"}, b"")), "type 'Z'"),
        (archive(("f", {}, b""), ("f/in", {}, b"")), "not a directory"),
    ],
)
def test_an_archive_that_cannot_be_unpacked_is_refused_by_name(builds, content, words):
    (builds.context / "a.tar").write_bytes(content)
    with pytest.raises(Invalid, match=words) as caught:
        builds.build("FROM box\nADD a.tar /x/\n")
    assert "'a.tar'" in caught.value.message
    assert caught.value.line == 2


def test_an_archive_over_what_is_there(builds):
    (builds.context / "a.tar").write_bytes(
        archive(
            ("./", {"type": tarfile.DIRTYPE, "mode": 0o700}, b""),
            ("file", {"type": tarfile.DIRTYPE}, b""),
            ("dir", {}, b"now a file"),
            ("kept", {"type": tarfile.DIRTYPE, "mode": 0o700}, b""),
            ("linked/in", {}, b"through"),
        )
    )
    before = "mkdir -p /x/dir/in /x/kept/here /x/real && touch /x/file && ln -s /real /x/linked"
    tree = builds.tree(f"FROM box\nRUN {before}\nADD a.tar /x\n")
    assert tree["/x"] == directory()
    assert tree["/x/file"] == directory(0o644)
    assert tree["/x/dir"] == text("now a file")
    assert tree["/x/kept"] == directory(0o700)
    assert "/x/kept/here" in tree
    assert tree["/x/real/in"] == text("through")


def test_what_comes_after_the_end_of_an_archive_does_not_count(builds):
    (builds.context / "a.tgz").write_bytes(gzip.compress(SMALL) + b"garbage")
    (builds.context / "b.tar").write_bytes(SMALL + b"garbage" * 100)
    tree = builds.tree("FROM box\nADD a.tgz /x\nADD b.tar /y\n")
    assert {"/x/d/f", "/y/d/f"} <= set(tree)


# URLs


def test_a_url_is_a_file_of_roots_alone(builds, site):
    site.pages["/d/f.txt"] = (200, {"Last-Modified": formatdate(LONG_AGO, usegmt=True)}, b"hello")
    site.pages["/t.tar"] = (200, {}, SMALL)
    tree = builds.tree(
        f"FROM box\nADD {site.url}/d/f.txt /x/\n"
        f"ADD --chown=web --chmod=u+x {site.url}/d/f.txt a.txt {site.url}/t.tar /y/\n"
        f"ADD --unpack {site.url}/t.tar /z\n"
    )
    assert tree["/x/f.txt"] == text("hello", 0o600)
    assert tree["/y/f.txt"] == text("hello", 0o700, (33, 33))
    assert tree["/y/a.txt"] == text("a", 0o744, (33, 33))
    assert tree["/y/t.tar"].kind == "f"
    assert tree["/z/d/f"].content == "hello"


def test_a_url_is_asked_whether_it_changed(builds, site):
    dockerfile = f"FROM box\nADD {site.url}/f /x/\nRUN cat /x/f\n"
    site.pages["/f"] = (200, {"ETag": '"1"'}, b"one")
    builds.build(dockerfile)
    told = Told()
    builds.build(dockerfile, told)
    assert told.ran == []
    assert site.asked[-1]["if-none-match"] == '"1"'
    site.pages["/f"] = (200, {"ETag": '"2"'}, b"one")  # the same content by another name
    builds.build(dockerfile, told)
    assert told.ran == []
    site.pages["/f"] = (200, {"ETag": '"3"'}, b"two")
    assert builds.tree(dockerfile)["/x/f"].content == "two"


def test_a_build_with_a_url_can_be_verified(builds, site):
    site.pages["/f"] = (200, {"ETag": '"1"'}, b"one")
    dockerfile = f"FROM box\nADD {site.url}/f /x/\nCOPY --link x /y/\n"
    builds.build(dockerfile)
    verified = builds.build(dockerfile, verify=True).verified
    assert [each.verdict for each in verified] == ["same", "same"]
    told = Told()
    builds.build(dockerfile, told)
    assert told.ran == []


def test_a_checksum_is_held_to_and_asks_nobody(builds, site):
    site.pages["/f"] = (200, {}, b"one")
    good, bad = digest_of(b"one"), digest_of(b"two")
    dockerfile = f"FROM box\nADD --checksum={good} {site.url}/f /x\n"
    builds.build(dockerfile)
    requests = len(site.asked)
    builds.build(dockerfile)
    assert len(site.asked) == requests
    with pytest.raises(Invalid, match="not the checksum"):
        builds.build(f"FROM box\nADD --checksum={bad} {site.url}/f /x\n")


def test_a_url_that_is_not_there_is_told_at_its_place(builds, site):
    with pytest.raises(Unavailable, match=r"Dockerfile:2: URL '.*/nope': the server answers 404"):
        builds.build(f"FROM box\nADD {site.url}/nope /x\n")


# repositories


@pytest.fixture
def repositories(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a Git server on the loopback, and the directory that it serves."""
    base = tmp_path / "repositories"
    base.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    daemon = ["git", "daemon", "--listen=127.0.0.1", f"--port={port}", f"--base-path={base}", "--export-all"]
    with subprocess.Popen(daemon, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield f"git://127.0.0.1:{port}", base
        finally:
            os.killpg(process.pid, 15)


def git(directory: Path, *arguments: str) -> str:
    when = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "n"), ("EMAIL", "e@x"), ("DATE", f"{LONG_AGO} +0000"))
    }
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", *arguments],
        cwd=directory,
        env={**os.environ, **when, "HOME": "/nonexistent"},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def repository(base: Path, name: str, files: dict[str, str]) -> Path:
    place = base / name
    place.mkdir()
    git(place, "init", "-q")
    commit(place, files)
    return place


def commit(place: Path, files: dict[str, str]) -> str:
    for path, content in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(content)
    git(place, "add", ".")
    git(place, "commit", "-qm", "m")
    return git(place, "rev-parse", "HEAD")


def test_a_repository_by_its_branches_tags_and_directories(builds, repositories):
    url, base = repositories
    place = repository(base, "r.git", {"f": "one", "d/in": "in"})
    git(place, "tag", "v1")
    first = git(place, "rev-parse", "HEAD")
    commit(place, {"f": "two"})
    git(place, "tag", "-a", "-m", "t", "v2")
    tree = builds.tree(
        f"FROM box\nADD {url}/r.git /new\nADD {url}/r.git#v1 /v1\nADD {url}/r.git?tag=v2&subdir=d a.txt /d/\n"
        f"ADD {url}/r.git#{first} /commit\nADD --keep-git-dir --checksum={first} {url}/r.git#v1 /kept\n"
    )
    assert [tree[f"{each}/f"].content for each in ("/new", "/v1", "/commit", "/kept")] == ["two", "one", "one", "one"]
    assert tree["/d/in"] == text("in")
    assert tree["/d/a.txt"] == text("a")
    assert "/new/.git" not in tree
    assert f"url = {url}/r.git" in tree["/kept/.git/config"].content


def test_a_repository_is_looked_at_and_fetched_only_when_its_commit_is_another(builds, repositories):
    url, base = repositories
    place = repository(base, "r", {"f": "one"})
    dockerfile = f"FROM box\nADD {url}/r#main /x\n"
    one = builds.build(dockerfile)
    told = Told()
    assert builds.build(dockerfile, told).image.manifest == one.image.manifest
    assert told.ran == []
    commit(place, {"f": "two"})
    assert builds.tree(dockerfile)["/x/f"].content == "two"


def test_submodules(builds, repositories):
    url, base = repositories
    repository(base, "sub", {"s": "s"})
    place = repository(base, "r", {"f": "f"})
    git(place, "submodule", "--quiet", "add", f"{url}/sub", "mod")
    commit(place, {})
    tree = builds.tree(f"FROM box\nADD {url}/r /x\nADD {url}/r?submodules=false /y\n")
    assert tree["/x/mod/s"] == text("s")
    assert "/x/mod/.git" not in tree
    assert "/y/mod/s" not in tree


def test_what_a_repository_does_not_have(builds, repositories):
    url, base = repositories
    repository(base, "r", {"f": "f"})
    for source, words in (
        ("r#nope", "no ref 'nope'"),
        ("r#:nope", "no directory 'nope'"),
        ("r?checksum=abc", "not the checksum abc"),
    ):
        with pytest.raises(Invalid, match=words) as caught:
            builds.build(f"FROM box\nADD {url}/{source} /x\n")
        assert (caught.value.line, caught.value.column) == (2, 5)
    with pytest.raises(Unavailable, match="Dockerfile:2: Git repository"):
        builds.build(f"FROM box\nADD {url}/nothing /x\n")


# --parents


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ("x/a.txt a.txt", {"x", "x/a.txt", "a.txt"}),
        ("x/./y/b.c", {"y", "y/b.c"}),
        ("**/*.txt", {"a.txt", "x", "x/a.txt", "x/y", "x/y/c.txt"}),
        ("x/./**/*.c", {"y", "y/b.c"}),
        ("--exclude=x/y x", {"x", "x/a.txt"}),
        ("x/y*/./b.c", {"b.c"}),
        ("*.none", set()),
    ],
)
def test_parents(builds, sources, found):
    tree = builds.tree(f"FROM scratch\nCOPY --parents {sources} /o/\n")
    assert {path.removeprefix("/o/") for path in tree} - {"/o"} == found


def test_a_missing_file_is_missing_with_its_parents_too(builds):
    with pytest.raises(Invalid, match=r"'/x/a.tx' is not in the build context"):
        builds.build("FROM scratch\nCOPY --parents x/a.tx /o/\n")


# --link


def test_a_linked_layer_goes_onto_another_base(builds):
    dockerfile = "FROM box\nRUN echo {0} > /{0}\nCOPY --link x /srv/x/\n"
    one = builds.build(dockerfile.format(1)).image
    told = Told()
    two = builds.build(dockerfile.format(2), told).image
    assert "COPY --link x /srv/x/" in told.cached
    assert one.config.diff_ids[-1] == two.config.diff_ids[-1]
    assert {"/2", "/srv/x/y/b.c"} <= set(builds.look(two))


@pytest.mark.parametrize(
    "change",
    ["chmod 700 /srv", "rmdir /srv && ln -s /tmp /srv", "mkdir /srv/x", "mkdir -p /tmp/q && ln -s /tmp /srv/x"],
)
def test_a_layer_that_would_be_another_one_is_copied(builds, change):
    dockerfile = "FROM box\nRUN mkdir -p /srv /tmp && {}\nCOPY {}x /srv/x/\n"
    builds.build(dockerfile.format("true", "--link "))
    told = Told()
    linked = builds.look(builds.build(dockerfile.format(change, "--link "), told).image)
    assert "COPY --link x /srv/x/" in told.ran
    assert linked == builds.tree(dockerfile.format(change, ""), use_cache=False)
