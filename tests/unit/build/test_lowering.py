"""From a Dockerfile's text to steps, configuration and history; every refusal with its place."""

from __future__ import annotations

import pytest

from bennu.build.graph import (
    Base,
    BaseImage,
    Copy,
    Fetch,
    GitTree,
    InlineFile,
    Local,
    Lowered,
    MakeDirectory,
    Run,
    Source,
)
from bennu.build.lowering import lower
from bennu.build.remotes import GitReference
from bennu.build.stages import DEFAULT_PATH
from bennu.digest import Digest
from bennu.dockerfile.parser import parse
from bennu.dockerfile.source import Span
from bennu.errors import Invalid, NotFound, Unsupported
from bennu.oci.image_config import ContainerConfig, Healthcheck, History, ImageConfig, empty_config
from bennu.oci.platform import Platform

AMD64 = Platform("amd64", "linux")
SECOND = 1_000_000_000
BASE_HISTORY = History(created="2020-01-01T00:00:00Z", created_by="made elsewhere")

LONG_HEALTHCHECK = 'HEALTHCHECK &{["CMD-SHELL" "a b"] "1m30s" "1.5s" "2h0m0s" "5ms" \'\\x00\'}'


def digest(letter: str) -> Digest:
    return Digest("sha256:" + letter * 64)


def image(config: ContainerConfig, letter: str = "a") -> BaseImage:
    whole = ImageConfig(
        architecture="amd64", os="linux", author="them", created="2020", config=config, history=(BASE_HISTORY,)
    )
    return BaseImage(digest(letter), digest(letter), whole)


IMAGES = {
    "debian": image(ContainerConfig(env=("PATH=/bin",), cmd=("bash",))),
    "site:1": image(
        ContainerConfig(
            env=("LANG=C", "PATH=/usr/bin"),
            user="web",
            working_dir="/srv",
            labels={"from": "base"},
            entrypoint=("serve",),
            shell=("/bin/bash", "-ec"),
        ),
        "c",
    ),
    "triggers": image(ContainerConfig(on_build=("RUN make", "COPY . /src", "LABEL built=$WHO")), "d"),
    "empty": BaseImage(digest("e"), None, empty_config(AMD64)),
}


def lowered(text: str, **options) -> Lowered:
    def bases(name: str, span: Span, platform: Platform) -> BaseImage:
        if name not in IMAGES:
            raise span.invalid(f"image {name!r} is not in the store", "bennu load")
        return IMAGES[name]

    options.setdefault("build_args", {})
    return lower(parse(text, "Dockerfile"), bases=bases, platform=AMD64, **options)


def steps(text: str, **options):
    """The steps on the way to the result, the base first."""
    result = lowered(text, **options)
    return [result.graph.vertices[index].step for index in result.graph.needed(result.result)]


def last(text: str, **options):
    return steps(text, **options)[-1]


def settings(text: str, **options) -> ContainerConfig:
    return lowered(text, **options).config.config


def labels(text: str, **options) -> list[str]:
    result = lowered(text, **options)
    return [result.graph.vertices[index].label for index in result.graph.steps(result.result)]


def created_by(text: str, **options) -> list[str]:
    """The new entries of the history, marked where they made a layer."""
    history = lowered(text, **options).config.history
    return [("" if entry.empty_layer else "* ") + entry.created_by for entry in history if entry != BASE_HISTORY]


