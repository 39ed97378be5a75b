"""Values that say themselves: text, one line, and a block for notebooks."""

import dataclasses
from typing import ClassVar

import pytest

import oq
from oq.wording import Told
from tests.damaged import X, damaged


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Sized(Told):
    WORDS: ClassVar[str] = "tests.test_wording:lines"

    size: int

    def short(self) -> str:
        return f"{self.size} bytes"


def lines(value: Sized) -> list[str]:
    return ["size <b>", str(value.size)]


def test_text_line_and_block() -> None:
    value = Sized(3)
    assert str(value) == "size <b>\n3"
    assert repr(value) == "<Sized 3 bytes>"
    assert "size &lt;b&gt;\n3" in value._repr_html_()


def test_what_the_api_returns_fits_a_line_of_a_notebook() -> None:
    model = damaged()
    result = oq.quantize(model, "ort", {"x": X}, refine="none")
    values = (result, result.report, result.report.verification, oq.make_plan(model, "ort"))
    for value in (*values, oq.judge(result.model, "ort")):
        assert len(repr(value)) < 200 and "\n" not in repr(value)
        assert str(value).count("\n") > 2


@pytest.mark.parametrize("name", ["quantize", "verify", "deploy", "Result", "OqError"])
def test_completion_shows_the_public_names(name: str) -> None:
    assert name in dir(oq)
    assert "import_module" not in dir(oq)
