"""Raise the default operator set to what the target's Q/DQ needs (13 for per-channel scales).

Files that onnxruntime's optimizer has saved hold operators of opsets above their own
(LayerNormalization, of opset 17), which onnxruntime takes at any: the operator set is raised to
theirs.
"""

import onnx
from onnx import version_converter

from oq.errors import ModelError, one_line
from oq.model.bodies import nodes_in
from oq.model.ops import STANDARD

ASIDE = "oq.of_a_later_opset"
"""The domain of operators that ONNX's version converter is not to see: it knows no way to them from
an opset that has none."""

NEVER = frozenset({"SimplifiedLayerNormalization"})
"""Operators that onnxruntime has in ONNX's domain, and ONNX has not."""

SCAN_WITHOUT_BATCH = 9
"""The opset since which Scan has no axis of samples; ONNX's converter leaves it as it is."""


def raise_opset(model: onnx.ModelProto, minimum: int) -> onnx.ModelProto:
    """``model`` itself when its opset is high enough, else a converted copy.

    Raises:
        ModelError: ONNX's version converter cannot convert the model, or would do so wrongly.
    """
    found = opset(model)
    later = _later(model.graph, found) if found else {}
    minimum = max([minimum, *later.values()])
    if found >= minimum:
        return model
    if found < SCAN_WITHOUT_BATCH and any(n.op_type == "Scan" for n in model.graph.node):
        raise ModelError(
            f"the model has opset {found}, whose Scan has an axis of samples that later ones have "
            f"not, and ONNX does not convert it; export it again with opset {minimum} or later"
        )
    try:
        if not later:
            return version_converter.convert_version(model, minimum)
        made = onnx.ModelProto()
        made.CopyFrom(model)
        _rename(made.graph, dict.fromkeys(later, ""), ASIDE)
        made.opset_import.add(domain=ASIDE, version=1)
        made = version_converter.convert_version(made, minimum)
    except (RuntimeError, version_converter.ConvertError) as error:
        raise ModelError(
            f"the model has opset {found}, the target needs {minimum}, and ONNX cannot convert it "
            f"({one_line(error)[:200]}); export it again with opset {minimum} or later"
        ) from error
    _rename(made.graph, dict.fromkeys(later, ASIDE), "")
    kept = [o for o in made.opset_import if o.domain != ASIDE]
    del made.opset_import[:]
    made.opset_import.extend(kept)
    return made


def opset(model: onnx.ModelProto) -> int:
    """The version of the default operator set."""
    return max((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), default=0)


def _later(graph: onnx.GraphProto, found: int) -> dict[str, int]:
    """Operators that ONNX does not define at opset ``found``, and the one from which on it does, or
    0 for those of onnxruntime that it never does."""
    names = {n.op_type for n in nodes_in(graph) if n.domain in STANDARD}
    odd = sorted(op for op in names if not onnx.defs.has(op, found, ""))
    versions = range(found, onnx.defs.onnx_opset_version() + 1)
    first = {op: next((v for v in versions if onnx.defs.has(op, v, "")), 0) for op in odd}
    return {op: version for op, version in first.items() if version or op in NEVER}


def _rename(graph: onnx.GraphProto, ops: dict[str, str], domain: str) -> None:
    """Put the operators ``ops`` (name -> domain) into ``domain``."""
    for node in nodes_in(graph):
        if node.op_type in ops and node.domain in {
            ops[node.op_type],
            ops[node.op_type] or "ai.onnx",
        }:
            node.domain = domain
