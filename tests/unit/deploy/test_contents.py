"""What configs and secrets hold becomes part of a release, and what is wrong with them is said at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from bennu.config import Settings
from bennu.deploy.contents import gather, replica_files
from bennu.deploy.release import decode, encode, resolve
from bennu.digest import digest_of
from bennu.errors import Invalid, Unsupported
from bennu.store.contents import Contents
from tests.unit.compose.support import project

TEXT = """\
services:
  web:
    image: x
    configs: [plain, {source: site, target: /etc/site.conf, uid: "33", mode: 0440}]
    secrets: [password]
configs:
  plain: {content: "hello"}
  site: {file: %s}
secrets:
  password: {environment: PASSWORD}
"""


@pytest.fixture
def contents(tmp_path: Path) -> Contents:
    return Contents(Settings(root=tmp_path / "root", run=tmp_path / "run"))


def release_of(tmp_path: Path, contents: Contents, password: str = "hush"):
    found = project(TEXT % (tmp_path / "site.conf"))
    versions = gather(found, contents, {"PASSWORD": password})
    files = {name: replica_files(service, versions) for name, service in found.services.items()}
    return resolve(found, {"web": digest_of(b"image")}, files)


def test_a_release_has_the_contents_of_its_moment(tmp_path, contents):
    (tmp_path / "site.conf").write_text("one")
    first = release_of(tmp_path, contents)
    files = {file.target: file for file in first.spec("web").files}
    assert set(files) == {"/plain", "/etc/site.conf", "/run/secrets/password"}
    assert (files["/etc/site.conf"].uid, files["/etc/site.conf"].mode) == (33, 0o440)
    assert contents.read(files["/run/secrets/password"].version) == b"hush"
    assert b"hush" not in encode(first)
    assert decode(encode(first)) == first
    assert release_of(tmp_path, contents) == first
    other = release_of(tmp_path, contents, "other")
    (tmp_path / "site.conf").write_text("two")
    third = release_of(tmp_path, contents)
    assert len({release.spec("web").id for release in (first, other, third)}) == 3
    assert contents.read(files["/etc/site.conf"].version) == b"one"


@pytest.mark.parametrize(
    ("source", "kind", "said"),
    [
        ("{file: /no/where}", Invalid, "'/no/where' cannot be read"),
        ("{environment: NOT_SET}", Invalid, "variable 'NOT_SET' is not set"),
        ("{external: true}", Unsupported, "is external"),
    ],
)
def test_what_cannot_be_had_is_said_at_its_place(contents, source, kind, said):
    found = project(f"services: {{web: {{image: x, secrets: [s]}}}}\nsecrets:\n  s: {source}\n")
    with pytest.raises(kind, match=said) as caught:
        gather(found, contents, {})
    assert (caught.value.line, caught.value.column) == (3, 3)


def test_what_no_service_uses_need_not_be_there(contents):
    assert gather(project("services: {web: {image: x}}\nsecrets: {s: {file: /no/where}}\n"), contents, {}) == {}
