"""Old models come out at the wanted opset with the same outputs."""

import numpy as np
import onnx
import pytest
from onnx import helper, version_converter

from oq.errors import ModelError
from oq.prepare.raise_opset import opset, raise_opset
from tests.small import assert_same_outputs, normal, small

CONSTANTS = {
    "w": normal(4, 3, 3, 3),
    "b": normal(4),
    "scales": np.asarray([1, 1, 2, 2], np.float32),
    "gamma": normal(4, seed=1),
    "beta": normal(4, seed=2),
    "mean": normal(4, seed=3),
    "var": np.abs(normal(4, seed=4)),
}


def old(body: str, version: int) -> onnx.ModelProto:
    text = f"net (float[n,3,6,6] x) => (float[n,c,h,v] y) {{ {body} }}"
    used = {name: values for name, values in CONSTANTS.items() if name in body}
    model = small(text, used, opset=version, ir=4)
    model.opset_import.pop()
    return model


@pytest.mark.parametrize(
    ("body", "version"),
    [
        ("t = Conv(x, w, b)\n y = Dropout<ratio = 0.5>(t)", 7),
        ("t = Conv(x, w, b)\n y = BatchNormalization(t, gamma, beta, mean, var)", 9),
        ("t = Pad<pads = [0,0,1,1,0,0,1,1]>(x)\n y = Conv(t, w)", 10),
        ("y = Clip<min = -0.5, max = 0.5>(x)", 10),
        ('y = Upsample<mode = "nearest">(x, scales)', 9),
        ("t = Squeeze<axes = [0]>(x)\n y = Unsqueeze<axes = [0]>(t)", 11),
        ("y = ReduceSum<axes = [1]>(x)", 11),
    ],
)
def test_raising_to_13_keeps_the_outputs(body: str, version: int) -> None:
    model = old(body, version)
    raised = raise_opset(model, 13)
    assert opset(raised) == 13 and opset(model) == version
    free = 1 if "Squeeze" in body else 2
    before, after = model, raised
    if free == 1:
        for m in (before, after):
            m.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    assert_same_outputs(before, after)


def test_names_and_provenance_survive() -> None:
    model = old("[first] t = Relu(x)\n [last] y = Dropout(t)", 9)
    model.producer_name = "them"
    model.metadata_props.add(key="license", value="MIT")
    raised = raise_opset(model, 13)
    assert raised.producer_name == "them"
    assert [(p.key, p.value) for p in raised.metadata_props] == [("license", "MIT")]
    names = [n.name for n in raised.graph.node]
    assert names[0] == "first" and names[-1] == "last"
    assert [t.name for t in raised.graph.input] == ["x"]


@pytest.mark.parametrize("version", [13, 17, 21])
def test_a_high_enough_model_is_handed_back(version: int) -> None:
    model = old("y = Relu(x)", version)
    assert raise_opset(model, 13) is model


@pytest.mark.parametrize(("body", "version"), [("y = Mystery(x)", 11), ("y = GRU(x, x, x)", 5)])
def test_a_model_that_onnx_cannot_convert(body: str, version: int) -> None:
    said = rf"has opset {version}, the target needs 13, .*; export it again with opset 13 or later"
    with pytest.raises(ModelError, match=said) as caught:
        raise_opset(old(body, version), 13)
    assert "\n" not in str(caught.value)


def test_the_converters_own_error_is_one_of_the_user_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise version_converter.ConvertError("no way\nback")

    monkeypatch.setattr(version_converter, "convert_version", refuse)
    with pytest.raises(ModelError, match=r"cannot convert it \(no way back\)"):
        raise_opset(old("y = Relu(x)", 9), 13)


def test_the_default_domain_has_two_spellings() -> None:
    model = old("y = Relu(x)", 11)
    assert opset(model) == 11
    model.opset_import[0].domain = "ai.onnx"
    model.opset_import.add(domain="com.example", version=99)
    assert opset(model) == 11
    assert opset(onnx.ModelProto()) == 0


def test_a_scan_over_samples_is_refused() -> None:
    """ONNX converts it to one that reads the first axis otherwise, without a word."""
    body = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["c"]), helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [helper.make_tensor_value_info(n, 1, [2]) for n in "ab"],
        [helper.make_tensor_value_info(n, 1, [2]) for n in "cd"],
    )
    scan = helper.make_node("Scan", ["", "x", "y"], ["z", "t"], body=body, num_scan_inputs=1)
    ends = [("x", [1, 2]), ("y", [1, 3, 2])], [("z", [1, 2]), ("t", [1, 3, 2])]
    values = [[helper.make_tensor_value_info(n, 1, s) for n, s in side] for side in ends]
    graph = helper.make_graph([scan], "net", values[0], values[1])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=4)
    assert raise_opset(model, 8) is model
    with pytest.raises(ModelError, match="whose Scan has an axis of samples"):
        raise_opset(model, 13)
