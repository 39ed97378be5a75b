"""AMD's DPU as the engine: its arithmetic in integers (:mod:`oq.dpu.simulate`), not its speed.

The deployed reading is what the edge DPU would write; onnxruntime's stays beside it as the literal
one.  A layer counts as integer when a DPU kernel computed it.
"""

from collections import Counter
from collections.abc import Mapping
from typing import cast

import onnx

from oq.dpu.simulate import Simulator
from oq.engines.engine import Engine, Kernels, Loaded
from oq.model.session import Settings


def load(model: onnx.ModelProto, _settings: Settings) -> Simulator:
    """The simulator of ``model``.

    Raises:
        ModelError: a scale is not a power of two.
    """
    return Simulator(model)


def count_kernels(_model: onnx.ModelProto, loaded: Loaded) -> Kernels:
    """What the runs so far computed in integers, and what in float and why."""
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
    """Output -> the real value of one code, for outputs that end in codes."""
    return {n: 2.0**-p for n, p in cast(Simulator, loaded).positions.items()}


ENGINE = Engine("dpu", load, count_kernels, timed=False, steps=steps)
