"""Where a build's files come from and where its result goes, in a real store."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from bennu.build.contexts import opened_stream
from bennu.build.origins import Directory, Layout, NamedImage
from bennu.build.outputs import parse_output
from bennu.config import Settings
from bennu.errors import Unsupported
from bennu.oci.platform import Platform
from bennu.store.archive_writer import Selection, write_archive, write_layout
from tests.integration.build_world import BASE, Builds, Told
from tests.integration.run_world import world

pytestmark = pytest.mark.root

AMD64 = Platform("amd64", "linux")
ARM64 = Platform("arm64", "linux")


@pytest.fixture
def builds(root_settings, tmp_path):
    with world(root_settings) as made:
        yield Builds.of(made, tmp_path / "context")


def archive(files, owner=(0, 0)) -> io.BytesIO:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.gid = len(text), *owner
            tar.addfile(info, io.BytesIO(text.encode()))
    return io.BytesIO(sink.getvalue())


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


def test_a_context_may_be_an_archive_whose_owners_count(builds):
    files = {"Dockerfile": "FROM scratch\nCOPY . /all/\n", ".dockerignore": "data", "data": "x"}
    opened = opened_stream(archive(files, owner=(3, 4)))
    assert not isinstance(opened, bytes)
    tree = builds.look(builds.build("", context=opened).image)
    assert tree["/all/data"].owner == (3, 4)
    assert set(tree) == {"/all", "/all/Dockerfile", "/all/.dockerignore", "/all/data"}
    assert list(builds.settings.temporary.iterdir()) == []


def test_what_is_no_archive_is_a_dockerfile():
    assert opened_stream(io.BytesIO(b"FROM scratch\n")) == b"FROM scratch\n"


def test_a_named_directory_is_a_base_and_a_source(builds, tmp_path):
    other = tmp_path / "other"
    (other / "sub").mkdir(parents=True)
    (other / "sub" / "file").write_text("f")
    (other / "left-out").write_text("l")
    (other / ".dockerignore").write_text("left-out\n")
    contexts = {"named": Directory(str(other))}
    built = builds.build("FROM named\nCOPY --from=named sub/file /again\n", contexts=contexts)
    tree = builds.look(built.image)
    assert {"/sub/file", "/again", "/.dockerignore"} == set(tree) - {"/sub"}
    comments = [entry.comment for entry in built.image.config.history]
    assert comments == ["buildkit.dockerfile.v0", "buildkit.exporter.image.v0"]
    told = Told()
    builds.build("FROM named\nCOPY --from=named sub/file /again\n", told, contexts=contexts)
    assert told.ran == []
    (other / "sub" / "file").write_text("changed")
    assert builds.look(builds.build("FROM named\n", contexts=contexts).image)["/sub/file"].content == "changed"


def test_a_named_image_takes_the_place_of_a_name_and_of_a_stage(builds):
    contexts = {"alpine": NamedImage(BASE), "tools": NamedImage("scratch")}
    text = "FROM alpine AS a\nRUN echo x > /x\nFROM docker.io/library/nothing AS tools\nRUN no\nFROM a\n"
    assert builds.look(builds.build(text, contexts=contexts).image)["/x"].content == "x\n"
    text = "FROM nothing AS tools\nRUN this is not run\nFROM tools\nCOPY --from=alpine /bin /bin\n"
    assert "/bin" in builds.look(builds.build(text, contexts=contexts).image)


def test_a_layout_is_a_named_context(builds, tmp_path):
    image = builds.build("FROM scratch\nCOPY <<A /a\na\nA\nENV K=v\n", name="one:1").image
    write_layout(builds.runtime.images, Selection(image, (builds_name("one:1"),)), tmp_path / "layout")
    for layout in (Layout(str(tmp_path / "layout"), "1"), Layout(str(tmp_path / "layout"), digest=image.manifest)):
        built = builds.build("FROM x\nLABEL a=b\n", contexts={"x": layout})
        assert built.image.config.config.environment["K"] == "v"
        assert set(builds.look(built.image)) == {"/a"}


def builds_name(text):
    from bennu.oci.reference import parse_name

    return parse_name(text)


MULTI = """
FROM --platform=$BUILDPLATFORM {base} AS build
RUN echo once > /once
FROM scratch
ARG TARGETARCH
COPY --from=build /once /once
COPY <<A /arch
$TARGETARCH
A
"""


def test_a_build_for_several_platforms_is_one_index_and_shares_what_it_can(builds):
    told = Told()
    built = builds.build(MULTI.format(base=BASE), told, platforms=(AMD64, ARM64), name="multi:latest")
    assert sum("RUN" in label for label in told.ran) == 1
    assert sum("/once" in label for label in told.ran) == 2  # the RUN, and one COPY for both
    images = builds.runtime.images
    assert built.exported.id == images.find_index("multi")
    for platform in (AMD64, ARM64):
        image = images.find("multi", platform)
        assert image.config.platform == platform
        assert builds.look(image)["/arch"].content == f"{platform.architecture}\n"


def test_a_run_for_another_machine_is_refused_at_its_place(builds):
    images = builds.runtime.images
    builds.build(MULTI.format(base=BASE), platforms=(AMD64, Platform("s390x", "linux")), name="multi:latest")
    told = Told()
    with pytest.raises(Unsupported, match="programs are for linux/s390x") as caught:
        builds.build("FROM multi\nRUN x\n", told, platforms=(Platform("s390x", "linux"),))
    assert caught.value.line == 2
    assert told.ran == []
    assert images.find("multi", AMD64) is not None


def test_a_tree_goes_into_a_directory_beside_what_is_there(builds, tmp_path):
    text = (
        f"FROM {BASE} AS b\nRUN mkdir /o && echo a > /o/a && chmod 4755 /o/a && ln /o/a /o/b && ln -s a /o/l "
        "&& mkfifo /o/p && mkdir /o/d && echo x > /o/d/x && chmod 1777 /o/d && chown -R 5:6 /o && chmod 4755 /o/a\n"
        "FROM scratch\nCOPY --from=b /o /\n"
    )
    out = tmp_path / "out"
    built = builds.build(text, outputs=(parse_output(str(out)),))
    assert built.exported.images == ()
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    (out / "mine").write_text("mine")
    (out / "d" / "x").unlink()
    (out / "d" / "x").mkdir()
    (out / "l").unlink()
    (out / "l").mkdir()
    builds.build(text, outputs=(parse_output(str(out)),))
    assert sorted(os.listdir(out)) == ["a", "b", "d", "l", "mine", "p"]
    assert stat.S_IMODE((out / "a").stat().st_mode) == 0o4755
    assert (out / "a").stat().st_ino == (out / "b").stat().st_ino
    assert (out / "a").stat().st_uid == os.geteuid()
    assert os.readlink(out / "l") == "a"
    assert stat.S_IMODE((out / "d").stat().st_mode) == 0o1777
    assert (out / "d" / "x").read_text() == "x\n"
    assert [each for each in os.listdir(tmp_path) if each.startswith(".")] == []


def test_every_output_is_written_and_an_image_only_if_asked_for(builds, tmp_path):
    stdout = io.BytesIO()
    texts = (
        "-",
        f"type=oci,dest={tmp_path}/oci.tar",
        f"type=docker,dest={tmp_path}/d.tar",
        f"type=oci,tar=false,dest={tmp_path}/l",
    )
    text = "FROM scratch\nCOPY <<A /a\na\nA\n"
    before = len(builds.runtime.images.walk())
    builds.build(text, outputs=tuple(map(parse_output, texts)), stdout=stdout, name="named:latest")
    assert names(stdout.getvalue()) == ["a"]
    assert "manifest.json" not in names((tmp_path / "oci.tar").read_bytes())
    with tarfile.open(tmp_path / "d.tar") as tar:
        assert json.load(tar.extractfile("manifest.json"))[0]["RepoTags"] == ["named:latest"]
    (listed,) = json.loads((tmp_path / "l" / "index.json").read_text())["manifests"]
    assert (tmp_path / "l" / "blobs" / listed["digest"].replace(":", "/")).exists()
    assert len(builds.runtime.images.walk()) == before
    builds.build(text, outputs=(parse_output("type=image,name=other"),))
    assert builds.runtime.images.find("other") is not None


SQUASHED = """
FROM {base}
RUN mkdir -p /w/sub && echo one > /w/one && echo two > /w/two && ln /w/one /w/link
RUN rm -r /base /w/two && mkdir /base && echo new > /base/new && rm /w/sub -r && echo file > /w/sub
ENV A=b
RUN echo three > /w/three && rm /w/sub && mkdir /w/sub && rm /bin/nothing 2>/dev/null; chmod 700 /w
"""


def test_squashed_layers_are_one_with_the_same_tree(builds):
    builds.build(f"FROM {BASE}\nRUN mkdir -p /base/deep && echo old > /base/old\n", name="based:latest")
    plain = builds.build(SQUASHED.format(base="based")).image
    told = Told()
    built = builds.build(SQUASHED.format(base="based"), told, squash=True)
    assert told.ran == []
    assert len(built.image.layers) == len(plain.layers) - 2
    assert builds.look(built.image) == builds.look(plain)
    assert built.image.layers[0] == plain.layers[0]
    filled = [entry for entry in built.image.config.history if not entry.empty_layer]
    assert filled[-1].created_by == "SQUASH 3 layers"
    again = builds.build(SQUASHED.format(base="based"), squash=True).image
    assert again.manifest == built.image.manifest


def save(made):
    sink = io.BytesIO()
    images = made.runtime.images
    write_archive(images, [Selection(images.resolve(BASE), (builds_name(BASE),))], sink)
    return sink.getvalue()


REPRODUCED = """
FROM {base}
WORKDIR /made/dirs
COPY . /copied/
ADD part/a.txt /added/
COPY <<TEXT /heredoc
text
TEXT
RUN mkdir -p /run-made/x && echo data > /run-made/x/file && ln -s file /run-made/x/link
RUN <<SCRIPT
echo script > /script
SCRIPT
LABEL a=b
"""


def test_the_same_source_is_the_same_image_at_two_times_from_two_checkouts_in_two_stores(root_settings, tmp_path):
    digests, archives = [], []
    base: bytes | None = None
    for number, when in ((1, 1_000_000_000), (2, 1_100_000_000)):
        with ExitStack() as stack:
            root = root_settings.root / f"store{number}"
            settings = Settings(root=root, run=root / "run")
            made = stack.enter_context(world(settings))
            if base is None:
                made.image(BASE)
                base = save(made)
            else:
                list(made.runtime.loader.load(io.BytesIO(base), AMD64))
            builds = Builds(made.runtime, tmp_path / f"checkout-{number}" / "deep" / "er")
            builds.write({"part/a.txt": "a", "part/sub/b.txt": "b", "c.txt": "c"})
            for path in sorted(Path(builds.context).rglob("*")):
                os.chmod(path, 0o755 if path.is_dir() else 0o644)
                os.utime(path, (when, when))
            place = tmp_path / f"{number}.tar"
            outputs = (parse_output("type=image"), parse_output(f"type=oci,dest={place}"))
            text = REPRODUCED.format(base=BASE)
            digests.append(builds.build(text, epoch=1_700_000_000, name="same:latest", outputs=outputs).image.manifest)
            archives.append(place.read_bytes())
            builds.build(text, epoch=1_700_000_000, name="same:latest", outputs=outputs[1:], use_cache=False)
            assert place.read_bytes() == archives[-1]
    assert digests[0] == digests[1]
    assert archives[0] == archives[1]
