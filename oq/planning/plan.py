"""(graph, target, overrides) -> Plan: decides the Q/DQ placement, without data and without a
session.

Three steps, each its own function:

1. **match_rules** (:mod:`oq.planning.matches`): rules are matched to the graph, longest chains
   first; a node belongs to one group.
2. **request**: every group requests quantization of the inputs it reads.
3. **settle**: requests on a tensor become one site, with the spec given by the producer's rule.

Worked example, target ort, ``x -> Conv -> Relu -> y -> MaxPool -> z -> Conv``.  Match: groups
{Conv, Relu}, {MaxPool}, {Conv}.  Request: x, y (by MaxPool, because z is requested), z.  Settle: x
has no producing group, so its site is for its readers only; y is the output of a rule with OWN, so
its site is for all readers; z is the output of a rule with SAME, so it shares the grid of y.
"""

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import frexp

from oq.errors import OptionError
from oq.model.operands import (
    bias_input,
    data_inputs,
    factor_of,
    pads_zeros,
    recurrent_input,
    weight_input,
)
from oq.model.ops import BODIES, SHAPE_OPS, STACKING, STANDARD, only_moves, weight_axis
from oq.model.paths import is_never_negative
from oq.model.view import GraphView, NodeView
from oq.numerics.values import INT32
from oq.planning.at_risk import at_risk
from oq.planning.concat_grids import share_concat_grids
from oq.planning.islands import drop_islands
from oq.planning.matches import match_rules
from oq.planning.requests import Request, in_graph_order, requests_of
from oq.planning.spec import (
    Fixed,
    Group,
    Own,
    Plan,
    Product,
    QuantSpec,
    Refusal,
    Role,
    Scaled,
    Share,
    Site,
    Skip,
)
from oq.planning.target import Match, Output, Target

KEPT = "kept in float by --keep-float {pattern!r}"
NOT_CHOSEN = "not selected by any --layer (--mode selective)"


def plan(
    view: GraphView,
    target: Target,
    keep_float: Iterable[str] = (),
    *,
    only: Iterable[str] | None = None,
    naive: bool = False,
    apart: Mapping[str, str] | None = None,
    states: Mapping[str, str] | None = None,
) -> Plan:
    """What ``target`` quantizes in ``view``, where, and why not elsewhere.

    ``keep_float``: globs over node names.  ``only``: globs over node names and ops; other nodes
    stay in float.  ``naive``: also quantize what the target would run slower.  ``apart``: node ->
    why it stays in float, for nodes named otherwise than by the user.  ``states``: those of a body.

    Raises:
        OptionError: a glob of ``keep_float`` matches no node.
    """
    wary = {} if naive else at_risk(view, target, states)
    kept = wary | dict(apart or {}) | _unchosen(view, only) | _kept(view, tuple(keep_float))
    matches, refusals = match_rules(view, target, kept, naive)
    if only is None and not naive:
        matches, alone = drop_islands(view, matches)
        refusals += alone
    owner = {n.name: m for m in matches for n in m.members}
    requests = requests_of(view, in_graph_order(view, matches))
    sites = _settle(view, target, owner, requests)
    sites += [s for m in matches for s in _parameter_sites(view, target, m)]
    concats = [m for m in in_graph_order(view, matches) if m.rule.output is Output.UNITED]
    if concats:
        sites = share_concat_grids(view, sites, concats, target.activations)
    sites = [_before_padding(view, s) for s in sites]
    return Plan(
        target=target.name,
        sites=tuple(_merge(sites)),
        groups=tuple(_group(m) for m in in_graph_order(view, matches)),
        skips=tuple(_skips(view, target, owner, kept, refusals)),
        refusals=tuple(refusals),
    )


def _before_padding(view: GraphView, site: Site) -> Site:
    """``site``, calibrated before a float Pad that computes its tensor: zero is always exact,
    and users know the tensor that they feed by its name."""
    pad, spec = view.producer(site.tensor), site.spec
    if pad is None or not isinstance(spec, Own) or spec.over or not pads_zeros(view, pad):
        return site
    return replace(site, spec=replace(spec, over=(pad.inputs[0],)))


def _kept(view: GraphView, patterns: tuple[str, ...]) -> dict[str, str]:
    """Node name -> why the user keeps it in float."""
    kept: dict[str, str] = {}
    for pattern in patterns:
        hits = [n.name for n in view.nodes if fnmatch.fnmatchcase(n.name, pattern)]
        inside = any(fnmatch.fnmatchcase(i, pattern) for n in view.nodes for i in n.inner)
        if not hits and not inside:
            close = ", ".join(repr(n.name) for n in view.nodes[:3])
            raise OptionError(
                f"--keep-float {pattern!r} matches no node; node names look like {close}"
            )
        for name in hits:
            kept.setdefault(name, KEPT.format(pattern=pattern))
    return kept


