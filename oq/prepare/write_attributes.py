"""Makes default attributes explicit: ``Conv(x, w)`` -> ``Conv(x, w, group=1, strides=[1, 1],
...)``.

ONNX defines defaults, but importers of AMD's compilers require some of these attributes.  A node
with ``auto_pad`` keeps it, and gets no pads.
"""

from collections.abc import Callable, Mapping
from typing import Any

from oq.model.graph import Graph
from oq.model.view import GraphView, NodeView
from oq.prepare.outcome import Outcome

Default = Callable[[int], Any]
"""Number of spatial axes -> the default value in ONNX."""


def _ones(rank: int) -> list[int]:
    return [1] * rank


def _zeros(rank: int) -> list[int]:
    return [0] * rank


def _pads(rank: int) -> list[int]:
    return [0] * (2 * rank)


def _always(value: Any) -> Default:
    return lambda _rank: value


_CONV = {"strides": _ones, "dilations": _ones, "pads": _pads, "group": _always(1)}
_POOL = {"strides": _ones, "pads": _pads, "ceil_mode": _always(0)}
DEFAULTS: Mapping[str, Mapping[str, Default]] = {
    "AveragePool": {**_POOL, "count_include_pad": _always(0)},
    "Conv": _CONV,
    "ConvTranspose": {**_CONV, "output_padding": _zeros},
    "Flatten": {"axis": _always(1)},
    "Gemm": {
        "alpha": _always(1.0),
        "beta": _always(1.0),
        "transA": _always(0),
        "transB": _always(0),
    },
    "HardSigmoid": {"alpha": _always(0.2), "beta": _always(0.5)},
    "LeakyRelu": {"alpha": _always(0.01)},
    "MaxPool": {**_POOL, "dilations": _ones},
}
"""op -> attribute -> default (ONNX operator specification)."""


def write_attributes(graph: Graph) -> Outcome:
    """Add missing attributes to every node of :data:`DEFAULTS`."""
    view = graph.view()
    changed = 0
    for node in view.nodes:
        rows = DEFAULTS.get(node.op)
        if rows is None or node.domain not in {"", "ai.onnx"}:
            continue
        kernel, shaped = _kernel(view, node), "output_shape" in node.attributes
        missing = [n for n in rows if n not in node.attributes]
        if node.attributes.get("auto_pad", "NOTSET") != "NOTSET" or shaped:
            missing = [n for n in missing if n != "pads"]
        if kernel is None and rows.keys() & {"strides"}:
            continue  # how many axes there are is not known
        if kernel is not None and "kernel_shape" not in node.attributes:
            graph.set_attribute(node.name, "kernel_shape", list(kernel))
        for name in missing:
            graph.set_attribute(node.name, name, rows[name](len(kernel or ())))
        changed += bool(missing)
    return Outcome(changed)


def _kernel(view: GraphView, node: NodeView) -> tuple[int, ...] | None:
    """The kernel's sizes by spatial axis; None where there is none or it is not known."""
    if "kernel_shape" in node.attributes:
        return tuple(int(k) for k in node.attributes["kernel_shape"])
    weight = node.input(1)
    if "strides" not in DEFAULTS[node.op] or not view.is_constant(weight):
        return None
    return tuple(int(k) for k in view.constants[weight].shape[2:])
