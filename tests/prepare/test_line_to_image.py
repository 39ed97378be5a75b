"""A 1-D convolution becomes a 2-D one over images of height 1, its activation with it."""

import pytest

from oq.model.graph import Graph
from oq.numerics.values import Array
from oq.prepare.infer_types import infer_types
from oq.prepare.line_to_image import line_to_image
from tests.small import assert_same_outputs, floats, normal, ops, small

CONSTANTS: dict[str, Array] = {
    "w": normal(4, 4, 3, seed=1),
    "two": normal(6, 2, 3, seed=2),
    "back": normal(4, 5, 4, seed=3),
    "b": normal(4, seed=4),
    "image": normal(4, 4, 3, 3, seed=5),
    "high": floats(0.5).reshape(()),
}


def rewritten(body: str, x: str = "2,4,9", y: str = "a,b,c") -> tuple[Graph, int]:
    text = f"net (float[{x}] x) => (float[{y}] y) {{ {body} }}"
    used = {n: v for n, v in CONSTANTS.items() if f"{n})" in body or f"{n}," in body}
    graph = Graph(small(text, used))
    infer_types(graph)
    before = graph.to_model()
    changed = line_to_image(graph).changed
    assert_same_outputs(before, graph.to_model(), rtol=1e-5, atol=1e-5)
    return graph, changed


@pytest.mark.parametrize(
    "body",
    [
        "y = Conv (x, w, b)",
        'y = Conv (x, w, "")',
        "y = Conv <kernel_shape = [3], pads = [2,1], strides = [2], dilations = [2]> (x, w, b)",
        "y = Conv <group = 2> (x, two)",
        'y = Conv <auto_pad = "SAME_UPPER", strides = [2]> (x, w, b)',
        "y = ConvTranspose <strides = [2], output_padding = [1], pads = [1,2]> (x, back)",
    ],
)
def test_a_line_is_an_image_of_height_1(body: str) -> None:
    graph, changed = rewritten(body)
    assert changed == 1
    made = ops(graph.to_model())
    assert made == ["Unsqueeze", body.split()[2].partition("(")[0], "Squeeze"]


def test_kernels_stay_whole_and_keep_their_names() -> None:
    graph, changed = rewritten(
        "[first] a = Conv (x, w, b)\n [relu] r = Relu (a)\n [next] c = Conv (r, w)\n"
        ' [clip] y = Clip (c, "", high)'
    )
    assert changed == 2
    names = [n.name for n in graph.view().nodes if n.op not in {"Unsqueeze", "Squeeze"}]
    assert names == ["first", "relu", "next", "clip"]
    assert ops(graph.to_model()) == ["Unsqueeze", "Conv", "Relu", "Conv", "Clip", "Squeeze"]


def test_a_result_that_others_read_is_given_to_them_as_a_line() -> None:
    graph, changed = rewritten("a = Conv <pads = [1,1]> (x, w)\n r = Relu (a)\n y = Add (r, a)")
    assert changed == 1
    assert ops(graph.to_model()) == ["Unsqueeze", "Conv", "Squeeze", "Relu", "Add"]


@pytest.mark.parametrize(
    ("body", "x", "y"),
    [
        ("y = Conv (x, image)", "2,4,6,6", "a,b,c,d"),
        ("v = Relu (w)\n y = Conv (x, v)", "2,4,9", "a,b,c"),
        ("y = ConvTranspose <output_shape = [12]> (x, back)", "2,4,9", "a,b,c"),
    ],
)
def test_any_other_stays(body: str, x: str, y: str) -> None:
    graph, changed = rewritten(body, x, y)
    assert changed == 0 and "Unsqueeze" not in ops(graph.to_model())
