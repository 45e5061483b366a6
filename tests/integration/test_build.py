"""Images from Dockerfiles, with real containers: what each instruction leaves in the tree and the configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bennu.build.progress import Broken
from bennu.config import Settings
from bennu.errors import BennuError, Failed, Invalid
from tests.integration.build_world import Builds, Node, Told
from tests.integration.run_world import World, world

pytestmark = pytest.mark.root


@pytest.fixture
def box(root_settings: Settings) -> Iterator[World]:
    with world(root_settings) as made:
        yield made


@pytest.fixture
def builds(box: World, tmp_path: Path) -> Builds:
    made = Builds.of(box, tmp_path / "context")
    made.write({"a.txt": "a", "b.txt": "b", "dir/one": "1", "dir/sub/two": "2"})
    os.chmod(made.context / "dir/sub", 0o711)
    return made


def text(content: str, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> Node:
    return Node("f", mode, owner, content)


def directory(mode: int = 0o755, owner: tuple[int, int] = (0, 0)) -> Node:
    return Node("d", mode, owner, "")


# RUN


def test_run_has_the_environment_directory_user_and_arguments_in_force(builds):
    tree = builds.tree(
        """FROM box
ENV A="one two"
ARG B=three
WORKDIR /work
RUN echo "$A $B $PWD $HOME" > out; chmod 777 .
USER web
RUN id -u > user; echo $HOME >> user
""",
        build_args={"B": "four"},
    )
    assert tree["/work/out"] == text("one two four /work /root\n")
    assert tree["/work/user"].content == "33\n/srv\n"
    assert tree["/work/user"].owner == (33, 33)


def test_run_in_exec_form_needs_no_shell(builds):
    assert builds.tree('FROM box\nRUN ["cp", "/etc/passwd", "/copied $HOME"]')["/copied $HOME"].kind == "f"


def test_shell_is_what_runs_the_shell_form(builds):
    tree = builds.tree('FROM box\nSHELL ["/bin/sh", "-ec"]\nRUN echo $- > /out; cat /nothing || true\n')
    assert "e" in tree["/out"].content


def test_run_takes_heredocs_as_script_as_input_and_as_program(builds):
    tree = builds.tree(
        """FROM box
