"""Zero padding of the image moves into the convolution; every other padding stays."""

from collections.abc import Mapping

import numpy as np
import onnx
import pytest

from oq.model.graph import Graph
from oq.numerics.values import Array
from oq.prepare.fold_pad import fold_pad
from tests.small import assert_same_outputs, normal, ops, small

PADS = np.asarray([0, 0, 1, 2, 0, 0, 3, 0], np.int64)
CONSTANTS: Mapping[str, Array] = {
    "w": normal(4, 3, 3, 3),
    "p": PADS,
    "nil": np.asarray(0, np.float32),
    "one": np.asarray(1, np.float32),
    "batch": np.asarray([1, 0, 0, 0, 0, 0, 0, 0], np.int64),
    "channel": np.asarray([0, 0, 1, 1, 0, 1, 1, 1], np.int64),
    "crop": np.asarray([0, 0, -1, 1, 0, 0, 1, 1], np.int64),
    "two": np.asarray([1, 1, 1, 1], np.int64),
    "axes": np.asarray([2, 3], np.int64),
}


def model_of(body: str, *, outputs: str = "float[n,4,h,v] y", opset: int = 18) -> onnx.ModelProto:
    text = f"net (float[n,3,7,8] x) => ({outputs}) {{ {body} }}"
    return small(text, CONSTANTS, opset=opset)


@pytest.mark.parametrize(
    ("body", "pads"),
    [
        ("t = Pad(x, p)\n y = Conv(t, w)", [1, 2, 3, 0]),
        ("t = Pad(x, p, nil)\n y = Conv(t, w)", [1, 2, 3, 0]),
        ("t = Pad(x, p)\n y = Conv<pads = [1,0,0,2]>(t, w)", [2, 2, 3, 2]),
        ('t = Pad(x, p)\n y = Conv<auto_pad = "VALID">(t, w)', [1, 2, 3, 0]),
        ("t = Pad(x, p)\n y = Conv<strides = [2,2], dilations = [2,1]>(t, w)", [1, 2, 3, 0]),
    ],
)
def test_folding_keeps_the_outputs(body: str, pads: list[int]) -> None:
    model = model_of(body)
    graph = Graph(model)
    outcome = fold_pad(graph)
    assert (outcome.changed, outcome.refusals) == (1, ())
    made = graph.to_model()
    assert ops(made) == ["Conv"]
    attributes = {a.name: list(a.ints) for a in made.graph.node[0].attribute}
    assert attributes["pads"] == pads
    assert_same_outputs(model, made, rtol=1e-5, atol=1e-5)


def test_one_pad_before_two_convolutions() -> None:
    body = "t = Pad(x, p)\n y = Conv(t, w)\n z = Conv<pads = [1,1,1,1]>(t, w)"
    model = model_of(body, outputs="float[n,4,h,v] y, float[n,4,j,k] z")
    graph = Graph(model)
    assert fold_pad(graph).changed == 1
    assert ops(graph.to_model()) == ["Conv", "Conv"]
    assert_same_outputs(model, graph.to_model(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rank", [3, 5])
def test_sequences_and_volumes(rank: int) -> None:
    free = rank - 2
    amounts = np.asarray([0, 0, *range(1, free + 1)] * 2, np.int64)
    sizes, letters = ",".join(["5"] * free), ",".join("hij"[:free])
    body = "t = Pad(x, p)\n y = Conv(t, w)"
    text = f"net (float[n,3,{sizes}] x) => (float[n,2,{letters}] y) {{ {body} }}"
    model = small(text, {"p": amounts, "w": normal(2, 3, *[2] * free)})
    graph = Graph(model)
    assert fold_pad(graph).changed == 1
    assert_same_outputs(model, graph.to_model(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('[pad] t = Pad<mode = "reflect">(x, p)\n y = Conv(t, w)', "its mode is reflect"),
        ('[pad] t = Pad<mode = "edge">(x, p)\n y = Conv(t, w)', "its mode is edge"),
        ("[pad] t = Pad(x, p, one)\n y = Conv(t, w)", "it pads with a value other than 0"),
        ("[pad] t = Pad(x, two, , axes)\n y = Conv(t, w)", "it names its axes"),
        ("[pad] t = Pad(x, batch)\n y = Conv(t, w)", "it pads the batch or channel axis"),
        ("[pad] t = Pad(x, crop)\n y = Conv(t, w)", "it crops"),
        (
            '[pad] t = Pad(x, p)\n [c] y = Conv<auto_pad = "SAME_UPPER">(t, w)',
            "Conv 'c' has auto_pad=SAME_UPPER",
        ),
        (
            "[pad] t = Pad(x, p)\n u = Conv(t, w)\n [r] v = ReduceMax(t)\n y = Add(u, v)",
            "ReduceMax 'r' reads it too",
        ),
    ],
)
def test_refusals(body: str, reason: str) -> None:
    model = model_of(body)
    graph = Graph(model)
    outcome = fold_pad(graph)
    assert outcome.changed == 0
    assert outcome.refusals == (f"Pad 'pad' is kept: {reason}",)
    assert_same_outputs(model, graph.to_model())


def test_padding_of_channels_is_refused() -> None:
    text = "net (float[n,1,7,8] x) => (float[n,4,h,v] y) { [pad] t = Pad(x, c)\n y = Conv(t, w) }"
    channels = np.asarray([0, 1, 0, 0, 0, 1, 0, 0], np.int64)
    model = small(text, {"c": channels, "w": normal(4, 3, 3, 3)})
    graph = Graph(model)
    assert fold_pad(graph).refusals == ("Pad 'pad' is kept: it pads the batch or channel axis",)
    assert_same_outputs(model, graph.to_model())


@pytest.mark.parametrize(
    ("call", "what"),
    [
        ("Pad(x, q)", "amounts 'q'"),
        ("Pad(x, p, v)", "value 'v'"),
        ("Pad(x, two, , a)", "axes 'a'"),
    ],
)
def test_what_is_computed_at_run_time_is_refused(call: str, what: str) -> None:
    text = f"""net (float[n,3,7,8] x, int64[8] q, float v, int64[2] a) => (float[n,4,h,w] y) {{
        [pad] t = {call}
        y = Conv(t, w)
    }}"""
    graph = Graph(small(text, CONSTANTS, opset=18))
    refusal = f"Pad 'pad' is kept: its {what} are computed at run time"
    assert fold_pad(graph).refusals == (refusal,)
    assert ops(graph.to_model()) == ["Pad", "Conv"]


def test_a_pad_that_is_a_graph_output_is_refused() -> None:
    body = "[pad] t = Pad(x, p)\n y = Conv(t, w)"
    model = model_of(body, outputs="float[n,4,h,v] y, float[n,3,j,k] t")
    graph = Graph(model)
    assert fold_pad(graph).refusals == ("Pad 'pad' is kept: it is a graph output",)
    assert_same_outputs(model, graph.to_model())


def test_a_pad_before_no_convolution_is_none_of_its_business() -> None:
    model = small(
        "net (float[n,3,7,8] x) => (float[n,3,h,v] y) { t = Pad(x, p)\n y = Relu(t) }", CONSTANTS
    )
    outcome = fold_pad(Graph(model))
    assert (outcome.changed, outcome.refusals) == (0, ())
