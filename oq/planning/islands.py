"""Kernels with no layer near them: in integers they only lose accuracy.

An Add or a pooling computes no faster in int8 than a QuantizeLinear before it and a
DequantizeLinear behind it cost.  It is worth a grid where a layer with weights, or a product of
matrices, gives it integers or takes them.
"""

from collections.abc import Iterable, Sequence

from oq.model.operands import data_inputs
from oq.model.ops import has_weight
from oq.model.view import GraphView
from oq.planning.spec import Refusal
from oq.planning.target import Match, Output

ALONE = "no convolution or matrix product gives it integers or reads them, so int8 gains nothing"


def drop_islands(view: GraphView, matches: Sequence[Match]) -> tuple[list[Match], list[Refusal]]:
    """``matches`` without those that no chain of matches, each reading what another computes,
    connects to one with weights; and the reason for each of these.

    Ops that only move values stay: without a neighbour they get no grid by themselves.
    """
    owner = {n.name: i for i, m in enumerate(matches) for n in m.members}
    near: list[set[int]] = [set() for _ in matches]
    for here, match in enumerate(matches):
        for tensor in _reads(match):
            producer = view.producer(tensor)
            source = None if producer is None else owner.get(producer.name)
            if source is not None:
                near[here].add(source)
                near[source].add(here)
    queue = [i for i, m in enumerate(matches) if _profits(m)]
    reached = set(queue)
    while queue:
        found = near[queue.pop()] - reached
        reached |= found
        queue += found
    reached |= {i for i, m in enumerate(matches) if m.rule.output is Output.SAME}
    alone = [m for i, m in enumerate(matches) if i not in reached]
    refusals = [Refusal(n.name, m.name, ALONE) for m in alone for n in m.members]
    return [m for i, m in enumerate(matches) if i in reached], refusals


def _profits(match: Match) -> bool:
    """Whether a match gains something by itself: a layer, or a table that is stored in codes."""
    return match.rule.columns or any(has_weight(n.op) for n in match.links)


def _reads(match: Match) -> Iterable[str]:
    return (t for n in match.links for t in data_inputs(n))
