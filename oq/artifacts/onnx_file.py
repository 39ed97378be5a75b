"""What an ONNX file of any tool holds: float, Q/DQ, integer operators, weights in blocks, bodies.

Large constants stay where they are: only scales and zero points are read, wherever they lie.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from onnx.external_data_helper import ExternalDataInfo

from oq.artifacts.artifact import Contents
from oq.artifacts.onnx_grids import GridReader
from oq.artifacts.onnx_slots import FORMS
from oq.model.bodies import graphs_in, nodes_in
from oq.model.data_files import file_bytes
from oq.model.files import load_headers, model_bytes
from oq.model.ops import STANDARD
from oq.model.proto_fields import read_type
from oq.model.structure import check_structure
from oq.numerics.values import STRING, TensorInfo


def file_contents(path: Path) -> Contents:
    """What the ONNX file at ``path`` holds, its external data included.

    Raises:
        ModelError: it cannot be read, its graph is broken, or its external data is missing.
    """
    model = load_headers(path)
    check_structure(model)
    return _contents(model, path.parent, file_bytes(path))


def model_contents(model: onnx.ModelProto) -> Contents:
    """What a model in memory holds.

    Raises:
        ModelError: its graph is broken.
    """
    check_structure(model)
    return _contents(model, Path(), model_bytes(model))


def _contents(model: onnx.ModelProto, folder: Path, size: int) -> Contents:
    defaults = {t.name for t in model.graph.initializer}
    grids = GridReader(folder)
    grids.read(model.graph)
    for function in model.functions:
        grids.read(onnx.GraphProto(node=function.node))
    nodes = [*nodes_in(model.graph), *(n for f in model.functions for n in f.node)]
    return Contents(
        "onnx",
        size,
        facts=_facts(model, nodes),
        inputs=tuple(_type(v) for v in model.graph.input if v.name not in defaults),
        outputs=tuple(_type(v) for v in model.graph.output),
        ops=dict(sorted(Counter(_op(n) for n in nodes).items())),
        activations=tuple(grids.activations),
        weights=tuple(grids.weights),
        constants=_sizes(model, nodes),
    )


def _type(value: onnx.ValueInfoProto) -> TensorInfo:
    if value.type.WhichOneof("value") != "optional_type":
        return read_type(value)
    inner = onnx.ValueInfoProto(name=value.name, type=value.type.optional_type.elem_type)
    return read_type(inner)


def _op(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"


def _facts(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> dict[str, str]:
    forms = sorted({FORMS[n.op_type] for n in nodes if n.op_type in FORMS})
    bodies = sum(1 for _ in graphs_in(model.graph)) - 1
    files = {
        ExternalDataInfo(t).location
        for t in model.graph.initializer
        if t.data_location == TensorProto.EXTERNAL
    }
    others = sorted(p.key for p in model.metadata_props if not p.key.startswith("oq."))
    facts = {
        "quantized": ", ".join(forms) if forms else "no, a float model",
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "opset": ", ".join(_opset(o) for o in model.opset_import),
        "IR version": str(model.ir_version),
        "bodies": f"{bodies} of If, Loop or Scan" if bodies else "",
        "functions": str(len(model.functions) or ""),
        "external": ", ".join(sorted(files)),
        "metadata": ", ".join(others),
        **{p.key: p.value for p in model.metadata_props if p.key.startswith("oq.")},
    }
    return {name: text for name, text in facts.items() if text}


def _opset(found: onnx.OperatorSetIdProto) -> str:
    return str(found.version) if found.domain in STANDARD else f"{found.domain} {found.version}"


def _sizes(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> dict[str, int]:
    """The bytes of constants by dtype, most first."""
    sizes: Counter[str] = Counter()
    for tensor in _stored(model, nodes):
        sizes[_dtype(tensor)] += _bytes(tensor)
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def _stored(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for graph in graphs_in(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in nodes:
        yield from (a.t for a in node.attribute if a.type == onnx.AttributeProto.TENSOR)


def _dtype(tensor: onnx.TensorProto) -> str:
    if tensor.data_type == TensorProto.STRING:
        return STRING
    return str(helper.tensor_dtype_to_np_dtype(tensor.data_type).name)


def _bytes(tensor: onnx.TensorProto) -> int:
    """What the values of ``tensor`` take in a file, packed."""
    if tensor.data_type == TensorProto.STRING:
        return sum(len(text) for text in tensor.string_data)
    count: int = prod(tensor.dims)
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if dtype.name in HALF_BYTES:
        return (count + 1) // 2
    return count * int(dtype.itemsize)


HALF_BYTES = frozenset({"int4", "uint4", "float4_e2m1fn"})
"""Types of which a byte of a file holds two values."""
