"""From ``RUN --mount`` to mounts of the graph, and what of them counts in keys."""

import pytest

from bennu.build.graph import CONTENT, Excerpt, Local, Run
from bennu.build.keys import SCRATCH, Read, step_key
from bennu.build.mounts import AgentMount, BindMount, CacheMount, Look, SecretMount, TmpfsMount
from bennu.digest import digest_of
from bennu.dockerfile.mounts import Sharing
from bennu.errors import Invalid
from tests.unit.build.memory_steps import lower_text


def lowered(flags, before="", after="", **build_args):
    made = lower_text(f"{before}FROM debian\n{after}RUN {flags} a", build_args)
    step = made.graph.vertices[made.result].step
    assert isinstance(step, Run)
    return made.graph, step


def mount(flags, **more):
    (found,) = lowered(flags, **more)[1].mounts
    return found


class TestBind:
    def test_of_the_context(self):
        graph, step = lowered("--mount=type=bind,source=src/../lib,target=/x")
        assert step.mounts == (BindMount("/x", step.mounts[0].vertex, CONTENT),)
        excerpt = graph.vertices[step.mounts[0].vertex].step
        assert excerpt == Excerpt(excerpt.vertex, "/lib")
        assert graph.vertices[excerpt.vertex].step == Local()

    def test_one_excerpt_for_all_who_take_the_same(self):
        graph, step = lowered("--mount=target=/x --mount=target=/y,rw --mount=target=/z,source=a")
        first, second, third = step.mounts
        assert first.vertex == second.vertex != third.vertex
        assert second.is_writable
        assert not first.is_writable
        assert [type(vertex.step) for vertex in graph.vertices].count(Excerpt) == 2

    @pytest.mark.parametrize("name", ["tool", "TOOL", "0"])
    def test_of_a_stage(self, name):
        graph, step = lowered(f"--mount=from={name},target=/x", before="FROM alpine AS tool\nRUN make\n")
        (found,) = step.mounts
        assert found.path == "/"
        assert graph.vertices[found.vertex].step.arguments[-1] == "make"

    def test_of_an_image(self):
        graph, step = lowered("--mount=from=alpine,src=/bin,dst=/x")
        assert graph.vertices[step.mounts[0].vertex].label == "FROM docker.io/library/alpine:latest"
        assert step.mounts[0].path == "/bin"

    def test_a_relative_target_begins_at_the_working_directory(self):
        assert mount("--mount=target=./x/", after="WORKDIR /w\n").target == "/w/x"
        assert mount("--mount=source=x", after="WORKDIR /w\n").target == "/w"

    def test_values_take_variables(self):
        assert mount("--mount=target=/$A/${B:-c}", after="ARG A=1\n", A="2").target == "/2/c"


class TestOthers:
    def test_a_cache_is_called_by_its_target(self):
        assert mount("--mount=type=cache,target=/root/.cache/") == CacheMount("/root/.cache", "/root/.cache")
        assert mount("--mount=type=cache,target=c", after="WORKDIR /w\n") == CacheMount("/w/c", "c")

    def test_a_cache_with_everything(self):
        flags = "type=cache,id=$I,target=/c,sharing=locked,ro,mode=0700,uid=1,gid=2"
        expected = CacheMount("/c", "apt", Sharing.LOCKED, is_readonly=True, look=Look(0o700, 1, 2))
        assert mount(f"--mount={flags}", after="ENV I=apt\n") == expected

    def test_a_cache_of_part_of_a_stage_has_its_owner(self):
        found = mount("--mount=type=cache,target=/c,from=alpine,source=/d,uid=5")
        assert (found.path, found.look) == ("/d", None)

    def test_caches_may_have_a_name_space(self):
        assert mount("--mount=type=cache,target=/c", BUILDKIT_CACHE_MOUNT_NS="ci").id == "ci//c"

    def test_tmpfs(self):
        assert mount("--mount=type=tmpfs,target=/t,size=1m") == TmpfsMount("/t", 1 << 20)

    @pytest.mark.parametrize(
        ("flags", "expected"),
        [
            ("id=k", SecretMount("k", "/run/secrets/k")),
            ("id=a/b", SecretMount("a/b", "/run/secrets/b")),
            ("target=/x/k", SecretMount("k", "/x/k")),
            ("source=k,required", SecretMount("k", "/run/secrets/k", is_required=True)),
            ("id=k,env=TOKEN", SecretMount("k", None, env="TOKEN")),
            ("id=k,env=T,target=x,uid=1", SecretMount("k", "/x", env="T", look=Look(0o400, 1, 0))),
        ],
    )
    def test_secrets(self, flags, expected):
        assert mount(f"--mount=type=secret,{flags}") == expected

    def test_agents(self):
        _, step = lowered("--mount=type=ssh --mount=type=ssh,id=k,target=/s,mode=0666,required")
        assert step.mounts == (
            AgentMount("default", "/run/buildkit/ssh_agent.0"),
            AgentMount("k", "/s", is_required=True, look=Look(0o666)),
        )
        assert step.environment[-1] == "SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0"

    def test_a_socket_that_the_file_names_itself_stays(self):
        _, step = lowered("--mount=type=ssh", after="ENV SSH_AUTH_SOCK=/mine\n")
        assert [each for each in step.environment if each.startswith("SSH")] == ["SSH_AUTH_SOCK=/mine"]

    def test_a_label_hides_secrets(self):
        made = lower_text('FROM debian\nENV T=old\nRUN --mount=type=secret,id=k,env=T echo "$T"', {})
        assert made.graph.vertices[made.result].label.endswith('echo "****"')


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--mount=target=/", "is the root"),
        ("--mount=source=x", "is the root"),
        ("--mount=target=/a/..", "is the root"),
        ("--mount=type=cache,target=.", "is the root"),
        ("--mount=type=ssh,source=x", "takes no 'source'"),
        ("--mount=type=secret,id=x,env=", "no name of a variable"),
        ("--mount=from=nowhere,target=/x", "'nowhere' is not in the store"),
        ("--mount=from=7,target=/x", "number of no stage"),
        ("--mount=from=0,target=/x", "needs itself"),
    ],
)
def test_refusals(flags, words):
    with pytest.raises(Invalid) as caught:
        lowered(flags)
    assert words in caught.value.message
    assert caught.value.line is not None


