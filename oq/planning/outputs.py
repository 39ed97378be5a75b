"""Model outputs and logits: their ranges are not clipped.

A calibrator that clips trades the error of a few large values for a smaller scale.  For logits this
is a bad trade: the largest score is the prediction, and scores beyond the range become equal, while
the smaller scale hardly matters next to the errors of all layers upstream.  So the range of model
outputs and logits covers everything seen in calibration, unless the user chooses a calibrator.
"""

from dataclasses import replace
from functools import partial

from oq.model.ops import JOINING, SCORING, only_moves
from oq.model.paths import Made, find_choice
from oq.model.view import GraphView
from oq.planning.spec import Own, Plan, Share, Site, measured_at


def find_logits(view: GraphView) -> tuple[str, ...]:
    """The float outputs of the graph; for an output of a Softmax or Sigmoid, the input of that
    op.  For indices of an ArgMax or TopK, what these choose from."""
    found = []
    for answer in view.outputs:
        output, _ = _logits(view, answer)
        if view.producer(output) is not None and view.is_float(output):
            found.append(output)
    return tuple(dict.fromkeys(found))


def ops_behind_logits(view: GraphView) -> tuple[str, ...]:
    """The ops that turn logits into the outputs of the graph, sorted."""
    ops = (_logits(view, answer)[1] for answer in view.outputs)
    return tuple(sorted({op for op in ops if op is not None}))


def _logits(view: GraphView, answer: str) -> tuple[str, str | None]:
    """What :func:`find_logits` takes for an output, and the op that reads it; None for the output
    itself."""
    chosen = None if view.is_float(answer) else find_choice(answer, partial(_made, view))
    output, op = (answer, None) if chosen is None else (chosen[1][0], chosen[0])
    maker = view.producer(output)
    if maker is not None and maker.op in SCORING and view.producer(maker.inputs[0]) is not None:
        return maker.inputs[0], maker.op
    return output, op


def _made(view: GraphView, tensor: str) -> Made | None:
    maker = view.producer(tensor)
    return None if maker is None else (maker.op, maker.inputs)


def never_clip_logits(plan: Plan, view: GraphView) -> Plan:
    """``plan`` with ``whole`` set for model outputs and logits, and for the tensors they share a
    scale with."""
    answers = set()
    for tensor in find_logits(view):
        answers |= _origins(plan, view, tensor)
    return replace(plan, sites=tuple(_whole(site, answers) for site in plan.sites))


def _origins(plan: Plan, view: GraphView, tensor: str) -> set[str]:
    """``tensor``, what it is a copy of, and whose grids these share."""
    shared = {s.tensor: s.spec.source for s in plan.sites if isinstance(s.spec, Share)}
    found: set[str] = set()
    open_ = [tensor]
    while open_:
        name = open_.pop()
        if name in found:
            continue
        found.add(name)
        maker = view.producer(name)
        if maker is not None and only_moves(maker.op):
            open_.append(maker.inputs[0])
        elif maker is not None and maker.op in JOINING:
            open_.extend(maker.inputs)
        if name in shared:
            open_.append(shared[name])
    return found


def _whole(site: Site, answers: set[str]) -> Site:
    if isinstance(site.spec, Own) and not answers.isdisjoint((site.tensor, *measured_at(site))):
        return replace(site, spec=replace(site.spec, whole=True))
    return site