class TestCommands:
    @pytest.mark.parametrize(
        ("instruction", "arguments"),
        [
            ("RUN echo $HOME", ("/bin/sh", "-c", "echo $HOME")),
            ('RUN ["echo", "$HOME"]', ("echo", "$HOME")),
            ("RUN a && \\\n  b", ("/bin/sh", "-c", "a &&   b")),
            ("RUN <<EOF\na\n  b $c\nEOF", ("/bin/sh", "-c", "a\n  b $c\n")),
            ("RUN <<-EOF\n\ta\n\tEOF", ("/bin/sh", "-c", "a\n")),
            ("RUN cat <<A 3<<'B' > x\na\nA\nb\nB", ("/bin/sh", "-c", "cat <<A 3<<'B' > x\na\nA\nb\nB")),
            ("RUN <<EOF cat\na\nEOF", ("/bin/sh", "-c", "<<EOF cat\na\nEOF")),
            ('SHELL ["/bin/bash", "-c"]\nRUN a', ("/bin/bash", "-c", "a")),
        ],
    )
    def test_arguments(self, instruction, arguments):
        step = last(f"FROM debian\n{instruction}")
        assert (step.arguments, step.script) == (arguments, None)

    def test_a_body_with_an_interpreter_line_is_a_file(self):
        step = last("FROM debian\nRUN <<-go\n\t#!/usr/bin/env python3\n\tprint(1)\n\tgo")
        assert step.arguments == ("/bin/sh", "-c", "/dev/pipes/go")
        assert step.script == InlineFile("go", "#!/usr/bin/env python3\nprint(1)\n")

    def test_the_base_image_sets_shell_user_directory_and_environment(self):
        assert last("FROM site:1\nRUN a") == Run(
            parent=0,
            arguments=("/bin/bash", "-ec", "a"),
            environment=("LANG=C", "PATH=/usr/bin"),
            directory="/srv",
            user="web",
        )

    def test_path_has_a_default(self):
        assert last("FROM triggers AS a\nRUN a").environment == (f"PATH={DEFAULT_PATH}",)

    @pytest.mark.parametrize("network", ["default", "none", "host"])
    def test_network(self, network):
        assert last(f"FROM debian\nRUN --network={network} a").network == network

    def test_a_first_step_stands_on_nothing(self):
        assert steps('FROM scratch\nRUN ["/a"]') == [
            Run(parent=None, arguments=("/a",), environment=(f"PATH={DEFAULT_PATH}",))
        ]
        assert steps('FROM empty\nRUN ["/a"]')[0].parent is None

    @pytest.mark.parametrize(
        ("text", "directory", "made"),
        [
            ("WORKDIR /a/b", "/a/b", ["/a/b"]),
            ("WORKDIR a\nWORKDIR ../b", "/b", ["/a", "/b"]),
            ("WORKDIR /a\nWORKDIR ../../..", "/", ["/a"]),
            ("ENV D=x\nWORKDIR /$D/", "/x/", ["/x"]),
            ("WORKDIR /", "/", []),
        ],
    )
    def test_directories(self, text, directory, made):
        assert settings(f"FROM debian\n{text}").working_dir == directory
        assert [step.path for step in steps(f"FROM debian\n{text}") if isinstance(step, MakeDirectory)] == made

    def test_a_directory_belongs_to_the_user_in_force(self):
        assert last("FROM debian\nUSER web\nWORKDIR /a") == MakeDirectory(0, "/a", "web")


