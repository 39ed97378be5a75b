"""Networks that the DPU ran in part, whole: pre-activation, groups, and a large last mean."""

import numpy as np
import onnx

import oq
from tests.graphs import Net

SIDE = 32


def pre_activation() -> onnx.ModelProto:
    """Two dense layers (Huang et al. 2017), one in four groups, and the mean of 32 x 32 values."""
    net, random = Net(), np.random.default_rng(0)
    stem = [net.input("x", ("n", 8, SIDE, SIDE)), net.weight("w_stem", 16, 8, 3, 3)]
    here = net.node("Conv", stem, "stem", pads=[1, 1, 1, 1])
    for step in range(2):
        channels = 16 * (step + 1)
        names = [
            net.constant(f"{what}_{step}", values.astype(np.float32))
            for what, values in (
                ("gamma", random.uniform(0.5, 1.5, channels)),
                ("beta", random.normal(0, 0.3, channels)),
                ("mean", random.normal(0, 0.3, channels)),
                ("variance", random.uniform(0.3, 2, channels)),
            )
        ]
        norm = net.node("BatchNormalization", [here, *names], f"norm_{step}")
        real = net.node("Relu", [norm], f"real_{step}")
        weight = net.weight(f"w_{step}", 16, channels // 4, 3, 3)
        grown = net.node("Conv", [real, weight], f"grown_{step}", group=4, pads=[1, 1, 1, 1])
        here = net.node("Concat", [here, grown], f"joined_{step}", axis=1)
    return net.model(net.node("GlobalAveragePool", [here], "mean"))


def test_it_runs_whole() -> None:
    result = oq.quantize(pre_activation(), "dpu", "random", samples=16, refine="none")
    plan, found = result.report.plan, result.report.verification
    assert plan.skips == ()
    ops = [op for g in plan.groups for op in g.ops]
    assert ops.count("Conv") == 1 + 2 + 2 * 4
    assert ops.count("AveragePool") == ops.count("GlobalAveragePool") == 1
    assert found is not None and found.engine == "dpu"
    assert found.literal.outputs[0].sqnr_db > 25
    assert found.deployed.outputs[0].sqnr_db > 25
