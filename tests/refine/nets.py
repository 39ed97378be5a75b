"""Small nets that refinement is tried on, and what is known of them."""

from collections.abc import Callable

import numpy as np
import onnx

from oq.calibration.collect import collect
from oq.calibrators.minmax import MinMax
from oq.emission.solve import solve
from oq.numerics.values import Array, Batch
from oq.planning import registry
from oq.planning.overrides import Overrides
from oq.planning.setup import plan_model, tensors_to_calibrate
from oq.planning.target import Target
from oq.refine.add_biases import add_zero_biases
from oq.refine.subject import Subject
from tests.graphs import CHANNELS, Net


def batches(count: int = 3, *, shift: float = 0.3, seed: int = 7) -> tuple[dict[str, Array], ...]:
    """Images with a mean of ``shift``, 4 per batch."""
    random = np.random.default_rng(seed)
    return tuple(
        {"x": random.normal(shift, 1, (4, CHANNELS, 8, 8)).astype(np.float32)} for _ in range(count)
    )


def separable() -> onnx.ModelProto:
    """Conv, Relu, depthwise Conv, Clip, pointwise Conv, pool, Gemm: channels of uneven size."""
    net = Net()
    first = net.node("Relu", [net.conv(net.input("x"), "a")], "ra")
    net.constants["w_a"] *= np.asarray([4, 1, 0.2, 0.05], np.float32).reshape(-1, 1, 1, 1)
    net.conv(first, "b", group=CHANNELS)
    net.node("Clip", ["b", net.constant("lo", 0.0), net.constant("hi", 6.0)], "cb")
    net.node("Conv", ["cb", net.weight("w_c", 8, CHANNELS, 1, 1), net.weight("b_c", 8)], "c")
    net.constants["w_c"][:, 0] *= 30  # a step so coarse that the other weights shift the mean
    net.node("GlobalAveragePool", [net.node("Relu", ["c"], "rc")], "p")
    net.gemm(net.node("Flatten", ["p"], "f"), "y", features=8)
    return net.model("y")


def residual() -> onnx.ModelProto:
    """A branch around two convolutions, the second of them without a bias."""
    net = Net()
    first = net.node("Relu", [net.conv(net.input("x"), "a")], "ra")
    net.conv(net.node("Relu", [net.conv(first, "b")], "rb"), "c", bias=False)
    net.node("Relu", [net.node("Add", ["c", first], "s")], "rs")
    net.gemm(net.node("Flatten", [net.node("GlobalAveragePool", ["rs"], "p")], "f"), "y")
    return net.model("y")


def linear() -> onnx.ModelProto:
    """MatMul with its bias in an Add, then a Gemm."""
    net = Net()
    net.input("x")
    net.node("MatMul", ["x", net.weight("w_m", 8, 8)], "m")
    net.node("Relu", [net.node("Add", ["m", net.weight("b_m", 8)], "s")], "r")
    net.node("ReduceMean", ["r"], "p", axes=[1, 2], keepdims=0)
    net.gemm("p", "y", features=8)
    return net.model("y", opset=17)


NETS: dict[str, Callable[[], onnx.ModelProto]] = {
    "separable": separable,
    "residual": residual,
    "linear": linear,
}


def subject(
    model: onnx.ModelProto,
    target: str | Target = "ort",
    count: int = 3,
    *,
    samples: tuple[dict[str, Array], ...] | None = None,
    biases: bool = False,
) -> Subject:
    """``model`` between solve and emit, with min-max ranges of its samples (default: batches);
    with ``biases`` every layer has one that can."""
    profile = registry.target(target) if isinstance(target, str) else target
    planned = plan_model(model, profile, Overrides())
    if biases:
        planned, _ = add_zero_biases(planned)
    samples = batches(count) if samples is None else samples
    wanted = tensors_to_calibrate(planned.plan, planned.view)
    statistics = collect(planned.model, wanted, [Batch(s) for s in samples])
    found = solve(planned.plan, planned.view, statistics, MinMax(), legalize=profile.legalize)
    return Subject(
        *(planned.model, planned.view, planned.plan, found, samples), legalize=profile.legalize
    )