class TestCopies:
    @pytest.mark.parametrize(
        ("instruction", "fields"),
        [
            ("COPY a /b", {"sources": ("a",), "destination": "/b"}),
            ("COPY a b /c/", {"sources": ("a", "b"), "destination": "/c/"}),
            ('COPY ["a b", "/c"]', {"sources": ("a b",), "destination": "/c"}),
            ("COPY . .", {"sources": (".",), "destination": "/"}),
            ("COPY /a/../../b/ x/..", {"sources": ("b",), "destination": "/"}),
            ("WORKDIR /w\nCOPY a .", {"sources": ("a",), "destination": "/w/"}),
            ("WORKDIR /w\nCOPY a b", {"sources": ("a",), "destination": "/w/b"}),
            ("WORKDIR /w\nCOPY a b/", {"sources": ("a",), "destination": "/w/b/"}),
            ("WORKDIR /w\nCOPY a /x/.", {"sources": ("a",), "destination": "/x/"}),
            ("COPY *.t?t [ab] /x/", {"sources": ("*.t?t", "[ab]"), "destination": "/x/"}),
            ("COPY --chown=a:b --chmod=0640 a /", {"sources": ("a",), "chown": "a:b", "chmod": "0640"}),
            ("COPY --exclude=*.md --exclude=x a /", {"sources": ("a",), "exclude": ("*.md", "x")}),
            ("COPY --link a /", {"sources": ("a",)}),
            ("ENV U=7 F=f\nCOPY --chown=$U $F /${F}x", {"sources": ("f",), "destination": "/fx", "chown": "7"}),
            ("ADD --unpack=false a.tar /", {"sources": ("a.tar",)}),
        ],
    )
    def test_fields(self, instruction, fields):
        *before, step = steps(f"FROM debian\n{instruction}")
        wanted = {"destination": "/", "chown": None, "chmod": None, "exclude": (), **fields}
        wanted["sources"] = tuple(Source(before.index(Local()), path) for path in fields["sources"])
        assert {name: getattr(step, name) for name in wanted} == wanted

    def test_what_is_elsewhere_is_a_vertex_of_its_own(self):
        *_, first, second, context, step = steps(
            "FROM debian\nENV U=http://x\nADD $U/a*b.tgz?q git@host:x/y.git#v1:d z.tar /"
        )
        assert first == Fetch("http://x/a*b.tgz?q", "a*b.tgz")
        assert second == GitTree(GitReference("git@host:x/y.git", ref="v1", subdirectory="d"))
        assert context == Local()
        assert step.sources == (
            Source(1, "a*b.tgz", is_literal=True),
            Source(2, "."),
            Source(3, "z.tar", unpack=True),
        )

    def test_options_of_what_is_elsewhere(self):
        content = digest("f")
        _, fetch, step = steps(f"FROM debian\nADD --unpack --checksum={content} http://x/ /")
        assert fetch == Fetch("http://x/", "__unnamed__", content)
        assert step.sources == (Source(1, "__unnamed__", is_literal=True, unpack=True),)
        _, tree, _ = steps("FROM debian\nADD --keep-git-dir --checksum=abc https://x/y.git?submodules=0 /")
        reference = GitReference("https://x/y.git", checksum="abc", submodules=False)
        assert tree == GitTree(reference, keep_git_dir=True)

    @pytest.mark.parametrize("flag", ["", "--unpack=true ", "--unpack --keep-git-dir=true "])
    def test_archives_are_unpacked(self, flag):
        assert last(f"FROM debian\nADD {flag}a.tar b /").sources == (
            Source(1, "a.tar", unpack=True),
            Source(1, "b", unpack=True),
        )

    @pytest.mark.parametrize(
        ("written", "path", "below"),
        [
            ("a/b", ".", "a/b"),
            ("./a/b/", ".", "a/b"),
            ("../a/**/*.c", ".", "a/**/*.c"),
            ("a/./b/c", "a", "b/c"),
            ("/a/b*/././c", "a/b*", "c"),
            ("./a/./b/./c", "a", "b/c"),
            (".", ".", ""),
        ],
    )
    def test_parents_are_kept_from_the_pivot_on(self, written, path, below):
        assert last(f"FROM debian\nCOPY --parents {written} /").sources == (Source(1, path, below=below),)

    def test_inline_files(self):
        step = last("FROM debian\nENV A=1\nCOPY x <<a <<-'b' /d/\n\"$A\"\na\n\t$A\n\tb")
        assert step.inline == (InlineFile("a", '"1"\n'), InlineFile("b", "$A\n"))
        assert (step.sources, step.destination) == ((Source(1, "x"),), "/d/")

    @pytest.mark.parametrize("name", ["first", "FIRST", "0"])
    def test_from_a_stage(self, name):
        base, run, copy = steps(f"FROM debian AS First\nRUN a\nFROM scratch\nCOPY --from={name} /x /y")
        assert isinstance(base, Base)
        assert isinstance(run, Run)
        assert copy == Copy(parent=None, sources=(Source(1, "x"),), destination="/y")

    def test_from_an_image(self):
        base, copy = steps("FROM scratch\nCOPY --from=site:1 /x /y")
        assert base == Base(digest("c"), digest("c"))
        assert copy.sources == (Source(0, "x"),)

    @pytest.mark.parametrize("origin", ["empty", "scratch", "0"])
    def test_from_an_empty_tree(self, origin):
        nothing, copy = steps(f"FROM scratch\nFROM scratch\nCOPY --from={origin} / /y")
        assert (nothing, copy.sources) == (MakeDirectory(None, "/"), (Source(0, "."),))


