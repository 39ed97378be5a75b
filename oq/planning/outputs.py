"""What a model answers with: the tensors that tell right from wrong, and their ranges.

A calibrator that clips weighs a few large values against a finer step for all.  In front of the
answer that is the wrong bargain: the largest score *is* the answer, and where scores beyond the
range become equal, it is lost; the step is small next to the errors of all layers before.  So the
grid of an answer holds everything that was seen, unless the user names a calibrator.
"""

from dataclasses import replace

from oq.model.ops import JOINING, SCORING, only_moves
from oq.model.view import GraphView
from oq.planning.spec import Own, Plan, Share, Site, measured_at


def find_logits(view: GraphView) -> tuple[str, ...]:
    """The float outputs of the graph; of one that a Softmax or Sigmoid makes, what that reads."""
    found = []
    for output in view.outputs:
        maker = view.producer(output)
        if maker is not None and maker.op in SCORING and view.producer(maker.inputs[0]) is not None:
            output = maker.inputs[0]
        if view.producer(output) is not None and view.is_float(output):
            found.append(output)
    return tuple(dict.fromkeys(found))


def never_clip_logits(plan: Plan, view: GraphView) -> Plan:
    """``plan`` where the grid that an answer has, or one it is moved or shared from, is whole."""
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