def _unchosen(view: GraphView, only: Iterable[str] | None) -> dict[str, str]:
    """Node name -> why it stays in float, for the nodes that ``only`` does not name.

    Ops that only move values follow their neighbours.
    """
    if only is None:
        return {}
    globs = tuple(only)
    chosen = {
        n.name
        for n in view.nodes
        if only_moves(n.op) or any(fnmatch.fnmatchcase(t, g) for t in (n.name, n.op) for g in globs)
    }
    return {n.name: NOT_CHOSEN for n in view.nodes if n.name not in chosen}


def _settle(
    view: GraphView, target: Target, owner: dict[str, Match], requests: dict[str, Request]
) -> list[Site]:
    sites: dict[str, Site] = {}
    order = [i.name for i in view.inputs] + [t for n in view.nodes for t in n.outputs if t]
    for tensor in order:
        producer = view.producer(tensor)
        match = None if producer is None else owner.get(producer.name)
        # a second output may hold indices (MaxPool) or a mask, which have no grid
        ends = match is not None and tensor in match.links[-1].outputs and view.is_float(tensor)
        site = _site(
            view, tensor, match if ends else None, target, requests.get(tensor), sites, owner
        )
        if site is not None and target.float_outputs and tensor in view.outputs:
            site = _for_nodes(view, site)
        if site is not None:
            sites[tensor] = site
    return list(sites.values())


def _for_nodes(view: GraphView, site: Site) -> Site | None:
    """``site`` for the nodes among its readers; the graph output stays the float tensor."""
    readers = site.consumers or tuple(sorted(n.name for n in view.consumers(site.tensor)))
    return replace(site, consumers=readers) if readers else None


def _site(
    view: GraphView,
    tensor: str,
    match: Match | None,
    target: Target,
    request: Request | None,
    sites: dict[str, Site],
    owner: dict[str, Match],
) -> Site | None:
    """The site of ``tensor``, whose value ends the kernel ``match`` (None: a float node's)."""
    if match is not None and match.rule.output is Output.ALIGNED and target.exclusive:
        return Site(tensor, Share(match.anchor.inputs[0]), "activation", match.name)
    if match is not None and _wants_own(match, request):
        output = match.rule.output
        spec = output if isinstance(output, Fixed) else _own(view, target, tensor)
        if output is Output.SCALED:
            spec = _derived(view, target, match.anchor, sites) or spec
        return Site(tensor, spec, "activation", match.name)
    if request is None:
        return None
    hard = [r for r in request.readers if not _copies(owner[r])]
    root = None if match is None or not _moves(match) else _root(view, match, owner, sites)
    if root is not None and (hard or target.exclusive):
        readers = () if target.exclusive else tuple(sorted(hard))
        return Site(tensor, Share(root), "activation", request.rule, readers)
    if not hard:
        return None
    readers = tuple(sorted(request.readers if target.exclusive else hard))
    return Site(tensor, _own(view, target, tensor), "activation", request.rule, readers)


def _root(
    view: GraphView, match: Match, owner: dict[str, Match], sites: dict[str, Site]
) -> str | None:
    """The nearest tensor with a site that ``match`` only moves values of."""
    source = match.anchor.inputs[0]
    while source not in sites:
        producer = view.producer(source)
        above = None if producer is None else owner.get(producer.name)
        if above is None or not _moves(above):
            return None
        source = above.anchor.inputs[0]
    return source


def _wants_own(match: Match, request: Request | None) -> bool:
    """Whether the kernel's output gets a grid for every reader."""
    output = match.rule.output
    if output is Output.WANTED:
        return request is not None
    if output is Output.UNITED:
        return match.rule.inputs  # without, it only moves values
    return output in {Output.OWN, Output.SCALED} or isinstance(output, Fixed)


def _derived(
    view: GraphView, target: Target, node: NodeView, sites: Mapping[str, Site]
) -> Scaled | None:
    """The grid of what ``node`` reads times its constant, where it reads one and that is all right
    (:func:`oq.model.operands.factor_of`)."""
    found = factor_of(view, node)
    if found is None or found[0] not in sites:
        return None
    tensor, factor = found
    if target.activations.scale == "power_of_two" and frexp(factor)[0] != 0.5:
        return None
    return Scaled(tensor, factor)


