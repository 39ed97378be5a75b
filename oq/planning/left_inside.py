"""Layers in bodies that have no plan of their own: each is told with its reason, wherever it lies.

Bodies are planned where the target runs them in integers with calibrated ranges
(:mod:`oq.planning.inside`); where layers read float data, products in bodies are rewritten without
a plan (:mod:`oq.emission.bodies`).
"""

import fnmatch
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import onnx

from oq.model.bodies import bodies_of
from oq.model.carry_out import LEAVING
from oq.model.ops import has_weight
from oq.model.products import Scope, find_matrix, scope_of
from oq.model.submodels import path_of
from oq.planning.inside import how_in_bodies
from oq.planning.overrides import Overrides
from oq.planning.plan import KEPT, NOT_CHOSEN
from oq.planning.spec import Group, Plan, Skip
from oq.planning.target import Target

MAIN_ONLY = "it is in a body of {op}, and oq quantizes only the main graph for target {target}"
UNMEASURED = "it is in a body of {op}, whose values oq cannot measure"
UNTYPED = "the types of the tensors in its body are not known"
AS_BLOCKS = "it is in a body of {op}, where weights are in blocks only with form=nbits"

Left = Group | Skip


@dataclass(frozen=True, slots=True)
class LeftInside:
    """The layers with weights in the bodies of ``model`` whose path is not ``planned``."""

    model: onnx.ModelProto
    target: Target
    overrides: Overrides
    planned: Collection[str]

    def told(self) -> tuple[Left, ...]:
        """Those that are to be rewritten, as groups, and the rest with their reasons."""
        return tuple(self._within(self.model.graph, (), "", ""))

    def _within(
        self, graph: onnx.GraphProto, outer: Sequence[Scope], path: str, why: str
    ) -> Iterator[Left]:
        """Those in the bodies of ``graph``; ``why``: the reason of the body that it is."""
        scopes: list[Scope] = []
        for node in graph.node:
            for attribute, body in bodies_of(node):
                scopes = scopes or [scope_of(graph), *outer]
                inner = path + path_of([(node.name or node.op_type, attribute)])
                reason = why or self._why(node.op_type)
                if inner not in self.planned:
                    here = [scope_of(body), *scopes]
                    layers = (n for n in body.node if has_weight(n.op_type))
                    yield from (self._layer(n, here, inner, reason) for n in layers)
                yield from self._within(body, scopes, inner, reason)

    def _layer(self, node: onnx.NodeProto, scopes: Sequence[Scope], path: str, why: str) -> Left:
        own = node.name or f"{node.op_type}_{node.output[0]}"
        name, kept = path + own, self.overrides.kept
        pattern = next((g for g in kept for n in (own, name) if fnmatch.fnmatchcase(n, g)), None)
        if pattern is not None:
            return Skip(name, node.op_type, KEPT.format(pattern=pattern))
        if self.overrides.only is not None:
            return Skip(name, node.op_type, NOT_CHOSEN)
        if not why and _rewrites_bodies(self.target):
            found = find_matrix(node, scopes)
            if not isinstance(found, str):
                return Group((name,), (node.op_type,), node.op_type)
            why = found
        return Skip(name, node.op_type, why or UNTYPED)

    def _why(self, op: str) -> str:
        """Why layers in a body of ``op`` are not planned; "" if each of them has its own reason."""
        if _rewrites_bodies(self.target):
            return ""
        if self.target.block is not None:
            return AS_BLOCKS.format(op=op)
        if not self.target.bodies:
            return MAIN_ONLY.format(op=op, target=self.target.name)
        return "" if op in LEAVING else UNMEASURED.format(op=op)


def _rewrites_bodies(target: Target) -> bool:
    """Whether products in bodies are rewritten without a plan."""
    return how_in_bodies(target) not in {None, "calibrated"}


def with_left(plan: Plan, left: Sequence[Left]) -> Plan:
    """``plan`` with the layers that are ``left`` in bodies; a node whose body holds one that is
    quantized is not a node in float."""
    groups = [found for found in left if isinstance(found, Group)]
    hold = tuple(name for group in groups for name in group.nodes)
    own = (s for s in plan.skips if not any(name.startswith(f"{s.node}/") for name in hold))
    skips = (found for found in left if isinstance(found, Skip))
    return replace(plan, groups=(*plan.groups, *groups), skips=(*own, *skips))