class TestVariables:
    @pytest.mark.parametrize(
        ("text", "build_args", "environment"),
        [
            ("FROM debian\nARG A\nRUN x", {}, ("PATH=/bin",)),
            ("FROM debian\nARG A\nRUN x", {"A": "1"}, ("PATH=/bin", "A=1")),
            ("FROM debian\nARG A=d\nRUN x", {}, ("PATH=/bin", "A=d")),
            ("FROM debian\nARG A=d\nRUN x", {"A": ""}, ("PATH=/bin", "A=")),
            ("FROM debian\nRUN x\nARG A=d", {"A": "1"}, ("PATH=/bin",)),
            ("ARG A=g\nFROM debian\nRUN x", {}, ("PATH=/bin",)),
            ("ARG A=g\nFROM debian\nARG A\nRUN x", {}, ("PATH=/bin", "A=g")),
            ("ARG A=g\nFROM debian\nARG A=d\nRUN x", {}, ("PATH=/bin", "A=d")),
            ("ARG A=g\nFROM debian\nARG A=d\nRUN x", {"A": "1"}, ("PATH=/bin", "A=1")),
            ("ARG A=1\nARG B=${A}2\nFROM debian\nARG B\nRUN x", {}, ("PATH=/bin", "B=12")),
            ("ARG A=1 B=${A}2\nFROM debian\nARG B\nRUN x", {"A": "9"}, ("PATH=/bin", "B=92")),
            ("FROM debian\nARG A=1 B=$A-$C\nRUN x", {}, ("PATH=/bin", "A=1", "B=1-")),
            ("FROM debian\nARG A=1\nENV A=e$A\nRUN x", {"A": "2"}, ("PATH=/bin", "A=e2")),
            ("FROM debian\nENV A=e\nARG A=a\nRUN x", {}, ("PATH=/bin", "A=a")),
            ("FROM debian\nENV A=1\nENV A=2 B=$A\nRUN x", {}, ("PATH=/bin", "A=2", "B=1")),
            ("FROM debian\nARG TARGETPLATFORM\nARG BUILDARCH\nRUN x", {}, None),
        ],
    )
    def test_environment(self, text, build_args, environment):
        wanted = environment or ("PATH=/bin", "TARGETPLATFORM=linux/amd64", "BUILDARCH=amd64")
        assert last(text, build_args=build_args).environment == wanted

    def test_a_stage_goes_on_with_the_arguments_of_its_base(self):
        assert last("FROM debian AS a\nARG A=1\nENV B=2\nFROM a\nRUN x").environment == ("A=1", "PATH=/bin", "B=2")

    def test_an_image_keeps_no_argument(self):
        assert settings("FROM debian\nARG A=1\nENV B=$A").env == ("PATH=/bin", "B=1")

    def test_env_is_replaced_in_its_place(self):
        assert settings("FROM site:1\nENV LANG=de NEW=1\nENV NEW=2").env == ("LANG=de", "PATH=/usr/bin", "NEW=2")

    def test_from_sees_global_arguments_only(self):
        text = "ARG TAG=1\nFROM site:$TAG\nARG TAG=2\nFROM site:${TAG}\nRUN a"
        assert steps(text)[0] == Base(digest("c"), digest("c"))

    def test_proxies_are_no_part_of_the_environment(self):
        step = last("FROM debian\nRUN x", build_args={"http_proxy": "p", "NO_PROXY": "n"})
        assert step.environment == ("PATH=/bin",)
        assert step.proxies == ("HTTP_PROXY=p", "http_proxy=p", "NO_PROXY=n", "no_proxy=n")

    def test_declared_proxies_are(self):
        assert last("FROM debian\nARG http_proxy\nRUN x", build_args={"http_proxy": "p"}).environment == (
            "PATH=/bin",
            "http_proxy=p",
        )

    def test_build_arguments_that_nothing_declares(self):
        text = "ARG GLOBAL\nFROM triggers AS a\nARG VERSION\nFROM a\n"
        given = {"GLOBAL": "", "VERSION": "", "HTTP_PROXY": "", "TARGETARCH": "", "VERSOIN": "", "OTHER": ""}
        found = lowered(text, build_args=given).warnings
        assert [(warning.message, warning.span.line) for warning in found] == [
            ("build argument 'OTHER' is declared by no ARG of the stages that were built", 4),
            (
                "build argument 'VERSOIN' is declared by no ARG of the stages that were built, did you mean VERSION?",
                4,
            ),
        ]


