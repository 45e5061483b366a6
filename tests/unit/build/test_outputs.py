"""What --output, --annotation and --build-context say, and who can run what."""

from __future__ import annotations

import pytest

from bennu.build.annotations import Annotation, chosen, parse_annotation
from bennu.build.origins import Directory, Layout, NamedImage, Remote, Repository, named_context, parse_named
from bennu.build.outputs import Output, check_annotations, check_together, parse_output
from bennu.errors import BennuError, Invalid, Unsupported, Usage
from bennu.host.binfmt import can_run, parse_interpreter
from bennu.oci.platform import Platform
from bennu.oci.reference import parse_name

ARM64 = Platform("arm64", "linux")
QEMU = (
    "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: {flags}\noffset 0\n"
    "magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"
)


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("out", Output(kind="local", dest="out")),
        ("a=b", Output(kind="local", dest="a=b")),
        ("-", Output(kind="tar", dest="-")),
        ("type=tar", Output(kind="tar", dest="-")),
        ("type=oci", Output(kind="oci", dest="-")),
        ("type=docker", Output(kind="docker")),
        ("type=local,dest=out,platform-split=false", Output(kind="local", dest="out", splits=False)),
        ("type=oci,dest=d,tar=false", Output(kind="oci", dest="d", is_archive=False)),
        ('type=image,"name=a,b:1",push=false', Output(kind="image", names=(parse_name("a"), parse_name("b:1")))),
        ("type=image,store=false", Output(kind="cacheonly")),
        ("type=oci,dest=f,rewrite-timestamp=true,compression=uncompressed", Output(kind="oci", dest="f")),
        (
            "type=image,annotation-index.Key=v",
            Output(kind="image", annotations=(Annotation("index", "Key", "v"),)),
        ),
    ],
)
def test_an_output_is_read(text, output):
    assert parse_output(text) == output


@pytest.mark.parametrize(
    ("text", "category", "words"),
    [
        ("", Usage, "is empty"),
        ("dest=x,foo=y", Usage, "has no type"),
        ("type=lokal,dest=x", Usage, "unknown type 'lokal'"),
        ("type=local", Usage, "dest is missing"),
        ("type=local,dest=-", Usage, "standard output"),
        ("type=oci,tar=false", Usage, "standard output"),
        ("type=tar,dest", Usage, "'dest' is not OPTION=VALUE"),
        ("type=tar,name=x", Usage, "tar has no option 'name'"),
        ("type=image,dest=x", Usage, "goes into the store"),
        ("type=image,store=maybe", Usage, "neither true nor false"),
        ("type=image,push=true", Unsupported, "an output is kept here"),
        ("type=registry,name=x", Unsupported, "an output is kept here"),
        ("type=oci,dest=x,compression=gzip", Unsupported, "uncompressed"),
        ("type=docker,oci-mediatypes=false", Unsupported, "media types"),
    ],
)
def test_an_output_that_cannot_be_meant_is_refused(text, category, words):
    with pytest.raises(category, match=words) as caught:
        parse_output(text)
    assert type(caught.value) is category


def test_two_outputs_do_not_go_to_one_place():
    with pytest.raises(Usage, match="standard output"):
        check_together((parse_output("-"), parse_output("type=oci")))
    with pytest.raises(Usage, match="several outputs go to 'x'"):
        check_together((parse_output("x"), parse_output("type=tar,dest=x")))
    check_together((parse_output("-"), parse_output("x"), parse_output("type=image")))


def test_annotations_have_levels_and_platforms():
    assert parse_annotation("a=b=c") == (Annotation("manifest", "a", "b=c"),)
    assert parse_annotation("index,manifest[linux/arm64]:a=b") == (
        Annotation("index", "a", "b"),
        Annotation("manifest", "a", "b", ARM64),
    )
    assert parse_annotation("org.x:y=z") == (Annotation("manifest", "org.x:y", "z"),)
    every = (*parse_annotation("manifest[linux/arm64]:a=arm"), *parse_annotation("a=all"))
    assert chosen(every, "manifest", ARM64) == {"a": "arm"}
    assert chosen(every, "manifest", Platform("amd64", "linux")) == {"a": "all"}
    for wrong in ("a", "=b", "index:a", "index[linux/arm64]:a=b"):
        with pytest.raises(Invalid):
            parse_annotation(wrong)


def test_annotations_of_what_there_is_not_are_refused():
    image = (parse_output("type=image"),)
    check_annotations(image, parse_annotation("index:a=b"), has_index=True)
    for text in ("index:a=b", "manifest-descriptor:a=b"):
        with pytest.raises(Invalid, match="annotation 'a'"):
            check_annotations(image, parse_annotation(text), has_index=False)
    with pytest.raises(Invalid, match="no output is an image"):
        check_annotations((parse_output("x"),), parse_annotation("a=b"), has_index=False)


@pytest.mark.parametrize(
    ("text", "name", "origin"),
    [
        ("base=../base", "base", Directory("../base")),
        ("docker.io/library/alpine:latest=x", "alpine", Directory("x")),
        ("alpine:3=docker-image://busybox", "alpine:3", NamedImage("busybox")),
        ("a=docker-image://scratch", "a", NamedImage("scratch")),
        ("a=oci-layout:///x", "a", Layout("/x")),
        ("a=oci-layout://x:t", "a", Layout("x", "t")),
        ("a=https://example.com/f", "a", Remote("https://example.com/f")),
    ],
)
def test_a_named_context_is_read(text, name, origin):
    assert parse_named(text) == (name, origin)


def test_a_named_context_may_be_a_repository():
    name, origin = parse_named("src=https://example.com/x.git#v1:sub")
    assert name == "src"
    assert isinstance(origin, Repository)
    assert (origin.reference.ref, origin.reference.subdirectory) == ("v1", "sub")


@pytest.mark.parametrize("text", ["a", "=b", "a=", "A b=c", "context=.", "Scratch=.", "a=target:b", "a=ftp://x/y"])
def test_a_named_context_that_cannot_be_meant_is_refused(text):
    with pytest.raises(BennuError):
        parse_named(text)


def test_a_name_means_a_context_however_it_is_spelled():
    contexts = dict([parse_named("docker.io/library/alpine=.")])
    for name in ("alpine", "alpine:latest", "docker.io/library/alpine", "index.docker.io/library/alpine:latest"):
        assert named_context(contexts, name) == "alpine"
    for name in ("alpine:3", "other/alpine", "Alpine", "scratch", "context"):
        assert named_context(contexts, name) is None


def test_a_host_runs_its_own_programs_and_those_that_the_kernel_gives_to_an_interpreter(tmp_path):
    assert can_run("amd64", "amd64", tmp_path)
    assert can_run("386", "amd64", tmp_path)
    assert not can_run("arm64", "amd64", tmp_path)
    (tmp_path / "status").write_text("enabled\n")
    (tmp_path / "qemu").write_text(QEMU.format(flags="OC"))
    assert not can_run("arm64", "amd64", tmp_path)
    (tmp_path / "qemu").write_text(QEMU.format(flags="OCF"))
    assert can_run("arm64", "amd64", tmp_path)
    assert not can_run("riscv64", "amd64", tmp_path)
    assert not can_run("arm64", "amd64", tmp_path / "nowhere")
    assert parse_interpreter(QEMU.format(flags="F").replace("enabled", "disabled", 1)) is None
    assert parse_interpreter("enabled\ninterpreter /x\nflags: \nextension .exe\n") is None
