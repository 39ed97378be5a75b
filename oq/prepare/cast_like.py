"""``CastLike(x, y)`` -> ``Cast(x, to)``, where the type of y is known.

Exporters write constants as CastLike of an input (torch's ``x * 0.5`` in the dynamo exporter),
whose values decide nothing.  A Cast of a constant is a constant.
"""

import numpy as np
import onnx

from oq.model.graph import Graph
from oq.model.ops import STANDARD
from oq.prepare.fold_constants import fold_constants
from oq.prepare.outcome import Outcome


def cast_like(graph: Graph) -> Outcome:
    """Rewrite every CastLike to a known type, and fold those of constants.  Types must be known."""
    view, changed, constant = graph.view(), 0, False
    for node in view.nodes:
        if node.op != "CastLike" or node.domain not in STANDARD:
            continue
        info = view.tensors.get(node.inputs[1])
        if info is None or info.dtype is None:
            continue
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(info.dtype))
        kept = {k: v for k, v in node.attributes.items() if k == "saturate"}
        graph.recast(node.name, "Cast", node.inputs[:1], {"to": int(kind), **kept})
        constant = constant or view.is_constant(node.inputs[0])
        changed += 1
    if constant:
        fold_constants(graph)
    return Outcome(changed)
