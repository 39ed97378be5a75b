"""Findings and forecast for a Q/DQ file from any tool."""

from dataclasses import dataclass, replace
from typing import ClassVar

import onnx

from oq.checks.forecast import Forecast, forecast
from oq.checks.legal import check
from oq.checks.unpack_blocks import unpack_blocks
from oq.checks.unpack_qoperators import unpack_qoperators
from oq.errors import ModelError
from oq.model.graph import Graph
from oq.model.halves import in_single
from oq.model.metadata import target_of
from oq.model.submodels import bodies
from oq.model.view import GraphView
from oq.planning.check import Finding
from oq.planning.target import Target
from oq.prepare.infer_types import infer_types, infer_with_onnx
from oq.prepare.order import QUANTIZED
from oq.wording import Told, counted

OUTERMOST = frozenset({"output-is-float"})
"""Checks of model outputs, which do not apply to the outputs of subgraphs."""


@dataclass(frozen=True, slots=True, repr=False)
class Judgement(Told):
    """``findings`` and the forecast of the main graph and of every subgraph (If, Loop, Scan).

    A name inside a subgraph is prefixed by the path to it: ``loop/body/conv``.
    """

    WORDS: ClassVar[str] = "oq.checks.describe:judgement_lines"

    target: str
    findings: tuple[Finding, ...]
    forecast: Forecast

    def short(self) -> str:
        """Findings by severity, and integer kernels."""
        errors = sum(f.severity == "error" for f in self.findings)
        found = f"{counted(errors, 'error')}, {counted(len(self.findings) - errors, 'warning')}"
        return f"{self.target}: {found}, {counted(self.forecast.kernels, 'integer kernel')}"


def judge(model: onnx.ModelProto, target: Target) -> Judgement:
    """Findings and forecast for ``model``, from any tool, on ``target``.

    A file of oq in which nothing is quantized is legal: all of it runs in float.

    Raises:
        ModelError: a model that oq did not write is not quantized at all.
    """
    model = in_single(model)
    inner = list(bodies(model))
    quantized = any(is_quantized(m.graph) for m in (model, *(b.model for b in inner)))
    if not quantized and target_of(model) is None:
        raise ModelError(
            "the model holds no Q/DQ: it is a float model, and there is nothing to check; "
            "quantize it first (oq quantize)"
        )
    view = _typed(model, target)
    findings, whole = list(check(view, target)), forecast(view, target)
    for body in inner:
        view = _typed(body.model, target, runs=False)
        findings += [
            replace(f, node=f"{body.path}{f.node}")
            for f in check(view, target)
            if f.check not in OUTERMOST
        ]
        whole = _joined(whole, forecast(view, target), body.path)
    return Judgement(target.name, tuple(findings), whole)


def is_quantized(graph: onnx.GraphProto) -> bool:
    return any(n.op_type in QUANTIZED for n in graph.node)


def _typed(model: onnx.ModelProto, target: Target, *, runs: bool = True) -> GraphView:
    """The graph with the types that can be inferred; a broken file keeps those it states."""
    graph = Graph(model)
    try:
        if runs:
            infer_types(graph)
    except ModelError:  # onnxruntime refuses the file; the checks say more of why
        graph, runs = Graph(model), False
    if not runs:
        infer_with_onnx(graph)
    if target.runtime.packed:
        unpack_blocks(graph)
        unpack_qoperators(graph)
    return graph.view()


def _joined(whole: Forecast, body: Forecast, path: str) -> Forecast:
    nodes = (
        replace(
            entry,
            node=f"{path}{entry.node}",
            with_nodes=tuple(f"{path}{n}" for n in entry.with_nodes),
        )
        for entry in body.nodes
    )
    return Forecast(
        target=whole.target,
        nodes=(*whole.nodes, *nodes),
        kernels=whole.kernels + body.kernels,
        float_kernels=whole.float_kernels + body.float_kernels,
        macs=whole.macs + body.macs,
        integer_macs=whole.integer_macs + body.integer_macs,
        requantizations=whole.requantizations + body.requantizations,
        boundaries=whole.boundaries + body.boundaries,
        weight_kernels=whole.weight_kernels + body.weight_kernels,
        weight_macs=whole.weight_macs + body.weight_macs,
    )
