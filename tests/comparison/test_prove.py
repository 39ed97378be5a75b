"""A prepared model that means something else and a file that does not run are bugs, and said so."""

import numpy as np
import onnx
import pytest

from oq.comparison.prove import prove_prepared, prove_written
from oq.model.graph import Graph
from oq.numerics.values import Array
from tests.graphs import Net
from tests.odd_models import boxes
from tests.small import normal, random_feeds, small

FEEDS = {"x": normal(2, 3)}


def scaled(by: float) -> onnx.ModelProto:
    text = "net (float[n,3] x) => (float[n,3] y) { y = Mul(x, by) }"
    return small(text, {"by": np.asarray(by, np.float32)})


def test_another_result_is_a_bug() -> None:
    view = Graph(scaled(1.0)).view()
    prove_prepared(scaled(1.0), scaled(1.001), view, FEEDS)
    with pytest.raises(RuntimeError, match=r"output 'y': SQNR 6\.0 dB on the first"):
        prove_prepared(scaled(1.0), scaled(1.5), view, FEEDS)


def test_a_difference_of_rounding_that_the_model_enlarges_is_no_bug() -> None:
    """Sin(1e7 x) in float32 says nothing of x, whichever way the product is computed."""

    def model(*factors: float) -> onnx.ModelProto:
        steps, last = "", "x"
        for i in range(len(factors)):
            steps += f"p{i} = Mul({last}, c{i}) "
            last = f"p{i}"
        constants = {f"c{i}": np.array(f, np.float32) for i, f in enumerate(factors)}
        return small(f"net (float[n] x) => (float[n] y) {{ {steps} y = Sin({last}) }}", constants)

    once, twice = model(1e7), model(1.7e3, 1e7 / 1.7e3)
    feeds = {"x": np.random.default_rng(0).normal(size=256).astype(np.float32)}
    prove_prepared(once, twice, Graph(once).view(), feeds)
    gentle = model(3.0)
    with pytest.raises(RuntimeError, match="changed its output 'y'"):
        prove_prepared(gentle, model(3.5), Graph(gentle).view(), feeds)


def test_integers_truth_values_and_texts_are_the_same() -> None:
    """Of what follows from floats a few may differ: the largest of two that are nearly equal."""
    text = """net (int64[n] i, float[n] x) => (int64[n] j, bool[n] b, string[n] s, bool[n] f) {{
        j = Add(i, one)
        b = Equal(j, {other})
        s = Cast<to = 8>({other})
        z = Add(x, shift)
        f = Greater(z, {limit})
    }}"""
    one, many = np.asarray(1), np.arange(300)

    def model(other: str, limit: str) -> onnx.ModelProto:
        given = {"one": one, "shift": np.asarray(0.0, np.float32)}
        limits = {name: np.asarray(v, np.float32) for name, v in (("low", 0.0), ("high", 0.5))}
        return small(text.format(other=other, limit=limit), given | limits)

    feeds: dict[str, Array] = {"i": many, "x": np.linspace(0.01, 1, 300, dtype=np.float32)}
    plain = model("i", "low")
    view = Graph(plain).view()
    prove_prepared(plain, model("i", "low"), view, feeds)
    for other, said in ((model("j", "low"), "'b': 300 of 300"), (model("i", "high"), "'f': 1")):
        with pytest.raises(RuntimeError, match=f"changed its output {said}"):
            prove_prepared(plain, other, view, feeds)
    feeds["x"] = np.where(many < 3, np.float32(0.4), feeds["x"] + 1)
    prove_prepared(plain, model("i", "high"), view, feeds)


def test_outputs_sized_by_values_and_random_ones_prove_nothing() -> None:
    model, other = boxes(), boxes()
    prove_prepared(model, other, Graph(model).view(), random_feeds(model))
    noise = small("net (float[n,3] x) => (float[n,3] y) { r = RandomNormalLike(x) y = Add(x, r) }")
    prove_prepared(noise, noise, Graph(noise).view(), FEEDS)


def broken() -> onnx.ModelProto:
    """It loads, and fails when it is run: two constants of other lengths than x has."""
    net = Net()
    net.node("Reshape", [net.input("x", ("n", "m")), net.constant("to", [7, 5], np.int64)], "y")
    return net.model("y")


def test_a_file_that_does_not_run_is_a_bug_where_the_float_model_runs() -> None:
    prove_written(scaled(1.0), scaled(2.0), FEEDS)
    prove_written(scaled(1.0), broken(), None)  # it loads
    prove_written(broken(), broken(), FEEDS)  # the model's fault
    with pytest.raises(RuntimeError, match="oq wrote a file that fails where the float model runs"):
        prove_written(scaled(1.0), broken(), FEEDS)
