"""Predicts, node by node, what a target runs in integers, from the Q/DQ file alone.

The target's rules are matched to the graph (:mod:`oq.planning.matches`), with dequantized
constants read as constants, so that a pair within a chain ends it, as it does in the runtime.  A
match runs in integers if

* its data inputs come from DequantizeLinear, directly or across ops that only move values,
* its weight and, if the rule says so, its constant operands are stored as integers,
* its output goes to a QuantizeLinear, if the rule requires one, and to no other node if the target
  is exclusive,
* and no obstacle of the runtime prevents it (:mod:`oq.checks.obstacles`).

Else it runs in float, and the first condition that fails is the reason.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from oq.checks.dynamic import dynamic_kernels
from oq.checks.float_view import merge_quantizers, read_as_float
from oq.model.cost import macs
from oq.model.operands import data_inputs, weight_input
from oq.model.ops import SHAPE_OPS, only_moves
from oq.model.qdq import (
    DQ,
    PAIR,
    Q,
    block_size,
    codes_dtype,
    dequantized_by,
    pairs,
    quantizers_of,
    same_grid,
    stored,
)
from oq.model.view import GraphView, NodeView
from oq.planning.matches import match_rules
from oq.planning.plan import holds_floats, skip_reason
from oq.planning.target import Match, Output, Place, Target

Runs = Literal["int8", "weights", "float"]
"""In integers; in float with a weight that is stored in blocks of integers; in float."""


@dataclass(frozen=True, slots=True)
class NodeForecast:
    """The prediction for one node.

    ``kernel``: the fused ops it runs with (``Conv+Relu``), "" for a node that only moves values or
    that no rule matches.  ``with_nodes``: the other nodes of that kernel.  ``macs``: per sample,
    None if a shape is unknown.
    """

    node: str
    op: str
    runs: Runs
    kernel: str
    with_nodes: tuple[str, ...]
    reason: str
    macs: int | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """The prediction for every float-valued node, in graph order, and totals.

    ``kernels``: the number of integer compute kernels, ``float_kernels``: the number of nodes and
    fused groups in float (data movement is in neither).  ``weight_kernels``: how many of those read
    weights in blocks; ``weight_macs``: their multiply-accumulates.  ``requantizations``:
    DequantizeLinear -> QuantizeLinear with different scales and only data movement between.
    ``boundaries``: QuantizeLinear and DequantizeLinear nodes that are not part of a kernel: the
    transitions between integers and float, graph inputs and outputs included.
    """

    target: str
    nodes: tuple[NodeForecast, ...]
    kernels: int
    float_kernels: int
    macs: int
    integer_macs: int
    requantizations: int
    boundaries: int
    weight_kernels: int = 0
    weight_macs: int = 0

    @property
    def share(self) -> float:
        """Percentage of the known MACs that run in integers; 0 if there are none."""
        return 100 * self.integer_macs / self.macs if self.macs else 0.0


def forecast(view: GraphView, target: Target) -> Forecast:
    """What ``target``'s runtime runs in integers, and why not the rest."""
    view = merge_quantizers(view)
    plain = read_as_float(view)
    rows = (*target.rules, *target.runtime.rules)
    dynamic = dynamic_kernels(plain) if target.runtime.at_run_time else {}
    taken = dict.fromkeys((n for around in dynamic.values() for n in around), "")
    matches, refusals = match_rules(plain, replace(target, rules=rows), taken, True)
    matches = [m for m in matches if m.anchor.op not in PAIR]
    reading = _Reading(view, target, _moves(target))
    reasons = {m.anchor.name: _why_float(reading, m) for m in matches}
    owner = {n.name: m for m in matches for n in m.members}
    said = {r.node: r.reason for r in refusals}
    entries = tuple(
        f
        for f in (*_dynamic(plain, dynamic), *_node_forecasts(reading, plain, owner, reasons, said))
        if f.node not in taken and (f.node not in dynamic or f.runs == "int8")
    )
    runs = {f.node: f.runs for f in entries}
    computing = [runs.get(m.anchor.name) for m in matches if not _moves_values(m)]
    done = computing.count("int8") + len(dynamic)
    alone = sum(f.node not in owner and f.runs == "float" for f in entries)
    return Forecast(
        target=target.name,
        nodes=entries,
        kernels=done,
        float_kernels=len(computing) + len(dynamic) - done + alone,
        macs=sum(f.macs or 0 for f in entries),
        integer_macs=sum(f.macs or 0 for f in entries if f.runs == "int8"),
        requantizations=sum(1 for _ in _requantized(reading)),
        boundaries=sum(1 for _ in _boundaries(view, runs)),
        weight_kernels=computing.count("weights"),
        weight_macs=sum(f.macs or 0 for f in entries if f.runs == "weights"),
    )


