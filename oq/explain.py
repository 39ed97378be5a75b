"""A plan in words: all of it, or why one tensor or node is treated as it is."""

from collections.abc import Iterable
from typing import assert_never

from oq.errors import OptionError
from oq.report import skip_lines, weighted_layers
from oq.spec import Fixed, Own, Plan, Product, QuantSpec, Share, Site


def plan_lines(plan: Plan) -> Iterable[str]:
    """Kernels, sites and what is left in float."""
    done, total = weighted_layers(plan)
    yield (
        f"target {plan.target}: {done} of {total} weighted layers quantized, "
        f"{len(plan.sites)} sites, {len(plan.skips)} nodes left in float"
    )
    yield ""
    yield "kernels"
    for group in plan.groups:
        yield f"  {group.rule:<16} {', '.join(group.nodes)}"
    yield ""
    yield "sites"
    for site in plan.sites:
        yield f"  {site.role:<10} {site.tensor}: {describe(site.spec)}, {_readers(site)}"
    yield from skip_lines(plan.skips)


def why_lines(plan: Plan, name: str) -> Iterable[str]:
    """Everything the plan knows of the tensor or node ``name``.

    Raises:
        OptionError: the plan mentions no such tensor or node.
    """
    said = [*_about_node(plan, name), *_about_tensor(plan, name)]
    if not said:
        raise OptionError(
            f"--why {name!r}: the plan mentions no such tensor or node "
            "(run oq plan without --why to see the names)"
        )
    yield from said


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
            yield f"  rule {refusal.rule} declined: {refusal.reason}"


def _about_tensor(plan: Plan, name: str) -> Iterable[str]:
    for site in plan.sites:
        if site.tensor == name:
            yield f"tensor {name} is quantized: {describe(site.spec)}"
            yield f"  {_readers(site)}"
            yield f"  asked for by rule {site.rule} of target {plan.target}"


def describe(spec: QuantSpec) -> str:
    """``int8 symmetric per channel of axis 0``."""
    match spec:
        case Own(qtype, axis):
            grain = "per tensor" if axis is None else f"per channel of axis {axis}"
            return f"{qtype} {grain}"
        case Share(source):
            return f"the grid of {source}"
        case Fixed(qtype, scale, zero):
            return f"{qtype} with scale {scale:g} and zero point {zero}"
        case Product(qtype, data, weight):
            return f"{qtype.dtype} with scale({data}) * scale({weight})"
        case never:
            assert_never(never)


def _readers(site: Site) -> str:
    return f"read by {', '.join(site.consumers)}" if site.consumers else "read so by everything"
