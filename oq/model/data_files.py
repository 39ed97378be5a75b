"""The files beside a model in which its weights lie (ONNX external data)."""

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo

from oq.model import wire
from oq.model.bodies import graphs_in
from oq.model.stored import is_stored


def file_bytes(path: str | Path) -> int:
    """The size of the model at ``path`` in bytes, including its external data."""
    path = Path(path)
    return path.stat().st_size + sum(file.stat().st_size for file in data_files(path))


def data_files(path: Path) -> frozenset[Path]:
    """The files from which the model at ``path`` reads weights; none where it is no model."""
    try:
        model = wire.read_apart(path)
    except (DecodeError, ValueError, OSError):
        return frozenset()
    apart = (t for graph in graphs_in(model.graph) for t in _tensors(graph) if is_stored(t))
    named = {ExternalDataInfo(tensor).location for tensor in apart}
    return frozenset((path.parent / name).resolve() for name in named) - {path.resolve()}


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from (a.t for a in node.attribute if a.type == onnx.AttributeProto.TENSOR)
