"""Which tensors the kernels of a plan need quantized, and for which readers.

A kernel requests its data inputs.  An op that only moves values requests its input if its output is
requested; for a Pad the request is passed on upstream, since the pair belongs before the Pad.  The
skip connection of a residual Add is requested only if an integer kernel computes it, or if it is
quantized for another layer anyway: a QuantizeLinear for the Add alone would cost a kernel.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from oq.model.operands import data_inputs, weight_input
from oq.model.view import GraphView, NodeView
from oq.planning.target import Match, Output


@dataclass(slots=True)
class Request:
    """The readers that need a tensor quantized, and the rules they belong to."""

    rules: set[str] = field(default_factory=set)
    readers: list[str] = field(default_factory=list)

    @property
    def rule(self) -> str:
        """The requesting rules, in an order independent of tensor names."""
        return ", ".join(sorted(self.rules))


def requests_of(view: GraphView, matches: Sequence[Match]) -> dict[str, Request]:
    """Tensor -> the request on it.  ``matches`` are in graph order."""
    requests: dict[str, Request] = {}
    owner = {n.name: m for m in matches for n in m.members}
    kernels = [m for m in matches if not _asks_for_its_readers(m)]
    for match in kernels:
        _ask(requests, match, (w for w in _wants(view, match) if not _follows(match, w)))
    for match in kernels:
        skips = [w for w in _wants(view, match) if _follows(match, w)]
        _ask(
            requests,
            match,
            (w for w in skips if w[0] in requests or _comes_from_integers(view, owner, w[0])),
        )
    for match in reversed(matches):
        wanted = any(t in requests for t in match.anchor.outputs)
        if not wanted or not _asks_for_its_readers(match):
            continue
        if match.rule.output is Output.PASSED:
            if len(requests[match.output].readers) < view.edges(match.output):
                continue  # a float reader would see rounded values
            del requests[match.output]
        _ask(requests, match, _wants(view, match))
    return requests


_Want = tuple[str, NodeView]
"""A tensor, and the node that wants to read it in codes."""


def _ask(requests: dict[str, Request], match: Match, wants: Iterable[_Want]) -> None:
    for tensor, reader in wants:
        request = requests.setdefault(tensor, Request())
        request.rules.add(match.name)
        if reader.name not in request.readers:
            request.readers.append(reader.name)


def _follows(match: Match, want: _Want) -> bool:
    return match.rule.skip_follows and want[1] is not match.anchor


def _asks_for_its_readers(match: Match) -> bool:
    return match.rule.output in {Output.SAME, Output.PASSED}


def _comes_from_integers(view: GraphView, owner: Mapping[str, Match], tensor: str) -> bool:
    """Whether a kernel that reads integers computes ``tensor``, or values that are only moved."""
    queue = [tensor]
    while queue:
        producer = view.producer(queue.pop())
        match = None if producer is None else owner.get(producer.name)
        if match is None:
            continue
        if match.rule.inputs and not _asks_for_its_readers(match):
            return True
        queue += data_inputs(match.anchor)
    return False


def _wants(view: GraphView, match: Match) -> list[tuple[str, NodeView]]:
    """The data inputs of a group: those of its first node, and operands that join later."""
    if not match.rule.inputs:
        return []
    inside = {t for n in match.members for t in n.outputs}
    weight = weight_input(match.anchor)
    reads = (*data_inputs(match.anchor), *([] if weight is None else [weight]))
    wants = [(t, match.anchor) for t in dict.fromkeys(reads) if not view.is_constant(t)]
    for node in match.links[1:]:
        wants += [
            (t, node) for t in data_inputs(node) if t not in inside and not view.is_constant(t)
        ]
    return wants


def in_graph_order(view: GraphView, matches: Iterable[Match]) -> list[Match]:
    """``matches`` sorted by their first nodes."""
    position = {n.name: i for i, n in enumerate(view.nodes)}
    return sorted(matches, key=lambda m: position[m.anchor.name])
