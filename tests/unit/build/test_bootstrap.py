import os
from pathlib import Path

import pytest

from bennu.build import bootstrap
from bennu.build.bootstrap import RECIPE_LABEL, Bootstrap, Recipe, parse_recipe
from bennu.errors import Invalid, Unsupported
from bennu.oci.image_config import ContainerConfig, empty_config
from bennu.oci.platform import Platform


def test_recipes_and_names():
    recipe = parse_recipe("debian:bookworm-slim", packages=("b", "a", "a"), epoch=5)
    assert recipe.text == "debian:bookworm-slim variant=apt package=a package=b epoch=5"
    assert recipe.name.familiar == "debian:bookworm-slim"


@pytest.mark.parametrize("text", ["debian", "debian:", "debian:../x", "debian:-x", "debian:book worm"])
def test_malformed_suites(text):
    with pytest.raises(Invalid):
        parse_recipe(text)


def test_other_distributions_and_packages_that_are_none():
    with pytest.raises(Unsupported, match="fedora"):
        parse_recipe("fedora:40")
    with pytest.raises(Invalid, match="--hook"):
        parse_recipe("debian:bookworm", packages=("--hook",))


def test_the_command(tmp_path):
    recipe = parse_recipe(
        "debian:bookworm-slim", packages=("b", "a"), mirrors=("http://m/debian",), keyring=Path("/k.gpg")
    )
    command = bootstrap._command(recipe, tmp_path, [])
    assert command[:5] == ["mmdebstrap", "--mode=root", "--variant=apt", "--include=a,b", "--keyring=/k.gpg"]
    assert command[-3:] == ["bookworm", str(tmp_path), "http://m/debian"]
    assert "--dpkgopt=path-exclude=/usr/share/man/*" in command


def test_the_environment_is_the_hosts_proxies_and_nothing_else(tmp_path):
    environment = bootstrap._environment({"http_proxy": "p", "SECRET": "x", "PATH": "/bin"}, tmp_path, None)
    assert environment["http_proxy"] == "p"
    assert "SECRET" not in environment
    assert environment["SOURCE_DATE_EPOCH"] == "1577836800"
    assert bootstrap._environment({}, tmp_path, 7)["SOURCE_DATE_EPOCH"] == "7"


def test_installed_packages_are_read_from_dpkgs_list(tmp_path):
    status = tmp_path / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text(
        "Package: b\nStatus: install ok installed\nVersion: 2\nDescription: x\n Package: no\n\n"
        "Package: a\nStatus: install ok installed\nVersion: 1:1\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 3\n"
    )
    assert bootstrap._packages(tmp_path) == ["a=1:1", "b=2"]


def test_what_is_the_moments_and_the_hosts_is_taken_out(tmp_path):
    for directory in (
        "etc/apt",
        "dev/pts",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives",
        "var/lib/dpkg",
        "usr/sbin",
    ):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "etc/hostname").write_text("builder")
    (tmp_path / "dev/fd").symlink_to("/proc/self/fd")
    (tmp_path / "etc/old").touch()
    os.utime(tmp_path / "etc/old", (50, 50))
    bootstrap._settle(tmp_path, 100)
    assert (tmp_path / "etc/hostname").read_text() == ""
    assert list((tmp_path / "dev").iterdir()) == []
    assert (tmp_path / "usr/sbin/policy-rc.d").stat().st_mode & 0o777 == 0o755
    assert not (tmp_path / "var/lib/apt/lists/partial").exists()
    times = {path.lstat().st_mtime for path in tmp_path.rglob("*")} | {tmp_path.stat().st_mtime}
    assert times == {50, 100}


class _Images:
    def __init__(self, labels):
        self.labels = labels

    def find(self, name):
        config = empty_config(Platform("amd64", "linux"))
        import msgspec

        class Found:
            pass

        found = Found()
        found.config = msgspec.structs.replace(config, config=ContainerConfig(labels=self.labels))
        return found if self.labels is not None else None


@pytest.mark.parametrize(
    ("labels", "is_reused"),
    [
        (None, False),
        ({}, True),
        ({RECIPE_LABEL: "debian:bookworm variant=apt"}, True),
        ({RECIPE_LABEL: "other"}, False),
    ],
)
def test_an_image_is_used_again_if_it_was_made_the_same_way_or_elsewhere(labels, is_reused):
    recipe = Recipe(distribution="debian", suite="bookworm")
    found = Bootstrap(None, _Images(labels), None, {}).existing(recipe, recipe.name)
    assert (found is not None) == is_reused