class TestSettings:
    @pytest.mark.parametrize(
        ("text", "fields"),
        [
            ("CMD a b", {"cmd": ("/bin/sh", "-c", "a b"), "args_escaped": True}),
            ('CMD ["a", "b"]', {"cmd": ("a", "b"), "args_escaped": True}),
            ("CMD []", {"cmd": (), "args_escaped": True}),
            ("ENTRYPOINT a", {"entrypoint": ("/bin/sh", "-c", "a"), "cmd": ()}),
            ('CMD ["c"]\nENTRYPOINT ["e"]', {"entrypoint": ("e",), "cmd": ("c",), "args_escaped": True}),
            ("LABEL a=1 b='2 3'\nLABEL a=4", {"labels": {"a": "4", "b": "2 3"}}),
            ("LABEL a b c", {"labels": {"a": "b c"}}),
            ("USER 1:2", {"user": "1:2"}),
            ("STOPSIGNAL SIGINT", {"stop_signal": "SIGINT"}),
            ("STOPSIGNAL rtmin+3", {"stop_signal": "rtmin+3"}),
            ("STOPSIGNAL 9", {"stop_signal": "9"}),
            ('SHELL ["a", "b"]', {"shell": ("a", "b")}),
            ('SHELL ["a", "b"]\nCMD c', {"shell": ("a", "b"), "cmd": ("a", "b", "c"), "args_escaped": True}),
            ("ONBUILD RUN a $b\nONBUILD copy x y", {"on_build": ("RUN a $b", "copy x y")}),
            ("HEALTHCHECK NONE", {"healthcheck": Healthcheck(test=("NONE",))}),
            (
                "HEALTHCHECK --interval=1m --timeout=2s --start-period=3s --start-interval=4s --retries=5 CMD a b",
                {"healthcheck": Healthcheck(("CMD-SHELL", "a b"), 60 * SECOND, 2 * SECOND, 3 * SECOND, 4 * SECOND, 5)},
            ),
            ('HEALTHCHECK CMD ["a", "b"]', {"healthcheck": Healthcheck(("CMD", "a", "b"))}),
        ],
    )
    def test_fields(self, text, fields):
        config = settings(f"FROM debian\n{text}")
        wanted = {"cmd": ("bash",), "entrypoint": (), "args_escaped": False, **fields}
        assert {name: getattr(config, name) for name in wanted} == wanted

    @pytest.mark.parametrize(
        ("text", "ports"),
        [
            ("EXPOSE 80", ["80/tcp"]),
            ("EXPOSE 443 80/UDP 53/sctp", ["443/tcp", "53/sctp", "80/udp"]),
            ("EXPOSE 8000-8002/udp", ["8000/udp", "8001/udp", "8002/udp"]),
            ("EXPOSE 127.0.0.1:8080:80", ["80/tcp"]),
            ('ENV P="80 81"\nEXPOSE $P', ["80/tcp", "81/tcp"]),
            ("EXPOSE 80/", ["80/tcp"]),
        ],
    )
    def test_ports(self, text, ports):
        assert list(settings(f"FROM debian\n{text}").exposed_ports) == ports

    def test_volumes(self):
        assert list(settings('FROM debian\nENV D=/d\nVOLUME /c $D\nVOLUME ["/a b"]').volumes) == ["/a b", "/c", "/d"]

    def test_author(self):
        assert lowered("FROM debian\nMAINTAINER A <a@b>").config.author == "A <a@b>"
        assert lowered("FROM debian").config.author == "them"

    def test_an_entrypoint_keeps_the_cmd_of_its_own_stage_only(self):
        assert settings('FROM debian AS a\nCMD ["c"]\nFROM a\nENTRYPOINT ["e"]').cmd == ()

    def test_labels_of_the_command_line_come_last(self):
        result = lowered("FROM site:1\nLABEL b=2 a=1", labels={"b": "3", "c": "4"})
        assert list(result.config.config.labels.items()) == [("a", "1"), ("b", "3"), ("c", "4"), ("from", "base")]
        assert [entry.created_by for entry in result.config.history] == ["made elsewhere", "LABEL b=2 a=1"]

    def test_scratch(self):
        config = lowered("FROM scratch\nLABEL a=b").config
        assert (config.architecture, config.os) == ("amd64", "linux")
        assert config.config == ContainerConfig(env=(f"PATH={DEFAULT_PATH}",), working_dir="/", labels={"a": "b"})

    def test_the_base_image_is_handed_on_but_for_its_date_layers_and_triggers(self):
        config = lowered("FROM triggers", created="2026-01-01T00:00:00Z").config
        assert (config.created, config.config.on_build, config.rootfs.diff_ids) == ("2026-01-01T00:00:00Z", (), ())


