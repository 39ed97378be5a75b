"""The rules of a target matched to a graph: which nodes become kernels, and why others do not."""

from collections.abc import Iterable

from oq.model.view import GraphView
from oq.planning.predicates import ALWAYS
from oq.planning.spec import Refusal
from oq.planning.target import BrokenChain, Match, Target, find


def match_rules(
    view: GraphView, target: Target, kept: dict[str, str], naive: bool
) -> tuple[list[Match], list[Refusal]]:
    """The matches of the rules of ``target``, each node in at most one of them, and the refusals.

    ``kept`` maps a node that must stay in float to the reason; with ``naive``, rules for ops that
    would run slower apply too.
    """
    owner: dict[str, Match] = {}
    matches: list[Match] = []
    refusals: list[Refusal] = []
    taken_along: dict[str, Match] = {}
    for found in find(view, target.rules):
        if found.anchor.name in owner:
            continue
        if isinstance(found, BrokenChain):
            for node in (found.anchor, *found.stopped):
                refusals.append(Refusal(node.name, found.name, found.reason))
            continue
        reason = _refuse(view, found, kept, owner, naive)
        if reason is None:
            matches.append(found)
            owner.update({n.name: found for n in found.members})
        else:
            refusals.append(Refusal(found.anchor.name, found.name, reason))
            refusals += _along(view, found, kept, naive)
            taken_along |= {node.name: found for node in found.members[1:]}
    if not naive:
        alone = _left_alone(owner, taken_along)
        matches = [m for m in matches if m.anchor.name not in alone]
        refusals += alone.values()
    return matches, refusals


def _left_alone(owner: dict[str, Match], taken_along: dict[str, Match]) -> dict[str, Refusal]:
    """Refusals of activations that have a kernel of their own, behind a layer that no rule takes
    (weights computed at run time, a size beyond the device): they fuse into its float kernel, and
    ``owner`` loses them."""
    found = {}
    for name, chain in taken_along.items():
        mine = owner.get(name)
        if chain.anchor.name in owner or mine is None or len(mine.members) > 1:
            continue
        del owner[name]
        reason = f"its layer {chain.anchor.name!r} stays in float"
        found[name] = Refusal(name, chain.name, reason)
    return found


def _along(view: GraphView, match: Match, kept: dict[str, str], naive: bool) -> Iterable[Refusal]:
    """Refusals of what a kernel takes along that could run in integers and is to stay in float."""
    slower = () if naive else match.rule.slower
    if match.anchor.name in kept or any(p(view, match) for p in slower):
        reason = f"its layer {match.anchor.name!r} stays in float"
        for node in match.members[1:]:
            yield Refusal(node.name, match.name, kept.get(node.name, reason))


def _refuse(
    view: GraphView, match: Match, kept: dict[str, str], owner: dict[str, Match], naive: bool
) -> str | None:
    for node in match.members:
        if node.name in kept:
            why = kept[node.name]
            return why if node is match.anchor else f"{node.name!r} is {why}"
    # before ownership, which depends on the order of the nodes
    rule = match.rule
    predicates = (*rule.unless, *ALWAYS, *(() if naive else rule.slower))
    reason = next((r for p in predicates if (r := p(view, match)) is not None), None)
    if reason is not None:
        return reason
    taken = next((n.name for n in match.members if n.name in owner), None)
    return taken and f"{taken!r} is already part of {owner[taken].anchor.name!r}'s kernel"
