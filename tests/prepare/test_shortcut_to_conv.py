"""A parameter-free shortcut becomes a 1x1 convolution; every other Pad stays."""

from collections import Counter

import numpy as np
import pytest

from oq.model.graph import Graph
from oq.numerics.values import Array
from oq.prepare.infer_types import infer_types
from oq.prepare.outcome import Outcome
from oq.prepare.shortcut_to_conv import MOST_CHANNELS, shortcut_to_conv
from tests.small import assert_same_outputs, ops, small

FAR = 2**31 - 1


def ints(*values: int) -> Array:
    return np.asarray(values, np.int64)


CONSTANTS: dict[str, Array] = {
    "zero": ints(0),
    "zeros": ints(0, 0),
    "one": ints(1),
    "two": ints(2),
    "twos": ints(2, 3),
    "height": ints(2),
    "width": ints(-1),
    "image": ints(2, 3),
    "far": ints(2**63 - 1),
    "fars": ints(FAR, FAR),
    "near": ints(5),
    "channels": ints(0, 2, 0, 0, 0, 3, 0, 0),
    "behind": ints(0, 0, 0, 0, 0, 4, 0, 0),
    "rows": ints(0, 2, 1, 0, 0, 2, 0, 0),
    "crop": ints(0, 2, 0, 0, 0, -1, 0, 0),
    "pair": ints(2, 3),
    "axis": ints(1),
    "nothing": np.asarray(0, np.float32),
    "half": np.asarray(0.5, np.float32),
}
SLICES = (
    "s = Slice(x, zero, far, height, two)\n t = Slice(s, zero, far, width, two)\n"
    "p = Pad(t, channels, nothing)\n y = Add(p, k)"
)


def rewritten(body: str, *, channels: str = "4") -> tuple[Graph, Outcome]:
    text = f"net (float[n,{channels},6,8] x, float[1,1,1,1] k) => (float[n,c,h,w] y) {{ {body} }}"
    graph = Graph(small(text, CONSTANTS, opset=18))
    infer_types(graph)
    before = graph.to_model()
    outcome = shortcut_to_conv(graph)
    if channels == "4":
        assert_same_outputs(before, graph.to_model())
    return graph, outcome


@pytest.mark.parametrize(
    ("body", "strides"),
    [
        (SLICES, [2, 2]),
        (
            "s = Slice(x, zeros, fars, image, twos)\n p = Pad(s, channels)\n y = Add(k, p)",
            [2, 3],
        ),
        ("s = Slice(x, zero, far, height, two)\n p = Pad(s, behind)\n y = Add(p, k)", [2, 1]),
        ("p = Pad(x, pair, nothing, axis)\n y = Add(p, k)", [1, 1]),
        ("r = Relu(x)\n p = Pad(r, channels)\n y = Add(p, p)", [1, 1]),
    ],
)
def test_a_shortcut_is_one_convolution(body: str, strides: list[int]) -> None:
    graph, outcome = rewritten(body)
    assert outcome == Outcome(1)
    view = graph.view()
    conv = next(n for n in view.nodes if n.op == "Conv")
    assert conv.attributes["strides"] == strides
    assert not {"Pad", "Slice"} & {n.op for n in view.nodes}
    # every row of the weight picks one channel or none
    assert set(view.constants[conv.inputs[1]].sum(axis=(1, 2, 3))) == {0.0, 1.0}


@pytest.mark.parametrize(
    "body",
    [
        "p = Pad(x, rows)\n y = Add(p, k)",
        "p = Pad(x, crop)\n y = Add(p, k)",
        "p = Pad(x, channels, half)\n y = Add(p, k)",
        "p = Pad(x, channels, k2)\n y = Add(p, k)\n k2 = Squeeze(k)",
        "p = Pad(x, channels)\n y = Mul(p, k)",
        "y = Pad(x, channels)",
    ],
)
def test_every_other_pad_stays(body: str) -> None:
    if "k2" in body:
        body = "k2 = Squeeze(k)\n " + body.partition("\n k2")[0]
    graph, outcome = rewritten(body)
    assert outcome == Outcome(0)
    assert "Pad" in ops(graph.to_model())


@pytest.mark.parametrize(
    ("slices", "left"),
    [
        ("s = Slice(x, one, far, height, two)\n p = Pad(s, behind)", 1),
        ("s = Slice(x, zero, near, height, two)\n p = Pad(s, behind)", 1),
        ("s = Slice(x, zero, far, axis, two)\n p = Pad(s, behind)", 1),
        ("s = Slice(x, zero, far, height, two)\n p = Pad(s, behind)\n q = Relu(s)", 1),
    ],
)
def test_a_slice_that_no_stride_can_say_stays(slices: str, left: int) -> None:
    graph, outcome = rewritten(f"{slices}\n y = Add(p, k)")
    assert outcome.changed == 1
    expected = Counter({"Slice": left, "Conv": 1, "Add": 1})
    found = Counter(ops(graph.to_model()))
    assert {op: found[op] for op in expected} == expected


@pytest.mark.parametrize("channels", [str(MOST_CHANNELS + 1), "m"])
def test_what_it_would_cost_is_said(channels: str) -> None:
    _, outcome = rewritten("p = Pad(x, channels)\n y = Add(p, k)", channels=channels)
    assert outcome.changed == 0
    assert "the number of its channels is" in outcome.refusals[0]