class TestHistory:
    @pytest.mark.parametrize(
        ("text", "entries"),
        [
            ("RUN echo hi", ["* RUN /bin/sh -c echo hi # buildkit"]),
            ('RUN ["a", "b c"]', ["* RUN a b c # buildkit"]),
            ("ARG X=1\nARG Y\nRUN a", ["ARG X=1", "ARG Y", "* RUN |2 X=1 Y= /bin/sh -c a # buildkit"]),
            (
                "ARG X=1\nENV X=2\nARG X=3\nRUN a",
                ["ARG X=1", "ENV X=2", "ARG X=3", "* RUN |1 X=3 /bin/sh -c a # buildkit"],
            ),
            ("RUN <<E\n#!/x\nE", ["* RUN /bin/sh -c /dev/pipes/E # buildkit"]),
            ("COPY --from=site:1 site /srv", ["* COPY site /srv # buildkit"]),
            ("COPY --chmod=755 --chown=1 a b /d/", ["* COPY --chown=1 --chmod=755 a b /d/ # buildkit"]),
            ("ENV A=1\nCOPY $A <<f ./\nx\nf", ["ENV A=1", "* COPY 1 <<f ./ # buildkit"]),
            ("ADD a.tar /", ["* ADD a.tar / # buildkit"]),
            ('ENV A=b C="d e"', ["ENV A=b C=d e"]),
            ("LABEL a=b", ["LABEL a=b"]),
            ("WORKDIR /x", ["* WORKDIR /x"]),
            ("WORKDIR /", ["WORKDIR /"]),
            ('CMD ["a", "b\\"\\n\\u00e9\\u0001"]', ['CMD ["a" "b\\"\\n\u00e9\\x01"]']),
            ("CMD []", ["CMD []"]),
            ("ENTRYPOINT a", ['ENTRYPOINT ["/bin/sh" "-c" "a"]']),
            ("EXPOSE 80 1-2/udp", ["EXPOSE [1/udp 2/udp 80/tcp]"]),
            ("USER a", ["USER a"]),
            ("VOLUME /a /b", ["VOLUME [/a /b]"]),
            ("STOPSIGNAL INT", ["STOPSIGNAL INT"]),
            ('SHELL ["a", "-c"]', ["SHELL [a -c]"]),
            ("MAINTAINER me", ["MAINTAINER me"]),
            ("ONBUILD RUN a", []),
            (
                "HEALTHCHECK --interval=90s --timeout=1500ms --start-period=2h --start-interval=5ms CMD a b",
                [LONG_HEALTHCHECK],
            ),
        ],
    )
    def test_entries(self, text, entries):
        assert created_by(f"FROM debian\n{text}") == entries

    def test_an_entry_in_full(self):
        history = lowered("FROM debian\nENV A=1", created="2026-01-01T00:00:00Z").config.history
        assert history == (
            BASE_HISTORY,
            History(
                created="2026-01-01T00:00:00Z",
                created_by="ENV A=1",
                comment="buildkit.dockerfile.v0",
                empty_layer=True,
            ),
        )

    def test_every_layer_of_the_result_has_its_entry(self):
        text = "FROM debian AS a\nWORKDIR /\nRUN a\nWORKDIR /x\nFROM a\nCOPY a b\nADD c d\nENV a=b\nRUN e"
        result = lowered(text)
        above_the_base = result.graph.steps(result.result)[1:]
        filled = [entry for entry in result.config.history if entry != BASE_HISTORY and not entry.empty_layer]
        assert len(above_the_base) == len(filled) == 5


