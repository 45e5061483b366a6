"""What a project is called."""

import pytest

from bennu.compose.naming import project_name
from bennu.errors import Invalid
from tests.unit.compose.support import errors, project


@pytest.mark.parametrize(
    ("directory", "expected"),
    [("/work/shop", "shop"), ("/x/My Shop.2", "myshop2"), ("/x/_-a_b-c", "a_b-c"), ("/x/shop/", "shop")],
)
def test_names_of_directories(directory, expected):
    assert project_name([], {}, directory=directory) == expected


def test_bad_names():
    with pytest.raises(Invalid, match="'My Shop' is not allowed") as caught:
        project_name([], {}, directory="/x", name="My Shop")
    assert caught.value.hint.endswith("myshop")
    with pytest.raises(Invalid, match="gives the project no name"):
        project_name([], {}, directory="/")
    (error,) = errors(project, "name: UP\nservices: {web: {image: x}}\n")
    assert error.where == "f0.yaml:1:7"
