"""Values that say themselves: text, one line, and a block for notebooks."""

import dataclasses
from typing import ClassVar

import pytest

import oq
from oq.errors import ModelError, shorten
from oq.wording import Told, printable
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


def test_words_that_are_too_long_are_cut_in_the_middle_and_paths_are_not() -> None:
    name, path = "layer_" + 3000 * "x" + "_7", "/folder" + 60 * "/part" + "/model.onnx"
    said = str(ModelError(f"tensor {name!r} of {path!r} is not there"))
    assert said.startswith("tensor 'layer_xxx") and said.endswith(f"x_7' of {path!r} is not there")
    assert len(said) < len(path) + 120
    assert printable(f"  {name}") == "  " + shorten(name) and len(shorten(name)) < 80
    assert printable(f"oq quantize --keep-float {name}").endswith(name)  # it is copied
    short = "model/encoder/block_11/attention/query/kernel_quantized_DequantizeLinear"
    assert shorten(short * 2) == short * 2
