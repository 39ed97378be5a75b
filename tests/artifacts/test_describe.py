"""One screen, whatever a file holds."""

from oq.artifacts.artifact import Contents, GridUse
from oq.artifacts.describe import contents_lines
from oq.numerics.values import TensorInfo


def text(found: Contents) -> list[str]:
    return list(contents_lines("m.onnx", found))


def test_tensors_of_one_kind_are_one_row_with_the_ends_of_their_grids() -> None:
    found = Contents(
        "onnx",
        1234,
        weights=(
            GridUse("a", "int8", (0.5, 2.0), (0, 0), 8),
            GridUse("b", "int8", (0.25, 1.0), (-3, 0), 8),
            GridUse("c", "uint4", (1.0, 1.0), (8, 8), 6, block=32),
            GridUse("d", "int8", None, None),
        ),
    )
    said = text(found)
    assert "weights     2 int8 per channel (16 scales), scales 0.25 to 2," in said
    assert "            zero points -3 to 0" in said
    assert "            1 uint4 in blocks of 32 (6 scales), scales 1, zero points 8" in said
    assert "            1 int8 with computed scales" in said
    assert "activations none quantized" in said
    assert said[0] == "file        m.onnx: onnx, 1,234 bytes"


def test_a_large_model_still_fits_a_screen() -> None:
    found = Contents(
        "onnx",
        10**9,
        facts={"metadata": "word " * 500, "oq.data": "sha256:" + "0123456789abcdef" * 4},
        inputs=tuple(TensorInfo(f"past_{i}", "float32", ("n", 2, None)) for i in range(60)),
        ops={f"com.example.Operator{i}": i for i in range(1, 101)},
    )
    said = text(found)
    assert len(said) <= 40 and max(map(len, said)) <= 80
    assert any("past_4 float32 [n, 2, ?]" in line for line in said)
    assert "            and 55 more" in said
    assert "made by oq  data sha256:01234567" in said
    rest = sum(range(1, 77))
    assert f"and {rest} of 76 more kinds" in " ".join(" ".join(said).split())