def _own(view: GraphView, target: Target, tensor: str) -> QuantSpec:
    if target.positive is not None and is_never_negative(view, tensor):
        return Own(target.positive)
    return Own(target.activations)


def _copies(match: Match) -> bool:
    return match.rule.output is Output.SAME


def _moves(match: Match) -> bool:
    return match.rule.output in {Output.SAME, Output.ALIGNED}


def _parameter_sites(view: GraphView, target: Target, match: Match) -> Iterable[Site]:
    """The constants a group reads as integers: weight, int32 bias, constant operands."""
    node, rule = match.anchor, match.rule
    weight, bias = weight_input(node), bias_input(node)
    data = data_inputs(node)
    if weight is not None and view.is_constant(weight):
        rank = len(view.constant_shape(weight))
        axis = weight_axis(node.op, node.attributes, rank)
        # no runtime multiplies a stack of matrices by scales per channel
        is_stack = rank > 2 and node.op in STACKING and target.block is None
        if rank < 2 or is_stack or not (target.per_channel and rule.per_channel):
            axis = None
        stored = Own(target.weights, axis)
        if axis is not None and target.block is not None:
            inputs = axis - 1 if axis == rank - 1 else axis + 1  # beside the output channels
            stored = Own(target.weights, inputs, block=target.block)
        yield _constant_site(weight, stored, "weight", match, node)
        recurrent = recurrent_input(node)
        if recurrent is not None:
            yield _constant_site(recurrent, stored, "weight", match, node)
    if bias is not None and weight is not None and rule.bias != "float":
        own = rule.bias == "own"
        spec = Own(target.weights) if own else Product(INT32, data[0], weight)
        yield _constant_site(bias, spec, "bias", match, node)
    if rule.constants:
        for link in match.links:
            for tensor in data_inputs(link):
                if view.is_constant(tensor):
                    axis = view.constants[tensor].ndim - 1 if rule.columns else None
                    spec = Own(target.activations, axis)
                    yield _constant_site(tensor, spec, "weight", match, link)


def _constant_site(
    tensor: str, spec: QuantSpec, role: Role, match: Match, reader: NodeView
) -> Site:
    return Site(tensor, spec, role, match.name, (reader.name,))


def _merge(sites: Iterable[Site]) -> Iterable[Site]:
    """One site where several readers want the same grid on the same constant."""
    merged: dict[tuple[str, QuantSpec, Role], Site] = {}
    for site in sites:
        slot = (site.tensor, site.spec, site.role)
        first = merged.get(slot)
        if first is None:
            merged[slot] = site
        else:
            readers = tuple(sorted({*first.consumers, *site.consumers}))
            merged[slot] = Site(site.tensor, site.spec, site.role, first.rule, readers)
    return merged.values()


def _group(match: Match) -> Group:
    members = match.members
    return Group(tuple(n.name for n in members), tuple(n.op for n in members), match.name)


def _skips(
    view: GraphView,
    target: Target,
    owner: dict[str, Match],
    kept: dict[str, str],
    refusals: list[Refusal],
) -> Iterable[Skip]:
    """Every float node outside all groups, with the reason of the row that came closest."""
    said = {refusal.node: refusal.reason for refusal in refusals}
    said |= kept
    for node in view.nodes:
        if node.name in owner or node.op in SHAPE_OPS or not holds_floats(view, node):
            continue
        yield Skip(node.name, node.op, skip_reason(target, node, said))


def skip_reason(target: Target, node: NodeView, said: Mapping[str, str]) -> str:
    """Why ``node`` stays in float: the refusal in ``said``, or what the target says about its
    op."""
    reasons = target.reasons if target.reasons is not None else {}
    plain = f"target {target.name} does not support {node.op} in int8"
    if node.domain in target.domains:
        plain = f"an operator of {node.domain}, which target {target.name} runs in float"
    elif node.domain not in STANDARD:
        plain = f"an operator of {node.domain}, which is foreign to target {target.name}"
    if node.op in BODIES:
        plain = "it contains subgraphs, and oq quantizes only the main graph"
    return said.get(node.name, reasons.get(node.op, plain))


def holds_floats(view: GraphView, node: NodeView) -> bool:
    """Whether any output is a float tensor (an unknown type counts as float, so that it is
    reported)."""
    known = [view.tensors[t].dtype for t in node.outputs if t in view.tensors]
    return any(d is None or view.is_float(t) for d, t in zip(known, node.outputs, strict=False))