RUN <<E
echo one > /one
echo two > /two
E
RUN cat <<E > /three && cat <<"Q" > /four
$HOME
E
$HOME
Q
RUN <<E
#!/bin/sh -u
echo $0 > /five
E
"""
    )
    found = [tree[f"/{name}"].content for name in ("one", "two", "three", "four")]
    assert found == ["one\n", "two\n", "/root\n", "$HOME\n"]
    assert "/dev/pipes" in tree["/five"].content


def test_what_run_deletes_is_gone_and_the_runtime_leaves_nothing_of_its_own(builds):
    tree = builds.tree("FROM box\nRUN rm -r /srv /etc/group; mkdir /new")
    base = builds.tree("FROM box")
    assert set(base) - set(tree) == {"/srv", "/etc/group"}
    assert set(tree) - set(base) == {"/new", "/dev", "/proc", "/sys"}  # the base has none of these; Docker leaves them


def test_a_failing_run_says_what_where_how_and_its_last_lines(builds):
    told = Told()
    with pytest.raises(Failed) as caught:
        builds.build("FROM box\nRUN true\nRUN echo before; \\\n    seq 1 50; echo wrong >&2; exit 7\n", told)
    error = caught.value
    assert "Dockerfile:3:" in error.message
    assert error.message.endswith("exit status 7")
    assert error.status == 7
    assert error.tail[-1] == "wrong"
    assert len(error.tail) == 20
    (broken,) = [event for event in told.events if isinstance(event, Broken)]
    assert broken.label.startswith("[3/3] RUN echo before;")
    assert told.output.startswith("before\n1\n2\n")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("RUN nothing-of-that-name", 127),
        ('RUN ["/nothing"]', 127),
        ('RUN ["/etc/passwd"]', 126),
        ("RUN sh -c 'kill -9 $$'; exit $?", 137),
    ],
)
def test_the_status_is_that_of_a_shell(builds, line, status):
    with pytest.raises(Failed) as caught:
        builds.build(f"FROM box\n{line}\n")
    assert caught.value.status == status


def test_an_unknown_user_stops_a_run_at_its_line(builds):
    with pytest.raises(Invalid, match="user 'nobody-here'") as caught:
        builds.build("FROM box\nUSER nobody-here\nRUN true\n")
    assert caught.value.line == 3


def test_a_run_has_a_network_or_none(builds):
    assert builds.tree("FROM box\nRUN ls /sys/class/net > /nets")["/nets"].content == "lo\n"
    tree = builds.tree("FROM box\nRUN ls /sys/class/net > /nets", network="default")
    assert set(tree["/nets"].content.split()) > {"lo"}


# COPY and ADD


def test_copy_puts_files_and_the_contents_of_directories(builds):
    tree = builds.tree("FROM box\nCOPY a.txt /new/name\nCOPY a.txt b.txt /many/\nCOPY dir /d\nADD dir/sub /e/\n")
    assert tree["/new/name"] == text("a")
    assert (tree["/many/a.txt"], tree["/many/b.txt"]) == (text("a"), text("b"))
    assert tree["/d/one"] == text("1")
    assert (tree["/d"], tree["/d/sub"], tree["/e"]) == (directory(), directory(0o711), directory())
    assert tree["/e/two"] == text("2")


def test_a_contexts_files_are_roots_and_options_change_owner_and_mode(builds):
    os.chown(builds.context / "a.txt", 1000, 1000)
    tree = builds.tree(
        "FROM box\nCOPY a.txt /\nCOPY --chown=web:tape --chmod=700 dir /w/x\nCOPY --chown=5 a.txt /n\n"
        "COPY --chown=6:7 <<in /i/\nhello\nin\n"
    )
    assert tree["/a.txt"] == text("a")
    assert tree["/w"] == tree["/w/x"] == tree["/w/x/sub"] == directory(0o700, (33, 26))
    assert tree["/w/x/one"] == text("1", 0o700, (33, 26))
    assert tree["/n"].owner == (5, 5)
    assert tree["/i/in"] == text("hello\n", owner=(6, 7))


def test_an_owner_that_the_image_does_not_know_is_root_and_told(builds):
    told = Told()
    tree = builds.look(builds.build("FROM box\nCOPY --chown=stranger a.txt /\n", told).image)
    assert tree["/a.txt"].owner == (0, 0)
    assert "stranger" in told.output


def test_links_in_a_destination_are_followed_inside_the_tree(builds):
    tree = builds.tree(
        "FROM box\nRUN ln -s /etc /to; ln -s ../../../../new /dangling; ln -s /etc/passwd /file\n"
        "COPY a.txt /to/\nCOPY dir /dangling\nCOPY b.txt /file\nWORKDIR /dangling/deeper\n"
    )
    assert tree["/etc/a.txt"] == text("a")
    assert tree["/new/one"] == text("1")
    assert tree["/etc/passwd"] == text("b")
    assert tree["/new/deeper"] == directory()
    assert tree["/dangling"].kind == "l"


@pytest.mark.parametrize(
    ("before", "copy", "message"),
    [
        ("mkdir -p /d/one", "COPY dir /d", "cannot replace a directory"),
        ("mkdir /d; echo > /d/sub", "COPY dir /d", "cannot replace a file"),
        ("ln -s round /round", "COPY a.txt /round/", "symbolic links"),
        ("true", "COPY a.txt /etc/passwd/", "cannot be a directory"),
        ("true", "WORKDIR /etc/passwd", "cannot be a directory"),
        ("true", "COPY nothing /", "'/nothing' is not in the build context"),
        ("true", "COPY --from=box /nothing /", "'/nothing' is not in what"),
    ],
)
def test_what_cannot_be_copied_is_refused_at_its_line(builds, before, copy, message):
    with pytest.raises(BennuError, match=message) as caught:
        builds.build(f"FROM box\nRUN {before}\n{copy}\n")
    assert "Dockerfile:3:" in str(caught.value)


def test_hard_links_stay_hard_links_and_symbolic_ones_are_not_followed_below(builds):
    os.link(builds.context / "dir/one", builds.context / "dir/same")
    (builds.context / "dir/link").symlink_to("/etc/passwd")
    tree = builds.tree("FROM box\nCOPY dir /d\nRUN stat -c %h /d/one > /links\n")
    assert tree["/links"].content == "2\n"
    assert tree["/d/link"].content == "/etc/passwd"


def test_ignored_files_are_not_there(builds):
    builds.write({".dockerignore": "*.txt\n!b.txt\n"})
    tree = builds.tree("FROM box\nCOPY . /all/\n")
    assert "/all/b.txt" in tree
    assert "/all/a.txt" not in tree
    with pytest.raises(Invalid, match="left out"):
        builds.build("FROM box\nCOPY a.txt /\n")


def test_a_file_that_changes_while_it_is_copied_is_refused(builds, monkeypatch):
    from bennu.build import writing

    copy = writing._copy

    def copy_and_edit(source: int, target: int, size_bytes: int) -> None:
        copy(source, target, size_bytes)
        (builds.context / "a.txt").write_text("changed")

    monkeypatch.setattr(writing, "_copy", copy_and_edit)
    with pytest.raises(Invalid, match="changed while it was copied"):
        builds.build("FROM box\nCOPY a.txt /\n")
    monkeypatch.undo()
    assert builds.tree("FROM box\nCOPY a.txt /\n")["/a.txt"].content == "changed"


# stages and configuration


def test_stages_copy_from_each_other_from_images_and_upon_scratch(builds):
    tree = builds.tree(
        """FROM box AS build
