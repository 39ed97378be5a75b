"""The mean of a large image as a mean of means."""

import onnx
import pytest

from oq.model.graph import Graph
from oq.prepare.infer_types import infer_types
from oq.prepare.split_mean import LARGEST, first_window, split_mean
from tests.small import assert_same_outputs, ops, small


def rewritten(height: int, width: int) -> tuple[onnx.ModelProto, onnx.ModelProto, tuple[str, ...]]:
    text = f"net (float[n,3,{height},{width}] x) => (float[n,3,1,1] y)"
    model = small(f"{text} {{ [pool] y = GlobalAveragePool(x) }}")
    graph = Graph(model)
    infer_types(graph)
    outcome = split_mean(graph)
    return model, graph.to_model(), outcome.refusals


@pytest.mark.parametrize(("height", "width", "side"), [(32, 32, 2), (48, 96, 3), (30, 20, 2)])
def test_the_mean_stays(height: int, width: int, side: int) -> None:
    model, made, refusals = rewritten(height, width)
    assert ops(made) == ["AveragePool", "GlobalAveragePool"] and refusals == ()
    attributes = {a.name: list(a.ints) for a in made.graph.node[0].attribute}
    assert attributes == {"kernel_shape": [side, side], "strides": [side, side]}
    assert_same_outputs(model, made, rtol=1e-5, atol=1e-5)


def test_512_values_are_one_mean() -> None:
    _, made, _ = rewritten(16, 32)
    assert ops(made) == ["GlobalAveragePool"]


def test_what_no_square_tiles_stays() -> None:
    _, made, refusals = rewritten(23, 29)
    assert ops(made) == ["GlobalAveragePool"]
    assert refusals == ("GlobalAveragePool 'pool' is kept: no square window tiles 23 x 29",)


@pytest.mark.parametrize("height", range(1, 60))
def test_both_windows_fit(height: int) -> None:
    """Against a search over every window."""
    for width in (height, 2 * height, 56):
        fitting = [
            s
            for s in range(2, 60)
            if not height % s and not width % s and s * s <= LARGEST
            if height * width <= LARGEST * s * s
        ]
        assert first_window(height, width) == (min(fitting) if fitting else None)
