"""What a harvest says in a Dockerfile, and what the journal says of two looks."""

from __future__ import annotations

from bennu.deploy.hold.harvest import Copied, Harvest, dockerfile, is_left_out
from bennu.deploy.hold.looks import compare, shown
from bennu.deploy.hold.records import Line
from bennu.dockerfile.parser import parse

EVERYTHING = Harvest(
    title="what drifted in web.2 of project shop:\nit leaks \x1b[31m",
    base="web@sha256:" + "a" * 64,
    user="33:33",
    packages=("libcap2-bin=1:2.66-4", "odd name=1"),
    removed=("etc/removed", 'opt/a "quoted" name'),
    archived=(("added", "data"), ("replaced", "opt/anew"), ("added", "caf\udce9")),
    copied=(Copied(path="etc/app.conf", mode=0o640, uid=0, gid=33),),
    left_out=("var/log/app.log", "var/cache/apt/pkgcache.bin"),
    unsaid=("the socket /run.sock",),
)
TEXT = """\
# what drifted in web.2 of project shop:
# it leaks ?[31m
FROM web@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
USER 0
# the versions that were installed; without '=' and what follows it they are those of the day
RUN apt-get update \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --allow-downgrades \\
      libcap2-bin=1:2.66-4 \\
      'odd name=1' \\
 && rm -rf /var/lib/apt/lists/*
RUN ["rm", "-rf", "--", "/etc/removed", "/opt/a \\"quoted\\" name"]
#   added    /data
#   replaced /opt/anew
#   added    /caf?
ADD drift.tar /
COPY --chown=0:33 --chmod=0640 files/etc/app.conf /etc/app.conf
USER 33:33
# left out by rule (caches and logs): 2 files below
#   var/cache/apt/
#   var/log/
# not in here: the socket /run.sock
"""


def test_everything_at_once():
    assert dockerfile(EVERYTHING) == TEXT
    keywords = [one.keyword for stage in parse(TEXT.encode(), "Dockerfile").stages for one in stage.instructions]
    assert keywords == ["USER", "RUN", "RUN", "ADD", "COPY", "USER"]


def test_nothing():
    text = dockerfile(Harvest(title="x", base="web:v1", user="33", left_out=("tmp/a",)))
    assert text.splitlines()[:3] == ["# x", "FROM web:v1", "# nothing that belongs into an image has changed"]
    assert Harvest(title="x", base="b", left_out=("tmp/a",)).is_empty


def test_many_removals_and_files():
    text = dockerfile(
        Harvest(
            title="x",
            base="b",
            removed=tuple(f"gone/{number}" for number in range(1200)),
            archived=tuple(("added", f"new/{number}") for number in range(300)),
        )
    )
    assert text.count('RUN ["rm"') == 3
    assert "and 100 more: tar -tvf drift.tar" in text


def test_what_is_left_out():
    assert is_left_out("var/log/apt/history.log")
    assert is_left_out("tmp/x")
    assert not is_left_out("var/log")
    assert not is_left_out("var/lib/dpkg/status")


def test_looks_compared():
    assert compare(None, {}) == [Line(kind="event", what="held", detail="nothing changed yet")]
    assert compare(None, {"file /a": "added 1"})[0].detail == "1 file was changed before"
    before = {"file /a": "added 1", "file /b": "changed 1", "file /c": "changed 1", "records x": "1", "process sh": ""}
    after = {
        "file /a": "added 2",
        "file /d": "removed",
        "file /usr/bin/vim": "package added 1",
        "file /c": "changed 1",
        "package vim": "9.0 installed",
        "records x": "2",
        "process sh": "",
        "process vi /etc/passwd": "",
    }
    found = {(line.kind, line.what): line.detail for line in compare(before, after)}
    assert found == {
        ("file", "/a"): "added",
        ("file", "/b"): "as in the image again",
        ("file", "/d"): "removed",
        ("package", "vim"): "9.0 installed",
        ("process", "vi /etc/passwd"): "runs",
    }
    assert compare(after, after) == []
    gone = {(line.kind, line.what): line.detail for line in compare(after, before)}
    assert gone[("package", "vim")] == "as in the image again"
    assert ("file", "/usr/bin/vim") not in gone


def test_a_package_file_that_is_edited_is_told():
    (line,) = compare({"file /usr/x": "package changed 1"}, {"file /usr/x": "changed 2"})
    assert (line.what, line.detail) == ("/usr/x", "changed")


def test_long_commands_are_cut():
    assert shown(("sh", "-c", "a b")) == "sh -c 'a b'"
    assert len(shown(("x" * 1000,))) == 160