RUN mkdir /out; echo made > /out/it; chown 3:4 /out/it; ln -s it /out/link
FROM box AS unused
RUN exit 1
FROM scratch
COPY --from=build /out /o/
COPY --from=0 /out/it /named
COPY --from=box /etc/passwd /
COPY --from=build --chown=9 /out/i* /wild/
"""
    )
    assert tree["/o/it"] == text("made\n", owner=(3, 4))
    assert tree["/o/link"] == Node("l", 0o777, (0, 0), "it")
    assert (tree["/named"], tree["/wild/it"]) == (text("made\n", owner=(3, 4)), text("made\n", owner=(9, 9)))
    assert set(tree) == {"/o", "/o/it", "/o/link", "/named", "/passwd", "/wild", "/wild/it"}


def test_the_target_is_all_that_is_built(builds):
    dockerfile = "FROM box AS one\nRUN echo 1 > /one\nFROM one AS two\nRUN exit 1\n"
    assert "/one" in builds.tree(dockerfile, target="one")


def test_the_configuration_is_what_was_asked_for(builds):
    image = builds.build(
        'FROM box\nENV A=1\nLABEL l=v\nEXPOSE 80 53/udp\nVOLUME /data\nWORKDIR /w\nUSER web\nENTRYPOINT ["e"]\nCMD c\n'
        "STOPSIGNAL SIGINT\n",
        labels={"more": "x"},
        name="made:1",
    ).image
    config = image.config.config
    assert config.environment["A"] == "1"
    assert dict(config.labels) == {"l": "v", "more": "x"}
    assert list(config.exposed_ports) == ["53/udp", "80/tcp"]
    assert list(config.volumes) == ["/data"]
    assert (config.working_dir, config.user, config.stop_signal) == ("/w", "web", "SIGINT")
    assert (config.entrypoint, config.cmd) == (("e",), ("/bin/sh", "-c", "c"))
    assert image.familiar_names == ("made:1",)
    assert sum(not entry.empty_layer for entry in image.config.history) == len(image.layers)


def test_nothing_but_scratch_is_an_image_without_layers(builds):
    image = builds.build("FROM scratch\nLABEL a=b\n").image
    assert image.layers == ()


def test_a_built_image_runs(box, builds):
    builds.build('FROM box\nCOPY a.txt /\nCMD ["cat", "/a.txt"]\n', name="runs:1")
    assert box.bennu("run", "--rm", "--network", "none", "runs:1").stdout == "a"


def test_the_epoch_is_the_time_of_everything_and_an_argument_for_those_who_ask(builds):
    dockerfile = (
        "FROM box\nARG SOURCE_DATE_EPOCH\nWORKDIR /made/here\nCOPY dir /d\nRUN touch /new\n"
        "RUN echo $SOURCE_DATE_EPOCH $(stat -c %Y /made /made/here /d/one /d/sub /new) > /times\n"
    )
    for options in ({"epoch": 12345678}, {"build_args": {"SOURCE_DATE_EPOCH": "12345678"}}):
        image = builds.build(dockerfile, **options).image
        assert builds.look(image)["/times"].content == "12345678 " * 5 + "12345678\n"
        assert image.config.created == "1970-05-23T21:21:18Z"
