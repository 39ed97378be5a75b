"""The format ``xmodel``: AMD's XIR graph, which ``vai_c_xir`` compiles for a DPU."""

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from oq.artifacts.xmodel.reader import open_file
from oq.deployment.formats import Format, Given, Made
from oq.deployment.xmodel.placed import NHWC, Placed
from oq.deployment.xmodel.proofs import prove
from oq.deployment.xmodel.rows import translate
from oq.deployment.xmodel.shapes import at_batch_1, static_view
from oq.deployment.xmodel.translation import Translation

SOURCES = frozenset({"const", "data"})
CPU_KINDS = frozenset({"hard-tanh"})
"""Ops that no DPU has, whatever they read."""

COMPILE = "vai_c_xir -x {output} -a arch.json -o compiled -n "
"""AMD's line; arch.json names the DPU and comes from the board (``xdputil query``, or beside its
image)."""


def write(given: Given, path: Path) -> Made:
    """Write the graph at batch 1, and compare what lies there with the Q/DQ file."""
    model = at_batch_1(given.model)
    t = translate(static_view(model))
    path.write_bytes(t.builder.to_bytes(given.name, graph_attributes(t)))
    proofs = prove(model, t, open_file(path), given.samples, given.watch)
    return Made(proofs, dict(_facts(t)), tuple(_notes(t)), f"{COMPILE}{_plain(given.name)}")


def _plain(name: str) -> str:
    """``name`` for the shell, and within a pattern of ``str.format``."""
    return shlex.quote(name).replace("{", "{{").replace("}", "}}")


def _ends(t: Translation) -> tuple[dict[str, Placed], dict[str, Placed]]:
    """Where the inputs and the outputs of the ONNX file stand."""
    inputs = {i.name: t.placed[i.name] for i in t.view.inputs}
    return inputs, {name: t.placed[name] for name in t.view.outputs}


def graph_attributes(t: Translation) -> dict[str, object]:
    """``return_ops`` as AMD's quantizer writes it, and how names and axes of the ONNX file belong
    to ops, for oq's own reader."""
    inputs, outputs = _ends(t)
    ends = tuple(dict.fromkeys(p.op for p in outputs.values()))
    return {
        "return_ops": ends,
        "oq_inputs": tuple(inputs),
        "oq_outputs": tuple(outputs),
        "oq_ops": {name: p.op for name, p in {**inputs, **outputs}.items()},
        "oq_layouts": {name: p.layout for name, p in {**inputs, **outputs}.items()},
    }


def _facts(t: Translation) -> Iterator[tuple[str, str]]:
    inputs, outputs = _ends(t)
    points = {
        op.arguments["input"][0]: point
        for op in t.builder.ops
        if isinstance(point := op.attributes.get("fix_point"), int)
    }
    fed = (f"{name!r} {_shape(p)}, {_fed(points.get(p.op))}" for name, p in inputs.items())
    given = (f"{name!r} as op {p.op}, {_shape(p)}, {_given(p)}" for name, p in outputs.items())
    yield "input", "; ".join(fed)
    yield "output", "; ".join(given)


def _fed(point: int | None) -> str:
    return "float" if point is None else f"int8: value * 2^{point} (fix_point {point})"


def _given(p: Placed) -> str:
    if p.position is None:
        return "float, computed on the CPU"
    return f"int8: value = code * 2^{-p.position} (fix_point {p.position})"


def _shape(p: Placed) -> str:
    shape = "x".join(map(str, p.dims))
    if p.layout == NHWC:
        return f"NHWC {shape}"
    straight = p.layout == tuple(range(len(p.layout)))
    return (
        shape if straight else f"{shape} (axes {','.join(map(str, p.layout))} of the ONNX tensor)"
    )


def _notes(t: Translation) -> Iterator[str]:
    """What runs on the CPU, and which values AMD's tools may not expect."""
    exact = {p.op for p in t.placed.values() if p.exact}
    held = {p.op for p in t.placed.values()}
    in_float = held - exact - {op.name for op in t.builder.ops if op.type in SOURCES}
    on_cpu = Counter(op.type for op in t.builder.ops if op.name in in_float or op.type in CPU_KINDS)
    if on_cpu:
        listed = ", ".join(f"{kind} x {n}" for kind, n in sorted(on_cpu.items()))
        yield f"the CPU runs {listed}; each splits what the DPU runs into parts"
    grouped = sum(op.attributes.get("group", 1) != 1 for op in t.builder.ops)
    if grouped:
        yield f"{grouped} convolutions have groups, which few DPUs run (oq quantize splits them)"


FORMAT = Format(
    name="xmodel",
    summary="XIR graph for AMD's compiler vai_c_xir: Zynq UltraScale+, Kria, VCK190, Alveo",
    suffix=".xmodel",
    target="dpu",
    write=write,
)
