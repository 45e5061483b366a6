import pytest

from bennu.deploy.states import NEXT, State
from tests.vm import image, story
from tests.vm.main import _parser

DEBIAN = "ID=debian\nVERSION_CODENAME=bookworm\n"
SOURCES = "deb http://mirror.example/debian bookworm main\ndeb http://other.example/tools bookworm main\n"


def test_the_disk_is_of_the_hosts_release_and_mirrors():
    recipe = image.recipe_of(DEBIAN, [SOURCES])
    assert recipe.suite == "bookworm"
    assert recipe.sources == ("deb http://mirror.example/debian bookworm main",)


def test_its_digest_says_what_it_is_made_from():
    recipe = image.recipe_of(DEBIAN, [SOURCES])
    assert recipe.digest == image.recipe_of(DEBIAN, [SOURCES]).digest
    assert recipe.digest != image.Recipe("trixie", recipe.sources).digest
    assert recipe.digest != image.Recipe(recipe.suite, recipe.sources, ("systemd",)).digest


def test_other_hosts_are_refused():
    with pytest.raises(ValueError, match="no Debian"):
        image.recipe_of("ID=fedora\nVERSION_CODENAME=x\n", [SOURCES])
    with pytest.raises(ValueError, match="nothing for 'trixie'"):
        image.recipe_of(DEBIAN.replace("bookworm", "trixie"), [SOURCES])


def test_the_smaller_case_has_all_steps_and_fewer_cuts():
    whole, small = (list(map(story.title, story.steps(whole=each))) for each in (True, False))
    assert set(small) < set(whole)
    assert sum("power fails" in each for each in small) == story.FEW_CUTS
    assert [each for each in small if "power fails" not in each] == [
        each for each in whole if "power fails" not in each
    ]


def test_only_some_steps_come_with_what_they_need():
    some = list(map(story.title, story.steps(whole=True, only="brings it back")))
    assert some[: len(story.FIRST)] == list(map(story.title, story.FIRST))
    assert some[len(story.FIRST) :] == ["a reboot brings it back", "it goes without a trace"]


def test_the_power_fails_in_states_that_there_are():
    assert {State[state] for state, _, _ in story.CUTS} <= NEXT.keys()


def test_the_flags():
    assert _parser().parse_args(["--whole", "--only", "x"]).only == "x"