def _dynamic(plain: GraphView, kernels: Mapping[str, tuple[str, ...]]) -> Iterator[NodeForecast]:
    for name, around in kernels.items():
        node = plain.node(name)
        yield NodeForecast(name, node.op, "int8", node.op, around, "", macs(plain, node))


def _node_forecasts(
    reading: "_Reading",
    plain: GraphView,
    owner: Mapping[str, Match],
    reasons: Mapping[str, str | None],
    said: Mapping[str, str],
) -> Iterator[NodeForecast]:
    for node in plain.nodes:
        if node.op in PAIR or node.op in SHAPE_OPS:
            continue
        if not holds_floats(plain, node):
            if _moves_codes(plain, node):
                yield NodeForecast(node.name, node.op, "int8", "", (), "", macs(plain, node))
            continue
        match = owner.get(node.name)
        if match is None:
            why = skip_reason(reading.target, node, said)
            yield NodeForecast(node.name, node.op, "float", "", (), why, macs(plain, node))
            continue
        reason = reasons[match.anchor.name]
        done: Runs = "int8" if _blockwise(reading, match) is None else "weights"
        yield NodeForecast(
            node=node.name,
            op=node.op,
            runs=done if reason is None else "float",
            kernel="" if _moves_values(match) else match.name,
            with_nodes=tuple(n.name for n in match.members if n.name != node.name),
            reason=reason or "",
            macs=macs(plain, node),
        )


# -- what each match meets in the real graph ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reading:
    """The graph and who runs it.  ``moves``: ops across which a Q or DQ travels by itself."""

    view: GraphView
    target: Target
    moves: frozenset[str]

    def source(self, tensor: str) -> NodeView | None:
        """The DequantizeLinear that ``tensor`` comes from, across moves."""
        producer = self.view.producer(tensor)
        while producer is not None and producer.op in self.moves:
            tensor = producer.inputs[0]
            producer = self.view.producer(tensor)
        return dequantized_by(self.view, tensor)

    def readers(self, tensor: str) -> tuple[NodeView, ...]:
        """Who reads the values of ``tensor``, and not only its shape."""
        return tuple(n for n in self.view.consumers(tensor) if n.op not in SHAPE_OPS)

    def sinks(self, tensor: str) -> tuple[NodeView, ...]:
        """The QuantizeLinear nodes that ``tensor`` goes to, across moves that only it feeds."""
        found = quantizers_of(self.view, tensor)
        readers = self.readers(tensor)
        if found or len(readers) != 1 or readers[0].op not in self.moves:
            return found
        return self.sinks(readers[0].outputs[0])


def _moves_values(match: Match) -> bool:
    """Whether the row only moves values: on codes it is not a kernel that computes."""
    united = match.rule.output is Output.UNITED and not match.rule.inputs
    return match.rule.output is Output.SAME or united


def _moves_codes(view: GraphView, node: NodeView) -> bool:
    """Whether ``node`` moves integers that are dequantized behind it (rows of a table)."""
    readers = view.consumers(node.outputs[0]) if node.outputs else ()
    return only_moves(node.op) and any(n.op == DQ for n in readers)


def _moves(target: Target) -> frozenset[str]:
    if target.runtime.moves is not None:
        return frozenset(target.runtime.moves)
    links = [r.ops[0] for r in target.rules if r.output is Output.SAME]
    return frozenset(op for link in links for op in ((link,) if isinstance(link, str) else link))


def _why_float(reading: _Reading, match: Match) -> str | None:
    """None when ``match`` runs in integers, else the first reason why not."""
    steps = (_input_is_float, _weight_is_float, _operand_is_float, _output_is_float)
    for step in steps:
        reason = step(reading, match)
        if reason is not None:
            return reason
    sources = (reading.source(t) for t in data_inputs(match.anchor))
    known = tuple(dq for dq in sources if dq is not None)
    place = Place(reading.view, match, known, reading.sinks(match.output))
    found = (obstacle(place) for obstacle in reading.target.runtime.obstacles)
    return next((r for r in found if r is not None), None)


def _input_is_float(reading: _Reading, match: Match) -> str | None:
    if _moves_values(match):
        return _move_is_float(reading, match)
    if not match.rule.inputs or _blockwise(reading, match) is not None:
        return None
    for tensor in data_inputs(match.anchor):
        if reading.view.is_constant(tensor):
            continue
        dq = reading.source(tensor)
        if dq is None:
            return f"its input {tensor!r} is float: it does not come from a DequantizeLinear"
        dtype = codes_dtype(reading.view, dq)
        if dtype not in reading.target.runtime.codes:
            return f"its input {tensor!r} is {dtype}, for which there is no integer kernel"
    return None


