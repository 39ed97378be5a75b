"""A plan as text: all of it, or the reasons for one tensor or node."""

import difflib
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import assert_never

from oq.errors import OptionError
from oq.model.ops import has_weight, only_moves
from oq.model.view import GraphView
from oq.planning.spec import Fixed, Own, Plan, Product, QuantSpec, Scaled, Share, Site, Skip
from oq.wording import WIDTH, counted, generalize, item


def plan_lines(plan: Plan, *, sites: bool = True) -> Iterable[str]:
    """Kernels, quantized tensors (``sites``; or how many there are) and float nodes."""
    yield (
        f"target {plan.target}: {layer_words(plan)} quantized, "
        f"{counted(len(plan.sites), 'site')}, {counted(len(plan.skips), 'node')} left in float"
    )
    yield ""
    yield "kernels"
    stored = {reader for s in plan.sites if s.role == "weight" for reader in s.consumers}
    moves = [g for g in plan.groups if all(map(only_moves, g.ops)) and stored.isdisjoint(g.nodes)]
    for group in plan.groups:
        if group not in moves:
            yield from hanging(group.rule, ", ".join(group.nodes))
    if moves:
        yield ""
        yield "data movement, with the scale and zero point of the input"
    for op in dict.fromkeys(g.rule for g in moves):
        yield from hanging(op, ", ".join(n for g in moves if g.rule == op for n in g.nodes))
    yield ""
    yield from _site_lines(plan) if sites else _site_counts(plan)
    yield from skip_lines(plan.skips)


def _site_counts(plan: Plan) -> Iterable[str]:
    """How many tensors are quantized, by what they are."""
    counts = Counter(site.role for site in plan.sites)
    told = ", ".join(f"{n} x {role}" for role, n in sorted(counts.items()))
    yield f"sites: {told or 'none'} (-v lists them)"


def _site_lines(plan: Plan) -> Iterable[str]:
    yield "sites"
    for site in plan.sites:
        yield from item(f"{site.role:<10} {site.tensor}: {describe(site.spec)}, {_readers(site)}")


def hanging(label: str, text: str) -> Iterable[str]:
    """``label`` in a column of 16 characters, then ``text``, wrapped with a hanging indent."""
    first = f"  {label:<16} "
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=" " * 19, break_long_words=False
    )


Views = Mapping[str, GraphView]
"""The planned graphs: the path of a body (``loop/body/``; "" for the main graph) -> its view."""


def why_lines(plan: Plan, name: str, views: Views | None = None) -> Iterable[str]:
    """Everything the plan says about the tensor or node ``name``, which may lie in a body, with or
    without its path in front.

    Raises:
        OptionError: there is no such tensor or node; the message names those that look like it.
    """
    views = {} if views is None else views
    said = list(_about(plan, views, name))
    if not said:
        inside = [known for known in _names(plan, views) if known.endswith(f"/{name}")]
        said = [line for known in inside for line in _about(plan, views, known)]
    if not said:
        close = difflib.get_close_matches(name, _names(plan, views), n=3, cutoff=0.5)
        meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise OptionError(
            f"--why {name!r}: the plan mentions no such tensor or node{meant} "
            "(run oq plan without --why to see the names)"
        )
    yield from said


def _about(plan: Plan, views: Views, name: str) -> Iterable[str]:
    """What the plan says about the tensor or node of exactly this ``name``."""
    said = [*_about_node(plan, name), *_about_tensor(plan, name)]
    if said:
        return said
    path = max((p for p in views if name.startswith(p)), key=len, default=None)
    return [] if path is None else _about_rest(plan, views[path], path, name.removeprefix(path))


def _names(plan: Plan, views: Views) -> list[str]:
    """Names of tensors and nodes, of views where there are any."""
    nodes = [n for g in plan.groups for n in g.nodes] + [s.node for s in plan.skips]
    tensors = [s.tensor for s in plan.sites]
    for path, view in views.items():
        nodes += [path + n.name for n in view.nodes]
        nodes += [path + i for n in view.nodes for i in n.inner if "/" in i]
        tensors += [path + t for t in view.tensors]
    return list(dict.fromkeys((*nodes, *tensors)))


