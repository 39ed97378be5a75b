"""The files in which a model leaves values of its tensors (ONNX, external data)."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo

from oq.model import wire
from oq.model.bodies import graphs_in
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
    """The data files of the model at ``path``, each once; none where it is no model."""
    try:
        model = wire.read_apart(path)
        apart = (t for graph in graphs_in(model.graph) for t in _tensors(graph) if is_stored(t))
        names = dict.fromkeys(ExternalDataInfo(tensor).location for tensor in apart)
    except (DecodeError, ValueError, OSError):
        return []  # whoever reads it says so
    own = path.resolve()  # where weights are that lie in the file itself
    return [path.parent / name for name in names if path.parent / name != own]


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from (a.t for a in node.attribute if a.type == onnx.AttributeProto.TENSOR)


def file_bytes(path: str | Path) -> int:
    """The size of the model at ``path`` in bytes, including its external data."""
    path = Path(path)
    return path.stat().st_size + sum(file.stat().st_size for file in data_files(path))
