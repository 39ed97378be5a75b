"""ONNX ``test_data_set_*`` folders: each holds one complete feed as ``input_<i>.pb``."""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from oq.data.sources.arrays import hash_files
from oq.data.sources.layout import lay_out
from oq.data.sources.streams import Items
from oq.errors import DataError, one_line
from oq.numerics.values import Array, Batch, TensorInfo

_INPUT = re.compile(r"input_(\d+)\.pb")


def _number(path: Path) -> int:
    """The number at the end of a name, so that set 10 follows set 9."""
    digits = re.findall(r"\d+", path.name)
    return int(digits[-1]) if digits else -1


def find_sets(root: Path) -> list[Path]:
    """The test data sets in ``root``, itself included; empty if there are none."""
    if _inputs_of(root):
        return [root]
    folders = [path for path in root.glob("test_data_set_*") if path.is_dir()]
    return sorted(folders, key=lambda path: (_number(path), path.name))


def _inputs_of(folder: Path) -> list[Path]:
    files = [path for path in folder.glob("input_*.pb") if _INPUT.fullmatch(path.name)]
    return sorted(files, key=_number)


def _read_tensor(path: Path, name: str) -> tuple[str, Array]:
    """(name in the file, array) of one TensorProto.

    Raises:
        DataError: not a TensorProto.
    """
    import onnx
    from google.protobuf.message import DecodeError

    tensor = onnx.TensorProto()
    try:
        tensor.ParseFromString(path.read_bytes())
        array = onnx.numpy_helper.to_array(tensor)
    except (DecodeError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{name}: {path.name} is not an ONNX TensorProto: {one_line(error)}"
        ) from error
    return tensor.name, array


def read_set(folder: Path, name: str, inputs: Sequence[TensorInfo]) -> Batch:
    """The feed in ``folder``: each file is for the input that its tensor names, else for input i.

    Raises:
        DataError: no such files, a file that is not a tensor, more files than inputs, or two files
            for one input.
    """
    label = name if folder.name == Path(name).name else f"{name}/{folder.name}"
    files = _inputs_of(folder)
    if not files:
        raise DataError(f"{label}: has no input_0.pb; expected input_<i>.pb, one per model input")
    names = [info.name for info in inputs]
    feeds: dict[str, Array] = {}
    for file in files:
        key, array = _read_tensor(file, label)
        if key not in names:
            number = _number(file)
            if number >= len(inputs):
                raise DataError(
                    f"{label}: {file.name} has no model input; the model has {len(inputs)}:"
                    f" {', '.join(names)}"
                )
            key = names[number]
        if key in feeds:
            raise DataError(f"{label}: {file.name} is a second tensor for input {key!r}")
        feeds[key] = array
    return lay_out(Batch(feeds), inputs)


def stream_sets(root: Path, sets: Sequence[Path], name: str, inputs: Sequence[TensorInfo]) -> Items:
    """The feeds of ``sets``, one item per set; reads each once to count its samples."""
    read = partial(read_set, name=name, inputs=inputs)
    sizes = tuple(read(folder).samples or 1 for folder in sets)

    def digest() -> str:
        files = [file for folder in sets for file in _inputs_of(folder)]
        return hash_files(root, [file.relative_to(root).as_posix() for file in files])

    def open_anew() -> Iterator[Path]:
        return iter(sets)

    return Items(name, open_anew, read, sizes, digest)
