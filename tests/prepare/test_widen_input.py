"""A first layer of few channels gets one of zeros, where integers gain and nothing else changes."""

import numpy as np
import onnx
import pytest

import oq
from oq.model.graph import Graph
from oq.model.session import Session, Settings
from oq.prepare.infer_types import infer_types
from oq.prepare.widen_input import widen_input
from tests.small import assert_same_outputs, normal, ops, small


def net(
    body: str, *, channels: int = 3, window: tuple[int, int] = (3, 3), high: int = 8
) -> onnx.ModelProto:
    text = f"net (float[n,{channels},12,12] x) => (float[n,c,h,w] y) {{ {body} }}"
    constants = {
        "w": normal(high, channels, *window),
        "deep": normal(channels, 1, 3, 3),
        "b": normal(high),
        "half": np.asarray(0.5, np.float32),
    }
    return small(text, constants, opset=18)


def widened(model: onnx.ModelProto) -> Graph:
    graph = Graph(model)
    infer_types(graph)
    before = graph.to_model()
    assert widen_input(graph).changed == ("Pad" in ops(graph.to_model()))
    assert_same_outputs(before, graph.to_model())
    return graph


RESIDUAL = "a = Conv(x, w, b) r = Relu(a) s = Mul(r, half) y = Add(r, s)"


@pytest.mark.parametrize(
    ("channels", "window"), [(1, (3, 3)), (2, (3, 3)), (3, (3, 3)), (3, (5, 5)), (3, (1, 3))]
)
def test_a_first_layer_reads_four_channels(channels: int, window: tuple[int, int]) -> None:
    graph = widened(net(RESIDUAL, channels=channels, window=window))
    pad, conv = graph.view().nodes[:2]
    assert (pad.op, conv.op) == ("Pad", "Conv")
    assert graph.view().shape(conv.inputs[0]) in {None, ("n", 4, 12, 12)}
    weight = graph.view().constants[conv.inputs[1]]
    assert weight.shape == (8, 4, *window)
    assert not weight[:, channels:].any()


@pytest.mark.parametrize(
    ("body", "given"),
    [
        (RESIDUAL, {"channels": 4}),
        (RESIDUAL, {"window": (1, 1)}),
        (RESIDUAL, {"window": (7, 7)}),
        (RESIDUAL, {"channels": 1, "window": (5, 5)}),
        ("a = Conv(x, w, b) y = Conv(a, v)", {}),  # faster in float, so it stays
        ("s = Sigmoid(x) a = Conv(s, w, b) r = Relu(a) y = Add(r, a)", {}),  # codes come in
        ("a = Conv<group=3>(x, deep) r = Relu(a) y = Add(r, a)", {}),
    ],
)
def test_others_stay_as_they_are(body: str, given: dict[str, object]) -> None:
    model = net(body, **given)  # type: ignore[arg-type]
    if "v)" in body:
        model.graph.initializer.append(onnx.numpy_helper.from_array(normal(4, 8, 3, 3), "v"))
    assert "Pad" not in ops(widened(model).to_model())


def test_the_file_gives_the_same_numbers_and_its_range_is_that_of_the_input() -> None:
    data = normal(32, 3, 12, 12)
    plain = oq.quantize(net(RESIDUAL), "ort", data, refine="none", verify=False)
    assert ops(plain.model).count("Pad") == 1
    assert oq.check(plain.model, "ort") == ()
    arm = oq.quantize(
        net(RESIDUAL), "ort", data, settings={"platform": "arm"}, refine="none", verify=False
    )
    assert "Pad" not in ops(arm.model)
    feeds = {"x": data[:4]}
    deployed = Session(plain.model, Settings()).run(feeds)[0]
    # the same grids, 128 codes apart; only int8 weights times uint8 or int8 data
    np.testing.assert_allclose(
        deployed, Session(arm.model, Settings(reading="literal")).run(feeds)[0], atol=1e-5
    )


def test_wishes_and_known_ranges_go_by_the_name_of_the_input(tmp_path: object) -> None:
    data = normal(16, 3, 12, 12)
    result = oq.quantize(
        net(RESIDUAL), "ort", data, calibrator_for=[("x", "max")], refine="none", verify=False
    )
    site = next(s for s in result.report.plan.sites if s.role != "weight" and s.role != "bias")
    assert site.tensor == "x_wide"
    assert getattr(site.spec, "calibrator", None) == "max"
    assert getattr(site.spec, "over", None) == ("x",)