class TestStages:
    def test_labels_of_a_single_stage(self):
        assert labels("FROM debian\nENV A=1\nWORKDIR $A\nrun make  $A $B 'x'") == [
            "[1/3] FROM docker.io/library/debian:latest",
            "[2/3] WORKDIR 1",
            "[3/3] RUN make  1 $B 'x'",
        ]

    def test_labels_of_several_stages(self):
        assert labels("FROM debian AS a\nRUN x\nFROM a\nRUN <<E\none\ntwo\nE\nCOPY --from=0 a b") == [
            "[a 1/2] FROM docker.io/library/debian:latest",
            "[a 2/2] RUN x",
            "[stage-1 1/2] RUN <<E (one...)",
            "[stage-1 2/2] COPY --from=0 a b",
        ]

    def test_numbers_are_padded(self):
        found = labels("FROM debian\n" + "RUN a\n" * 9)
        assert (found[0][:8], found[-1][:8]) == ("[ 1/10] ", "[10/10] ")

    def test_an_image_to_copy_from_has_no_number(self):
        assert labels("FROM scratch\nCOPY --from=site:1 a b") == [
            "FROM docker.io/library/site:1",
            "[stage-0 1/1] COPY --from=site:1 a b",
        ]

    def test_what_the_target_does_not_need_is_not_looked_up(self):
        text = "FROM nowhere AS a\nRUN a\nFROM debian AS b\nFROM b AS c\nRUN c\nFROM --platform=linux/arm64 nowhere"
        assert len(steps(text, target="c")) == 2

    @pytest.mark.parametrize(("target", "count"), [("one", 2), ("ONE", 2), ("0", 2), ("two", 3), (None, 3), ("", 3)])
    def test_target(self, target, count):
        assert len(steps("FROM debian AS one\nRUN a\nFROM one AS two\nRUN b", target=target)) == count

    def test_the_nearest_earlier_stage_of_a_name_is_meant(self):
        text = "FROM debian AS a\nRUN 1\nFROM a AS a\nRUN 2\nFROM a\nRUN 3"
        assert [step.arguments[-1] for step in steps(text)[1:]] == ["1", "2", "3"]

    def test_equal_steps_are_one(self):
        text = "FROM debian AS a\nRUN x\nFROM debian AS b\nRUN x\nFROM scratch\nCOPY --from=a / /a\nCOPY --from=b / /b"
        assert len(lowered(text).graph.vertices) == 4

    @pytest.mark.parametrize(
        "platform", ["linux/amd64", "$BUILDPLATFORM", "${TARGETPLATFORM}", "amd64", "linux/x86_64"]
    )
    def test_the_own_platform(self, platform):
        assert steps(f"FROM --platform={platform} debian") == [Base(digest("a"), digest("a"))]

    def test_triggers_of_an_image(self):
        text = "FROM triggers\nRUN after"
        assert labels(text)[1:] == ["[2/5] ONBUILD RUN make", "[3/5] ONBUILD COPY . /src", "[4/5] RUN after"]
        assert settings(text).labels == {"built": ""}

    def test_triggers_of_a_stage(self):
        text = "FROM debian AS a\nARG D=/x\nONBUILD WORKDIR $D\nFROM a AS b\nRUN b\nFROM b\nRUN c"
        assert [getattr(step, "path", "") for step in steps(text)] == ["", "/x", "", ""]
        assert settings(text).on_build == ()

    def test_a_trigger_may_copy_from_a_stage_that_nothing_else_needs(self):
        text = "FROM site:1 AS x\nRUN x\nFROM debian AS a\nONBUILD COPY --from=x /a /b\nFROM a"
        assert [type(step) for step in steps(text)] == [Base, Base, Run, Copy]

    def test_a_long_chain_of_stages(self):
        text = "FROM debian AS s0\n" + "".join(f"FROM s{n} AS s{n + 1}\nRUN {n}\n" for n in range(600))
        assert len(steps(text)) == 601


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "line", "column", "words"),
        [
            ("FROM debian\nRUN --device=x a", 2, 5, "--device"),
        ],
    )
    def test_what_is_not_built(self, text, line, column, words):
        with pytest.raises(Unsupported) as caught:
            lowered(text)
        assert (caught.value.file, caught.value.line, caught.value.column) == ("Dockerfile", line, column)
        assert words in caught.value.message

    @pytest.mark.parametrize(
        ("text", "line", "column", "words"),
        [
            ("ARG A\nFROM $A", 2, 6, "'$A' is empty"),
            ("FROM --platform=a/b/c/d debian", 1, 6, "platform 'a/b/c/d'"),
            ("FROM nowhere", 1, 6, "'nowhere' is not in the store"),
            ("FROM debian\nCOPY --from=nowhere a b", 2, 13, "'nowhere' is not in the store"),
            ("FROM debian\nCOPY --from=3 a b", 2, 13, "number of no stage"),
            ("FROM debian\nCOPY --from=0 a b", 1, 1, "needs itself"),
            ("FROM debian AS a\nCOPY --from=b a b\nFROM a AS b", 1, 1, "a needs itself"),
            ("FROM debian AS a\nCOPY --from=b a b\nFROM debian AS b\nFROM a", 2, 13, "not before the stage"),
            ("FROM debian\nCOPY https://a/b /c", 2, 6, "a URL cannot be a source"),
            ("FROM debian\nCOPY --chmod=888 a b", 2, 6, "--chmod=888 is no mode"),
            ("FROM debian\nCOPY --chmod=17777 a b", 2, 6, "--chmod=17777 is no mode"),
            ("FROM debian\nADD --checksum=sha256:1 a b", 2, 5, "--checksum needs a URL"),
            ("FROM debian\nADD --checksum=sha256:1 http://a/b c", 2, 5, "no checksum of a file"),
            ("FROM debian\nADD --checksum=xyz git://a/b c", 2, 5, "no commit"),
            ("FROM debian\nADD --checksum=abc git://a/b git://a/c d/", 2, 5, "single source"),
            ("FROM debian\nADD --checksum=abc git://a/b?commit=abd d/", 2, 20, "but the source says abd"),
            ("FROM debian\nADD --keep-git-dir=false git://a/b?keep-git-dir d/", 2, 26, "the source says otherwise"),
            ("FROM debian\nADD a git://a/b?sbudir=x d/", 2, 7, "unknown 'sbudir'"),
            ("FROM debian\nEXPOSE 80/tpc", 2, 8, "unknown protocol 'tpc'"),
            ("FROM debian\nEXPOSE 65536", 2, 8, "'65536' is no port"),
            ("FROM debian\nEXPOSE 90-80", 2, 8, "'90-80' is no port"),
            ("FROM debian\nEXPOSE x:80", 2, 8, "'x:80' is no port"),
            ("FROM debian\nEXPOSE http", 2, 8, "'http' is no port"),
            ("FROM debian\nSTOPSIGNAL SIGTREM", 2, 12, "unknown signal 'SIGTREM'"),
            ("FROM debian\nSTOPSIGNAL 0", 2, 12, "unknown signal '0'"),
            ("FROM debian\nVOLUME $A", 2, 1, "empty"),
            ("FROM debian\nENV A=${B:?none}", 2, 7, "B: none"),
        ],
    )
    def test_what_is_wrong(self, text, line, column, words):
        with pytest.raises(Invalid) as caught:
            lowered(text)
        assert (caught.value.file, caught.value.line, caught.value.column) == ("Dockerfile", line, column)
        assert words in caught.value.message
        assert not isinstance(caught.value, Unsupported)

    def test_an_unknown_target(self):
        with pytest.raises(Invalid) as caught:
            lowered("FROM debian AS build\nFROM debian AS web", target="biuld")
        assert caught.value.message == "the target stage 'biuld' is not in Dockerfile"
        assert caught.value.hint == "did you mean build?"

    @pytest.mark.parametrize(
        ("text", "hint"),
        [
            (
                "FROM debian AS build\nFROM debian\nCOPY --from=biuld a b",
                "did you mean the stage build? Otherwise: bennu load",
            ),
            ("FROM later\nFROM debian AS later", "the stage later begins later, move it up"),
            ("FROM debian AS a\nFROM b", "bennu load"),
        ],
    )
    def test_a_stage_that_may_have_been_meant(self, text, hint):
        with pytest.raises(Invalid) as caught:
            lowered(text, target="0" if text.startswith("FROM later") else None)
        assert caught.value.hint == hint


def test_stages_know_their_own_steps():
    made = lowered("FROM scratch AS One\nWORKDIR /a\nFROM one\nWORKDIR /b\nWORKDIR /c\n")
    assert made.vertices_of(["one"]) == made.vertices_of(["ONE"]) == made.vertices_of(["0"]) == {0}
    assert made.vertices_of(["1"]) == {1, 2}
    assert made.vertices_of(["one", "1"]) == {0, 1, 2}
    assert made.vertices_of([]) == set()
    with pytest.raises(NotFound) as caught:
        made.vertices_of(["two"])
    assert caught.value.hint == "its stages are one, 1"
