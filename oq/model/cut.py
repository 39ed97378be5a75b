"""A part of a model as a model of its own, from any tensors to any others."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx

from oq.model.bodies import declare, reads_of
from oq.model.session import expose


def cut(
    model: onnx.ModelProto,
    given: Mapping[str, Any],
    replace: Callable[[str, str], str],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """The part of ``model`` that computes ``outputs`` from ``given`` new inputs (name -> dtype or
    an array like it).

    ``replace(tensor, reader)`` names the tensor that the node with first output ``reader`` reads in
    place of ``tensor``.  Nodes and inputs that no output needs are left out; subgraphs are not
    changed.
    """
    kept = onnx.ModelProto()
    kept.CopyFrom(model)
    graph = kept.graph
    for node in graph.node:
        for slot, name in enumerate(node.input):
            node.input[slot] = replace(name, node.output[0])
    needed, nodes = set(outputs), []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(reads_of(node))
    inputs = [i for i in graph.input if i.name in needed]
    inputs += [declare(name, given[name]) for name in sorted(needed & set(given))]
    constants = [t for t in graph.initializer if t.name in needed]
    wanted = expose(kept, outputs).graph.output
    for member, values in (
        ("node", nodes[::-1]),
        ("input", inputs),
        ("initializer", constants),
        ("output", list(wanted)),
    ):
        held = [type(v).FromString(v.SerializeToString()) for v in values]
        graph.ClearField(member)
        getattr(graph, member).extend(held)
    return kept