def test_a_stage_below_is_no_source():
    with pytest.raises(Invalid, match="not before the stage"):
        lower_text("FROM debian AS a\nRUN --mount=from=b,target=/x a\nFROM debian AS b\nRUN b\nFROM a", {})


def test_only_stages_that_a_mount_needs_are_built():
    text = "FROM nowhere AS x\nFROM alpine AS a\nRUN one\nFROM debian\nRUN --mount=from=a,target=/x two"
    steps = [vertex.step for vertex in lower_text(text, {}).graph.vertices]
    assert [step.arguments[-1] for step in steps if isinstance(step, Run)] == ["one", "two"]


class TestKeys:
    def key(self, flags, *, content=b"1", is_content=True, **more):
        _, step = lowered(flags, **more)
        vertices = [each.vertex for each in step.mounts if isinstance(each, BindMount | CacheMount)]
        reads = {vertex: Read(digest_of(content), is_content) for vertex in vertices if vertex is not None}
        return step_key(step, SCRATCH, reads).digest

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("--mount=type=cache,id=a,target=/c", "--mount=type=cache,id=b,target=/c"),
            ("--mount=type=cache,id=a,target=/c", "--mount=type=cache,id=a,sharing=locked,target=/c"),
            ("--mount=target=/a,source=x", "--mount=target=/a,source=y"),
            ("--mount=type=tmpfs,target=/a --mount=target=/b", "--mount=target=/b --mount=type=tmpfs,target=/a"),
        ],
    )
    def test_what_does_not_count(self, one, other):
        assert self.key(one) == self.key(other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("", "--mount=type=tmpfs,target=/c"),
            ("--mount=type=cache,target=/c", "--mount=type=cache,id=a,target=/c"),
            ("--mount=type=cache,target=/c", "--mount=type=cache,target=/d"),
            ("--mount=type=cache,target=/c", "--mount=type=cache,target=/c,uid=1"),
            ("--mount=type=secret,id=a", "--mount=type=secret,id=b"),
            ("--mount=type=secret,id=a", "--mount=type=secret,id=a,required"),
            ("--mount=type=secret,id=a", "--mount=type=secret,id=a,env=A"),
            ("--mount=type=secret,id=a", "--mount=type=ssh,id=a"),
            ("--mount=target=/a", "--mount=target=/a,rw"),
            ("--mount=type=tmpfs,target=/a", "--mount=type=tmpfs,target=/a,size=1m"),
            ("--network=none", "--network=host"),
            ("", "--security=insecure"),
        ],
    )
    def test_what_counts(self, one, other):
        assert self.key(one) != self.key(other)

    def test_a_place_counts_only_where_the_content_does_not(self):
        one, other = "--mount=from=alpine,source=/a,target=/x", "--mount=from=alpine,source=/b,target=/x"
        assert self.key(one) == self.key(other)
        assert self.key(one, is_content=False) != self.key(other, is_content=False)
        assert self.key(one) != self.key(one, content=b"2")
