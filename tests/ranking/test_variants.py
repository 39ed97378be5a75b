"""Parts of a plan: what an empty one, a whole one and a broken one do."""

import math

import numpy as np
import onnx
import pytest

from oq.calibrators.minmax import CALIBRATOR
from oq.emission.solve import Solution, solve
from oq.errors import DataError
from oq.numerics.statistics import observe
from oq.numerics.values import Array, Batch
from oq.planning import registry
from oq.planning.overrides import Overrides
from oq.planning.setup import plan_model
from oq.planning.spec import Plan, key
from oq.ranking.variants import Bench, Effect, Part, Variant, open_bench
from tests.graphs import Net

X = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
BATCHES = [Batch({"x": X[:8]}), Batch({"x": X[8:]})]


def product() -> tuple[onnx.ModelProto, Plan, Solution, Array]:
    """One MatMul for trt, calibrated on X."""
    net = Net()
    weight = net.weight("w", 4, 3)
    model = net.model(net.node("MatMul", [net.input("x", ("n", 4)), weight], "y"))
    planned = plan_model(model, registry.target("trt"), Overrides())
    solution = solve(planned.plan, planned.view, {"x": observe(X)}, CALIBRATOR())
    return planned.model, planned.plan, solution, net.constants["w"]


def rounded(values: Array, axis: int | None) -> Array:
    """NumPy's own symmetric int8 (numbers, not codes)."""
    reach = np.abs(values).max() if axis is None else np.abs(values).max(axis=0)
    step = (reach / 127).astype(np.float32)
    return np.asarray(np.rint(values / step) * step, np.float32)


def test_each_side_is_numpys_error() -> None:
    model, plan, solution, w = product()
    parts = {s.role: Part(s, key(s)) for s in plan.sites}
    both = tuple(parts.values())
    variants = [
        Variant(()),
        Variant((parts["weight"],), "y"),
        Variant((parts["activation"],)),
        Variant(both),
    ]
    with open_bench(model, plan, solution, BATCHES) as bench:
        effects = bench.run(variants)
    exact = X @ w
    found = [X @ w, X @ rounded(w, 0), rounded(X, None) @ w, rounded(X, None) @ rounded(w, 0)]
    for effect, values in zip(effects, found, strict=True):
        expected = float(((exact - values) ** 2).sum() / (exact**2).sum())
        assert effect.error == pytest.approx(expected, rel=1e-3, abs=1e-12)
        agree = 100 * float((exact.argmax(axis=1) == values.argmax(axis=1)).mean())
        assert effect.agreement == pytest.approx(agree)
    assert effects[0] == Effect(0.0, None, 100.0)
    assert effects[1].local == effects[1].error, "the local tensor is the output"


def test_tasks_and_order_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    model, plan, solution, _ = product()
    parts = [Part(s, key(s)) for s in plan.sites]
    variants = [Variant(()), Variant((parts[0],)), Variant((parts[1],)), Variant(tuple(parts))]
    done: list[int] = []

    def run(bench: Bench) -> list[Effect]:
        return bench.run(variants, done.append)

    with open_bench(model, plan, solution, BATCHES) as bench:
        together = run(bench)
        monkeypatch.setattr("oq.ranking.variants.TASK_VARIANTS", 1)
        assert run(bench) == together
        assert bench.run(variants[::-1]) == together[::-1]
    assert done == [4, 1, 2, 3, 4]


def test_an_error_that_is_not_finite_is_infinite() -> None:
    """The small weight rounds to 0, whose logarithm the float model never takes."""
    net = Net()
    net.constant("w", [[1000.0], [0.001]])
    net.node("Log", [net.node("MatMul", [net.input("x", ("n", 2)), "w"], "m")], "y")
    planned = plan_model(net.model("y"), registry.target("trt"), Overrides())
    x = np.asarray([[0.0, 2.0], [0.0, 1.0]], np.float32)
    solution = solve(planned.plan, planned.view, {"x": observe(x)}, CALIBRATOR())
    parts = tuple(Part(s, key(s)) for s in planned.plan.sites)
    with open_bench(planned.model, planned.plan, solution, [Batch({"x": x})]) as bench:
        (effect,) = bench.run([Variant(parts)])
    assert effect.error == math.inf


def test_no_samples() -> None:
    model, plan, solution, _ = product()
    with (
        pytest.raises(DataError, match="no samples to try variants on"),
        open_bench(model, plan, solution, []),
    ):
        pass