def _about_rest(plan: Plan, view: GraphView, path: str, own: str) -> Iterable[str]:
    """What has no site and no kernel, ``own`` in the graph at ``path``: tensors inside a kernel or
    in float, nodes about shapes, nodes in bodies."""
    name, skipped = path + own, {s.node: s for s in plan.skips}
    holder = next((n for n in view.nodes if "/" in own and own in n.inner), None)
    if holder is not None:
        skip = skipped.get(path + holder.name)
        why = "" if skip is None else f": {skip.reason}"
        yield f"node {name} is in a body of {path + holder.name} ({holder.op}), in float{why}"
        return
    node = next((n for n in view.nodes if n.name == own), None)
    if node is not None:
        yield (
            f"node {name} ({node.op}) has bodies, and layers in them are quantized"
            if node.inner
            else f"node {name} ({node.op}) computes shapes or integers: nothing to quantize"
        )
        return
    readers, maker = view.consumers(own), view.producer(own)
    if own not in view.tensors and not readers:
        return
    if view.is_constant(own):
        yield f"tensor {name} is a constant and stays in float"
    elif not view.is_float(own):
        yield f"tensor {name} is not a float tensor: nothing to quantize"
    else:
        inside = [g for g in plan.groups if maker is not None and path + maker.name in g.nodes]
        within = [g for g in inside if readers and all(path + r.name in g.nodes for r in readers)]
        if within:
            yield f"tensor {name} is internal to a fused kernel, {within[0].rule} of {plan.target}"
            return
        yield f"tensor {name} stays in float: no quantized layer reads it"
    for reader in readers:
        skip = skipped.get(path + reader.name)
        why = "is not quantized" if skip is None else f"stays in float: {skip.reason}"
        yield f"  read by {path + reader.name} ({reader.op}), which {why}"


def _about_node(plan: Plan, name: str) -> Iterable[str]:
    for group in plan.groups:
        if name in group.nodes:
            yield f"node {name} is quantized: rule {group.rule} of target {plan.target}"
            if len(group.nodes) > 1:
                yield f"  one kernel with {', '.join(n for n in group.nodes if n != name)}"
            for site in plan.sites:
                if set(site.consumers) & set(group.nodes):
                    yield f"  reads {site.role} {site.tensor}: {describe(site.spec)}"
    for skip in plan.skips:
        if skip.node == name:
            yield f"node {name} ({skip.op}) stays in float: {skip.reason}"
    for refusal in plan.refusals:
        if refusal.node == name:
            yield f"  rule {refusal.rule} does not apply: {refusal.reason}"


def _about_tensor(plan: Plan, name: str) -> Iterable[str]:
    for site in plan.sites:
        if site.tensor == name:
            yield f"tensor {name} is quantized: {describe(site.spec)}"
            yield f"  {_readers(site)}"
            yield f"  requested by rule {site.rule} of target {plan.target}"


def describe(spec: QuantSpec) -> str:
    """``int8 symmetric per channel of axis 0``."""
    match spec:
        case Own(qtype, axis, block=block):
            grain = "per tensor" if axis is None else f"per channel of axis {axis}"
            if block is not None:
                grain = f"in blocks of {block} along axis {axis}"
            carried = ", zero point folded into biases" if spec.carried else ""
            whole = ", not clipped: a model output or logits" if spec.whole else ""
            return f"{qtype} {grain}{carried}{whole}"
        case Share(source):
            return f"scale and zero point of {source}"
        case Scaled(source, factor):
            return f"scale of {source} times {factor:g}"
        case Fixed(qtype, scale, zero):
            return f"{qtype} with scale {scale:g} and zero point {zero}"
        case Product(qtype, data, weight):
            return f"{qtype.dtype} with scale({data}) * scale({weight})"
        case never:
            assert_never(never)


def _readers(site: Site) -> str:
    return f"read by {', '.join(site.consumers)}" if site.consumers else "for all readers"


def weighted_layers(plan: Plan) -> tuple[int, int]:
    """(quantized, all) nodes with weights, which users call layers."""

    inside = sum(has_weight(op) for group in plan.groups for op in group.ops)
    outside = sum(has_weight(skip.op) for skip in plan.skips)
    return inside, inside + outside


def own_layers(plan: Plan) -> tuple[int, int]:
    """(quantized, all) of :func:`weighted_layers` that are the user's: not made by oq."""
    done, total = weighted_layers(plan)
    left = {skip.node for skip in plan.skips}
    return done - sum(name not in left for name in plan.made), total - len(plan.made)


def layer_words(plan: Plan) -> str:
    """``20 of 20 weighted layers``, and how many oq has made beside them."""
    done, total = own_layers(plan)
    more = f" (+{len(plan.made)} made by oq)" if plan.made else ""
    return f"{done} of {total} weighted layers{more}"


MANY = 4
"""Ops that are listed together, without the names of their nodes, where one reason is that of
all."""


def skip_lines(skips: Iterable[Skip]) -> Iterable[str]:
    """The float nodes, grouped by op and reason."""
    groups: dict[str, dict[str, list[Skip]]] = {}
    for skip in skips:
        shared = generalize(skip.reason, skip.node)
        groups.setdefault(shared, {}).setdefault(skip.op, []).append(skip)
    if groups:
        yield ""
        yield "left in float"
    for shared, by_op in groups.items():
        counts = [op + (f" x{len(same)}" if len(same) > 1 else "") for op, same in by_op.items()]
        if len(by_op) >= MANY:
            yield from item(f"{', '.join(counts)}: {shared}")
            continue
        for count, same in zip(counts, by_op.values(), strict=True):
            nodes = [s.node for s in same]
            yield from item(f"{count}: {shared if len(same) > 1 else same[0].reason}")
            shown = ", ".join(nodes[:3])
            more = f", and {len(nodes) - 3} more" if len(nodes) > 3 else ""
            yield from item(shown + more, indent=6)
