"""Random operators draw as ONNX defines them, and the same in every run that measures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import oq
from oq.model.noise import freeze_noise, gumbel, normal, random_nodes, uniform
from oq.model.session import Session, Settings
from oq.numerics.values import Array
from oq.reporting.verification import verification_lines
from tests.graphs import CHANNELS, Net
from tests.refine.test_run import DATA

ALIVE = Settings(frozen=False)


def drawing(
    op: str, inputs: dict[str, Array], *, opset: int = 15, **attributes: Any
) -> onnx.ModelProto:
    """One random node called ``draw``; of its ``inputs`` ``x`` is fed, the others are constants."""
    node = helper.make_node(op, list(inputs), ["y"], "draw", **attributes)
    fed = [
        helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(v.dtype), None)
        for n, v in inputs.items()
        if n == "x"
    ]
    constants = [numpy_helper.from_array(v, n) for n, v in inputs.items() if n not in {"x", ""}]
    out = [onnx.ValueInfoProto(name="y")]
    graph = helper.make_graph([node], "g", fed, out, constants)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


ONES = np.ones((40, 500), np.float32)
CASES: dict[str, tuple[str, dict[str, Array], dict[str, Any], int]] = {
    "normal": ("RandomNormal", {}, {"shape": [40, 500], "mean": 2.0, "scale": 3.0}, 15),
    "uniform": ("RandomUniform", {}, {"shape": [40, 500], "low": -1.0, "high": 3.0}, 15),
    "normal_like": ("RandomNormalLike", {"x": ONES}, {"mean": 2.0, "scale": 3.0}, 15),
    "uniform_like": ("RandomUniformLike", {"x": ONES}, {"low": -1.0, "high": 3.0}, 15),
    "old": ("RandomNormalLike", {"x": ONES}, {"seed": 3.0}, 9),
    "double": ("RandomUniformLike", {"x": ONES.astype(np.float64)}, {}, 13),
    "as asked": ("RandomNormalLike", {"x": ONES}, {"dtype": TensorProto.DOUBLE}, 15),
    "bernoulli": ("Bernoulli", {"x": ONES * np.float32(0.3)}, {}, 15),
    "integers": ("Bernoulli", {"x": ONES * np.float32(0.3)}, {"dtype": TensorProto.INT32}, 15),
    "dropout": (
        "Dropout",
        {"x": ONES, "ratio": np.asarray(0.25, np.float32), "training": np.asarray(True)},
        {},
        13,
    ),
    "half of it": ("Dropout", {"x": ONES, "": ONES, "training": np.asarray(True)}, {}, 15),
}


@pytest.mark.parametrize("name", CASES)
def test_the_values_are_distributed_as_onnxruntimes(name: str) -> None:
    op, inputs, attributes, opset = CASES[name]
    model = drawing(op, inputs, opset=opset, **attributes)
    feeds = {k: v for k, v in inputs.items() if k == "x"}
    (own,) = Session(model, ALIVE).run(feeds)
    frozen, again = Session(model), Session(model)
    (found,), (second,) = frozen.run(feeds), frozen.run(feeds)
    assert (found.dtype, found.shape) == (own.dtype, own.shape)
    np.testing.assert_array_equal(found, second)
    np.testing.assert_array_equal(found, again.run(feeds)[0])
    # onnxruntime 1.32 has Bernoulli's chances the wrong way round: 1 with 1 - p
    wide = 1 - own.astype(np.float64) if op == "Bernoulli" else own.astype(np.float64)
    spread = max(float(wide.std()), 0.1)
    assert abs(found.astype(np.float64).mean() - wide.mean()) < 5 * spread / np.sqrt(found.size)
    assert found.astype(np.float64).std() == pytest.approx(wide.std(), rel=0.03)
    parts = np.quantile(found.astype(np.float64), [0.05, 0.6, 0.95])
    np.testing.assert_allclose(parts, np.quantile(wide, [0.05, 0.6, 0.95]), atol=0.1 * spread)


def test_classes_are_drawn_by_their_chance() -> None:
    chances = np.asarray([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]], np.float32)
    scores = np.log(chances + np.float32(1e-12))
    model = drawing("Multinomial", {"x": scores}, sample_size=20000, dtype=TensorProto.INT64)
    session = Session(model)
    (found,) = session.run({"x": scores})
    assert found.dtype == np.int64 and found.shape == (2, 20000)
    shares = [[(row == c).mean() for c in range(3)] for row in found]
    np.testing.assert_allclose(shares, chances, atol=0.015)
    np.testing.assert_array_equal(session.run({"x": scores})[0], found)


def test_nodes_and_rows_draw_apart() -> None:
    x = np.zeros((64, 256), np.float32)
    drawn = []
    for name in ("first", "second"):
        model = drawing("RandomNormalLike", {"x": x})
        model.graph.node[0].name = name
        drawn.append(Session(model).run({"x": x})[0])
    both = np.stack([drawn[0].reshape(-1), drawn[1].reshape(-1)])
    assert abs(np.corrcoef(both)[0, 1]) < 0.03
    between = np.corrcoef(drawn[0])
    assert np.abs(between - np.eye(64)).max() < 0.35


@pytest.mark.parametrize(("table", "mean", "spread"), [
    (uniform, 0.5, 12**-0.5), (normal, 0.0, 1.0), (gumbel, 0.57722, np.pi / 6**0.5),
])  # fmt: skip
def test_tables(table: Callable[[], Array], mean: float, spread: float) -> None:
    values = table().astype(np.float64)
    assert np.isfinite(values).all() and values.mean() == pytest.approx(mean, abs=0.01)
    assert values.std() == pytest.approx(spread, rel=0.01)


def test_what_draws_and_what_does_not() -> None:
    no = {"x": ONES, "ratio": np.asarray(0.5, np.float32), "training": np.asarray(False)}
    plain = drawing("Dropout", no)
    assert random_nodes(plain) == () and freeze_noise(plain) is plain
    bare = drawing("Dropout", {"x": ONES})
    assert random_nodes(bare) == ()
    unnamed = drawing("RandomNormalLike", {"x": ONES})
    unnamed.graph.node[0].name = ""
    assert random_nodes(unnamed) == ("RandomNormalLike_y",)
    before = unnamed.SerializeToString()
    assert freeze_noise(unnamed).SerializeToString() != before == unnamed.SerializeToString()


def test_bodies_draw_too() -> None:
    branches = [
        helper.make_graph(
            [helper.make_node("RandomNormalLike", ["x"], [out], name, mean=mean)],
            name, [], [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        )
        for out, name, mean in (("t", "yes", 100.0), ("e", "no", -100.0))
    ]  # fmt: skip
    node = helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4]),
              helper.make_tensor_value_info("c", TensorProto.BOOL, [])]  # fmt: skip
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "g", inputs, out)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert set(random_nodes(model)) == {"yes", "no"}
    session = Session(model)
    for flag, sign in ((True, 1), (False, -1)):
        feeds = {"x": np.zeros((3, 4), np.float32), "c": np.asarray(flag)}
        first, second = session.run(feeds)[0], session.run(feeds)[0]
        np.testing.assert_array_equal(first, second)
        assert (np.sign(first) == sign).all()


def noisy(op: str = "RandomNormalLike", **attributes: Any) -> onnx.ModelProto:
    """Noise on an image, an Identity behind it that oq drops, and two convolutions."""
    net = Net()
    net.input("x")
    net.node(op, ["x"], "drawn", **attributes)
    net.node("Add", ["x", net.node("Identity", ["drawn"], "same")], "z")
    net.node("Relu", [net.conv("z", "a", width=CHANNELS)], "ra")
    net.conv("ra", "y")
    return net.model("y")


@pytest.mark.parametrize("target", ["trt", "coreml", "dpu", "ort"])
def test_a_run_measures_one_draw_and_writes_the_node_as_it_was(target: str) -> None:
    model = noisy()
    first, second = (oq.quantize(model, target, DATA) for _ in range(2))
    assert first.model.SerializeToString() == second.model.SerializeToString()
    found = first.report.verification
    assert found is not None and found.literal.outputs[0].sqnr_db > 20, "one noise for both"
    (node,) = (n for n in first.model.graph.node if n.op_type == "RandomNormalLike")
    (given,) = (n for n in model.graph.node if n.op_type == "RandomNormalLike")
    assert node.name == given.name and node.attribute == given.attribute
    assert not any("oq_noise" in t.name for t in first.model.graph.initializer)
    text = " ".join(str(first.report).split())
    assert text.count("random numbers, drawn by 'n_drawn': while") == 1
    assert "the figures hold for that draw" in text


def test_oq_verify_tells_it_too(tmp_path: Path) -> None:
    model = noisy("RandomUniformLike", low=-1.0)
    made = oq.quantize(model, "ort", DATA, verify=False, refine="none")
    assert any("random numbers, drawn" in n for n in made.report.notes)
    found = [oq.verify(model, made.model, DATA, latency=False) for _ in range(2)]
    assert found[0].literal == found[1].literal and found[0].literal.outputs[0].sqnr_db > 20
    assert "drawn by 'n_drawn'" in " ".join("\n".join(verification_lines(found[0])).split())
