"""What is malformed is refused at its place, with the words of ``malformed.txt``."""

from __future__ import annotations

from pathlib import Path

import pytest

from bennu.dockerfile.parser import parse
from bennu.errors import Invalid
from tests.unit.dockerfile.refusals import Refusal, refusals


@pytest.mark.parametrize("case", refusals(Path(__file__).with_name("malformed.txt")), ids=lambda case: case.name)
def test_what_is_malformed_is_refused_at_its_place(case: Refusal):
    with pytest.raises(Invalid) as caught:
        parse(case.text, "Dockerfile")
    case.check(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 1, 1, "no instructions"),
        ("\n\n", 1, 1, "no instructions"),
        ("   \n\t\n", 1, 1, "no instructions"),
        ("FROM scratch\rRUN a\r", 1, 14, "takes an image"),
        ("FROM\xa0scratch\n", 1, 1, "unknown instruction"),
        ("FROM scratch\n\x00RUN a\n", 2, 1, "unknown instruction"),
        ("FROM scratch\n\x1b[2J\n", 2, 1, "unknown instruction"),
        ("FROM scratch\n\ufeffRUN a\n", 2, 1, "unknown instruction"),
        ("FROM scratch\r\nRUNN a\r\n", 2, 1, "unknown instruction 'RUNN'"),
        ("FROM scratch\r\nENV a=b \\\r\n  c\r\n", 3, 3, "no name=value pair"),
        ("\ufeffFORM scratch", 1, 1, "unknown instruction 'FORM'"),
        ("FROM scratch\n  \t\u3000COPPY a b", 2, 5, "unknown instruction 'COPPY'"),
        ("FROM scratch\nLABEL \u65e5=\u672c \u8a9e", 2, 11, "no name=value pair"),
        ("FROM scratch\nRUN --mount=type=cache,target=/" + "x" * 5000 + ",bogus=1 a", 2, 5033, "unknown mount key"),
    ],
)
def test_odd_characters_do_not_move_the_place(text: str, line: int, column: int, message: str):
    with pytest.raises(Invalid, match=message) as caught:
        parse(text, "Dockerfile")
    assert (caught.value.line, caught.value.column) == (line, column)
