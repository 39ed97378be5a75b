"""Calls of a model's own functions, written out.

A call of a function is the function's nodes, with its inputs, outputs and attributes in place of
the formal ones (ONNX IR, "Functions").  onnx's inliner leaves two things to its caller: an
attribute that a call leaves out has the default that the function declares (``attribute_proto``),
and a function may name another opset than the model.  onnxruntime reads such a function as if it
were of the model's opset; so does oq, where the two agree on its operators.
"""

from collections.abc import Iterable, Mapping

import onnx
from onnx import defs, inliner

from oq.errors import ModelError
from oq.model.bodies import bodies_of
from oq.model.proto_fields import without_empty_ends

Functions = Mapping[tuple[str, str, str], onnx.FunctionProto]


def without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with the nodes of its functions in place of their calls; itself where it has none.

    Raises:
        ModelError: a function is of an opset in which an operator differs from the model's.
    """
    if not model.functions:
        return model
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    known = {(f.domain, f.name, f.overload): f for f in plain.functions}
    versions = {o.domain: o.version for o in plain.opset_import}
    for function in plain.functions:
        _take_opset(function, versions)
        _write_defaults(function.node, known)
    _write_defaults(plain.graph.node, known)
    return without_empty_ends(inliner.inline_local_functions(plain))  # arguments that are left out


def _take_opset(function: onnx.FunctionProto, versions: Mapping[str, int]) -> None:
    for own in function.opset_import:
        version = versions.get(own.domain, own.version)
        for node in function.node:
            here = node.domain == own.domain
            if here and not _means_the_same(node, own.version, version):
                raise ModelError(
                    f"function {function.name!r} is of opset {own.version}, in which "
                    f"{node.op_type} is another operator than in the model's opset {version}"
                )
        own.version = version


def _means_the_same(node: onnx.NodeProto, own: int, other: int) -> bool:
    """Whether opset ``other`` takes ``node`` with the attributes and defaults of opset ``own``."""
    try:
        mine, theirs = (defs.get_schema(node.op_type, v, node.domain) for v in (own, other))
    except defs.SchemaError:
        return not defs.has(node.op_type, node.domain)
    given = {a.name for a in node.attribute}
    free = set(theirs.attributes) & set(mine.attributes) - given
    same = (
        mine.attributes[name].default_value == theirs.attributes[name].default_value
        for name in free
    )
    few = len(node.input) <= theirs.max_input and len(node.output) <= theirs.max_output
    return few and given <= set(theirs.attributes) and all(same)


def _write_defaults(nodes: Iterable[onnx.NodeProto], known: Functions) -> None:
    for node in nodes:
        called = known.get((node.domain, node.op_type, node.overload))
        if called is not None:
            given = {a.name for a in node.attribute}
            node.attribute.extend(a for a in called.attribute_proto if a.name not in given)
        for _, body in bodies_of(node):
            _write_defaults(body.node, known)