def _move_is_float(reading: _Reading, match: Match) -> str | None:
    """A move runs on codes when a Q or DQ travels across it, or both sides have one grid."""
    node = match.anchor
    sources = [reading.source(t) for t in data_inputs(node)]
    dq, sinks = sources[0], reading.sinks(node.outputs[0])
    if match.rule.output is Output.UNITED:
        known = [s for s in sources if s is not None]
        ends = (*known, *sinks)
        if not all(same_grid(reading.view, ends[0], end) for end in ends):
            return "the scales or zero points around it differ"
        return None if sinks or len(known) == len(sources) else "one of its inputs is float"
    if node.op in reading.moves:
        same = dq is None or all(same_grid(reading.view, dq, q) for q in sinks)
        if (dq is not None or sinks) and same:
            return None
        return (
            "its input and output have different scales or zero points"
            if not same
            else "it is between float nodes"
        )
    if dq is None:
        return f"its input {node.inputs[0]!r} is float: it does not come from a DequantizeLinear"
    if not sinks:
        return f"no QuantizeLinear reads its output {node.outputs[0]!r}"
    same = all(same_grid(reading.view, dq, q) for q in sinks)
    return None if same else "its input and output have different scales or zero points"


def _blockwise(reading: _Reading, match: Match) -> NodeView | None:
    """The DequantizeLinear of a weight in blocks, which the runtime reads beside float data."""
    weight = weight_input(match.anchor)
    dq = None if weight is None else dequantized_by(reading.view, weight)
    return None if dq is None or block_size(dq) is None else dq


def _weight_is_float(reading: _Reading, match: Match) -> str | None:
    weight = weight_input(match.anchor)
    dq = None if weight is None else dequantized_by(reading.view, weight)
    if weight is None:
        return None
    if dq is None and not reading.view.is_constant(weight):
        if not match.rule.inputs or reading.source(weight) is not None:
            return None
        return f"its input {weight!r} is float: it does not come from a DequantizeLinear"
    if dq is None:
        rounds = match.anchor.op in reading.target.runtime.rounds
        if rounds and reading.sinks(match.output):
            return None
        return f"its weight {weight!r} is float"
    dtype = codes_dtype(reading.view, dq)
    runtime = reading.target.runtime
    known = dtype in (runtime.codes if block_size(dq) is None else runtime.blocks)
    return None if known else f"its weight is {dtype}, for which there is no integer kernel"


def _operand_is_float(reading: _Reading, match: Match) -> str | None:
    if not match.rule.constants:
        return None
    operands = [t for n in match.links for t in data_inputs(n) if reading.view.is_constant(t)]
    return f"its constant operand {operands[0]!r} is float" if operands else None


def _output_is_float(reading: _Reading, match: Match) -> str | None:
    output = match.rule.output
    sinks = reading.sinks(match.output)
    codes = reading.target.runtime.codes
    odd = next((d for q in sinks if (d := codes_dtype(reading.view, q)) not in codes), None)
    if odd is not None and output is not Output.FLOAT:
        return f"its output is {odd}, for which there is no integer kernel"
    if output is Output.FLOAT or _moves_values(match):
        return None
    readers = reading.readers(match.output)
    edges = sum(n.reads(match.output) for n in readers) + reading.view.outputs.count(match.output)
    if sinks and (edges == 1 or not reading.target.exclusive):
        return None
    if output is Output.WANTED and not sinks:
        return None
    if not sinks:
        return f"no QuantizeLinear reads its output {match.output!r}"
    ops = sorted(n.op for n in readers if n not in sinks)
    others = ", ".join(ops) or ("a graph output" if len(sinks) == 1 else "a second QuantizeLinear")
    return f"its output {match.output!r} is read by a QuantizeLinear and by {others}"


# -- totals ---------------------------------------------------------------------------------------


def _requantized(reading: _Reading) -> Iterator[NodeView]:
    """QuantizeLinear nodes that only move codes to another grid."""
    for node in pairs(reading.view):
        above = reading.source(node.inputs[0]) if node.op == Q else None
        if above is not None and not same_grid(reading.view, above, node):
            yield node


def _boundaries(view: GraphView, runs: Mapping[str, Runs]) -> Iterator[NodeView]:
    """QuantizeLinear nodes behind float, DequantizeLinear nodes that float nodes read."""
    for node in pairs(view):
        if node.op == Q:
            above = view.producer(node.inputs[0])
            taken = above is not None and (above.op == DQ or runs.get(above.name) == "int8")
            if not taken and not view.is_constant(node.inputs[0]):
                yield node
        elif not stored(view, node):
            readers = view.consumers(node.outputs[0])
            floats = any(n.op != Q and runs.get(n.name) != "int8" for n in readers)
            if floats or node.outputs[0] in view.outputs:
                yield node
