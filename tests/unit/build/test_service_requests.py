"""The build sections of a Compose file as requests."""

from pathlib import Path

import pytest

from bennu.build.graph import Surroundings, Ulimit
from bennu.build.origins import Directory, NamedImage, NoFiles, Repository
from bennu.build.request import BuildRequest
from bennu.build.service_requests import service_request
from bennu.compose import model
from bennu.compose.model import Build
from bennu.errors import Invalid

PROTOTYPE = BuildRequest(context=NoFiles())


def request(prototype=PROTOTYPE, names=("shop-web",), **section):
    return service_request("web", Build(**{"context": "/app", **section}), names, prototype, {})


def test_each_key_arrives():
    made = request(
        args={"A": "1"},
        target="t",
        additional_contexts={"base": "/base", "img": "docker-image://x"},
        entitlements=("security.insecure",),
        extra_hosts={"a": ("1.2.3.4", "::1")},
        labels={"l": "1"},
        network="none",
        no_cache=True,
        no_cache_filter=("one",),
        platforms=("linux/amd64", "linux/arm64"),
        shm_size_bytes=5,
        tags=("other:1", "shop-web"),
        ulimits={"nofile": model.Ulimit(soft=1, hard=2)},
    )
    assert (made.context, made.dockerfile, made.text) == (Path("/app"), Path("/app/Dockerfile"), None)
    assert made.contexts == {"base": Directory("/base"), "img": NamedImage("x")}
    assert [name.familiar for name in made.names] == ["shop-web:latest", "other:1"]
    assert (made.build_args, made.labels, made.target) == ({"A": "1"}, {"l": "1"}, "t")
    assert [str(each) for each in made.platforms] == ["linux/amd64", "linux/arm64"]
    assert (made.use_cache, made.fresh_stages, made.network) == (False, ("one",), "none")
    assert made.allowed == ("security.insecure",)
    assert made.around == Surroundings(
        hosts=(("a", "1.2.3.4"), ("a", "::1")), ulimits=(Ulimit("nofile", 1, 2),), shm_bytes=5
    )


def test_the_command_line_comes_on_top():
    around = Surroundings(hosts=(("b", "2.2.2.2"),), ulimits=(Ulimit("nofile", 7, 7),), shm_bytes=9)
    prototype = BuildRequest(
        context=NoFiles(), build_args={"A": "2"}, labels={"l": "2"}, network="host", around=around, use_cache=False
    )
    made = request(
        prototype,
        args={"A": "1", "B": "1"},
        labels={"l": "1"},
        network="none",
        extra_hosts={"a": ("1.2.3.4",)},
        ulimits={"nofile": model.Ulimit(soft=1, hard=2)},
        shm_size_bytes=5,
    )
    assert (made.build_args, made.labels, made.network) == ({"A": "2", "B": "1"}, {"l": "2"}, "host")
    assert made.around == Surroundings((("a", "1.2.3.4"), ("b", "2.2.2.2")), (Ulimit("nofile", 7, 7),), 9)
    assert not made.use_cache


def test_a_dockerfile_in_the_file_and_a_context_elsewhere():
    made = request(dockerfile_inline="FROM a\n")
    assert (made.text, made.dockerfile) == (b"FROM a\n", None)
    made = request(context="https://example.com/a.git", dockerfile="d/D")
    assert isinstance(made.context, Repository)
    assert made.dockerfile == Path("d/D")


def test_what_cannot_be_names_the_service():
    with pytest.raises(Invalid, match=r"service 'web': .*SSH_AUTH_SOCK"):
        request(ssh=("default",))


def test_no_names_where_none_are_wanted():
    assert request(names=(), tags=("a:1",)).names == ()
