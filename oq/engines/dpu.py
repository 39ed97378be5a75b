"""The DPU simulator as an engine (:mod:`oq.dpu.simulate`): it has no latency.

The deployed mode is the output of the edge DPU; the literal one is onnxruntime's.  A layer counts
as integer if a DPU kernel computed it.
"""

from collections import Counter
from collections.abc import Mapping
from typing import cast

import onnx

from oq.dpu.simulate import Simulator
from oq.dpu.walk import DeviceWalk
from oq.engines.engine import Engine, Kernels, Loaded
from oq.model.session import Settings


def load(model: onnx.ModelProto, _settings: Settings) -> Simulator:
    """The simulator of ``model``.

    Raises:
        ModelError: a scale is not a power of two.
    """
    return Simulator(model)


def count_kernels(_model: onnx.ModelProto, loaded: Loaded) -> Kernels:
    """The layers computed in integers in the runs so far, and those in float with the reason."""
    simulator = cast(Simulator, loaded)
    inside, outside = simulator.computed, simulator.floats
    ops = Counter(op for op in inside.values())
    left = Counter(outside.values())
    return Kernels(
        integer=len(inside),
        floating=len(outside),
        ops=dict(sorted(ops.items())),
        counted="nodes",
        left=tuple(f"{n} x {reason}" for reason, n in sorted(left.items())),
    )


def steps(loaded: Loaded) -> Mapping[str, float]:
    """Output -> its scale, for quantized outputs."""
    return {n: 2.0**-p for n, p in cast(Simulator, loaded).positions.items()}


ENGINE = Engine("dpu", load, count_kernels, timed=False, steps=steps, walk=DeviceWalk)
