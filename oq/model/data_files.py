"""The files in which a model leaves values of its tensors (ONNX, external data)."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo

from oq.model import wire
from oq.model.stored import is_stored


def data_of(
    read: Mapping[str, Path | None], written: Iterable[Path]
) -> Iterator[tuple[str, Path | None]]:
    """What else is read where the files ``read`` (what they are -> path) are: the data files of
    ONNX models.  No model is opened where none of the files ``written`` is there already."""
    if not any(path.exists() for path in written):
        return
    for what, path in read.items():
        if path is not None and path.suffix == ".onnx" and path.is_file():
            yield from ((f"data file of the {what}", file) for file in data_files(path))


def data_files(path: Path) -> list[Path]:
    """The data files of the model at ``path``, each once; none where it is not a model."""
    try:
        apart = (t for t in tensors_of(wire.read_apart(path)) if is_stored(t))
        names = dict.fromkeys(ExternalDataInfo(tensor).location for tensor in apart)
    except (DecodeError, ValueError, OSError):
        return []  # whoever reads it says so
    own = path.resolve()  # where weights are that lie in the file itself
    return [path.parent / name for name in names if path.parent / name != own]


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor that ``model`` stores: initializers and attributes of the graph, of bodies at
    any depth, of functions and of what it says of training, sparse ones as their parts."""
    graphs = [model.graph]
    for training in model.training_info:
        graphs += [training.initialization, training.algorithm]
    for graph in graphs:
        yield from _of_graph(graph)
    for function in model.functions:
        for node in function.node:
            yield from _of_attributes(node.attribute)
        yield from _of_attributes(function.attribute_proto)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _of_attributes(node.attribute)


def _of_attributes(attributes: Iterable[onnx.AttributeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        own = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
        for sparse in (*own, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from _of_graph(body)


def file_bytes(path: str | Path) -> int:
    """The size of the model at ``path`` in bytes, including its external data."""
    path = Path(path)
    return path.stat().st_size + sum(file.stat().st_size for file in data_files(path))
