"""The files in which a model leaves values of its tensors (ONNX, external data)."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo

from oq.model.bodies import graphs_in


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
        model = onnx.load(path, load_external_data=False)
        stored = [t for g in graphs_in(model.graph) for t in g.initializer if t.external_data]
        names = dict.fromkeys(ExternalDataInfo(t).location for t in stored)
    except (DecodeError, ValueError, OSError):
        return []  # whoever reads it says so
    return [path.parent / name for name in names]
