"""Loads and saves models; external data must be in the model's folder, and writes are atomic.

A file is written to a temporary path beside its destination and renamed, so that readers never see
a partial file and an interrupted run leaves the old one.
"""

import contextlib
import math
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_tensor

from oq.errors import ModelError, OptionError, one_line
from oq.model import stored, wire
from oq.model.data_files import data_of, tensors_of
from oq.model.scratch import scratch_folder, scratch_prefix
from oq.model.stored import Place, holds_stored, is_stored, put_place

PROTOBUF_LIMIT = 2**31 - 2**20
"""Size in bytes above which a model needs external data (protobuf's 2 GB, minus room for the
graph)."""

_WIDTHS: Mapping[int, int] = {
    onnx.TensorProto.BFLOAT16: 2,
    onnx.TensorProto.DOUBLE: 8,
    onnx.TensorProto.FLOAT: 4,
    onnx.TensorProto.FLOAT16: 2,
    onnx.TensorProto.INT32: 4,
    onnx.TensorProto.INT64: 8,
    onnx.TensorProto.INT8: 1,
    onnx.TensorProto.UINT8: 1,
}
"""Bytes per value in a file."""


def load_model(path: str | Path) -> onnx.ModelProto:
    """The model at ``path``, its weights in memory.

    Raises:
        ModelError: there is no such file, it is not an ONNX model, it is cut off, or its external
            data is missing or lies outside the model's folder.
    """
    path = Path(path)
    model = load_headers(path)
    _load_external(model, path)
    return model


def load_light(path: str | Path) -> onnx.ModelProto:
    """The model at ``path``; the weights of a large one stay in their files
    (:mod:`oq.model.stored`).

    Raises:
        ModelError: as :func:`load_model`.
    """
    path = Path(path)
    check_exists(path)
    is_large = path.stat().st_size >= stored.LEAST_MODEL
    model = _headers(path, wire.read_apart if is_large else _read)
    outside = {t.name: _place(t, path) for t in model.graph.initializer if is_stored(t)}
    large = {name: p for name, p in outside.items() if p.size >= stored.LEAST_TENSOR}
    if sum(place.size for place in large.values()) < stored.LEAST_MODEL:
        return load_model(path)
    heavy = [t for t in model.graph.initializer if t.name in large]
    for tensor in heavy:  # what is left is small, or not in the main graph's initializers
        tensor.data_location = onnx.TensorProto.DEFAULT
    _load_external(model, path)
    for tensor in heavy:
        put_place(tensor, large[tensor.name])
    return model


def _load_external(model: onnx.ModelProto, path: Path) -> None:
    try:
        for tensor in tensors_of(model):
            if is_stored(tensor):
                load_external_data_for_tensor(tensor, str(path.parent))
                tensor.ClearField("data_location")  # the default, which other files do not say
    except (onnx.checker.ValidationError, ValueError, OSError) as error:
        raise ModelError(f"external data of {str(path)!r}: {one_line(error)}") from error


def _place(tensor: onnx.TensorProto, path: Path) -> Place:
    """Where the values of an external ``tensor`` of the model at ``path`` lie."""
    info = ExternalDataInfo(tensor)
    file = (path.parent / info.location).resolve()
    return Place(file, info.offset or 0, info.length or _stored_bytes(tensor))


def load_headers(path: Path) -> onnx.ModelProto:
    """The model at ``path`` without its external data, which is there.

    Raises:
        ModelError: as :func:`load_model`.
    """
    check_exists(path)
    return _headers(path, _read)


def _read(path: Path) -> onnx.ModelProto:
    return onnx.load(path, load_external_data=False)


def _is_graph(graph: onnx.GraphProto) -> bool:
    """Whether there is a node, or all outputs are constants or inputs."""
    given = {v.name for v in (*graph.initializer, *graph.input)}
    return bool(graph.node) or (bool(graph.output) and all(o.name in given for o in graph.output))


def _headers(path: Path, read: Callable[[Path], onnx.ModelProto]) -> onnx.ModelProto:
    try:
        model = read(path)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{str(path)!r} is not an ONNX model, or it is cut off") from error
    if not _is_graph(model.graph) or not model.opset_import:
        raise ModelError(f"{str(path)!r} holds no ONNX graph (an empty or different protobuf?)")
    _check_external(model, path)
    return model


def check_exists(path: Path) -> None:
    """Check that the model file exists, before any other message.

    Raises:
        ModelError: there is no such file.
    """
    if not path.is_file():
        raise ModelError(f"no model file at {str(path)!r}")


def save_model(model: onnx.ModelProto, path: str | Path) -> int:
    """Write ``model`` to ``path``, tensor by tensor; returns the bytes written, external data
    included.

    A model of 2 GB or more gets one ``<name>.data`` file beside it.

    Raises:
        OptionError: the folder cannot be written.
    """
    path = Path(path)
    check_writable(path)
    if wire.full_bytes(model) < PROTOBUF_LIMIT:
        with replacing(path) as beside, beside.open("wb") as file:
            wire.write_full(model, file.write)
        return path.stat().st_size
    weights = path.with_name(path.name + ".data")
    check_writable(weights)
    with (
        replacing_files(path, weights) as beside,
        beside.open("wb") as file,
        beside.with_name(weights.name).open("wb") as data,
    ):
        wire.write_apart(model, file, data, weights.name)
    return path.stat().st_size + weights.stat().st_size


@contextlib.contextmanager
def loadable(model: onnx.ModelProto | Path) -> Iterator[bytes | str]:
    """``model`` in the form that runtimes load: bytes, or a path if it exceeds protobuf's 2 GB or
    has weights in files."""
    if isinstance(model, Path):
        yield str(model)
        return
    data = None if holds_stored(model) else _serialized(model)
    if data is not None:
        yield data
    else:
        with tempfile.TemporaryDirectory(prefix="oq-") as folder:
            path = Path(folder) / "model.onnx"
            save_model(model, path)
            yield str(path)


def _serialized(model: onnx.ModelProto) -> bytes | None:
    """``model`` as bytes, None where it needs external data.  To ask for its size first would take
    as long again: protobuf writes it out for that."""
    try:
        data: bytes = model.SerializeToString()
    except EncodeError:
        return None
    return data if len(data) < PROTOBUF_LIMIT else None


def model_bytes(model: onnx.ModelProto) -> int:
    """The size of ``model`` in bytes, its values included."""
    return wire.full_bytes(model)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, which is renamed to ``path`` if the block succeeds.

    Raises:
        OptionError: the system refuses to write (the disk is full); ``path`` is as it was.
    """
    with _as_option_error(path):
        beside = scratch_prefix(path.parent, path.name)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=beside, suffix=".tmp")
        os.close(handle)
        scratch = Path(name)
        try:
            yield scratch
            scratch.chmod(0o644)
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_files(*paths: Path) -> Iterator[Path]:
    """The path of the first of several files, in a folder of its own, which take the place of
    ``paths``, in one folder, if the block succeeds: the first one last, since it names the others.

    Raises:
        OptionError: the system refuses to write.
    """
    first, *others = paths
    with (
        _as_option_error(first),
        scratch_folder(first.parent) as scratch,
    ):
        yield scratch / first.name
        for path in (*others, first):
            os.replace(scratch / path.name, path)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A free path in the same folder, for a folder that takes the place of ``path`` if the block
    succeeds.

    Raises:
        OptionError: the system refuses to write; ``path`` is as it was.
    """
    with (
        _as_option_error(path),
        scratch_folder(path.parent) as scratch,
    ):
        beside = scratch / path.name
        yield beside
        old = scratch / "old"
        if path.exists():
            path.rename(old)
        try:
            beside.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise


def path_bytes(path: Path) -> int:
    """The size in bytes of the file at ``path``, of all files in it if it is a folder."""
    if path.is_dir():
        return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    return path.stat().st_size


@contextlib.contextmanager
def _as_option_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or one_line(error)
        raise OptionError(f"cannot write {str(path)!r}: {why}; nothing was changed") from error


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path``, atomically."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def check_writable(path: str | Path) -> None:
    """Check that ``path`` can be written, before calibration starts.

    Raises:
        OptionError: ``path`` is a folder, a link, or a device, pipe or socket, or its folder is
            missing or read-only.
    """
    path = Path(path)
    what = _kind(path)
    if what is not None:
        raise OptionError(f"cannot write {str(path)!r}: it is a {what}; give a file name")
    if not path.parent.is_dir():
        raise OptionError(f"cannot write {str(path)!r}: folder {str(path.parent)!r} does not exist")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OptionError(f"cannot write {str(path)!r}: {error.strerror}") from error


def check_folder(path: Path, mark: str) -> None:
    """Check that a folder can be written at ``path``, in place of nothing or of one of the same
    kind, which holds a file called ``mark``.

    Raises:
        OptionError: something else lies there, or its folder is missing or read-only.
    """
    if (path / mark).is_file() and not path.is_symlink():
        check_writable(path.with_name(f".{path.name}"))
        return
    if path.is_dir() and not path.is_symlink():
        raise OptionError(
            f"cannot write {str(path)!r}: it is a folder without {mark}; give another name"
        )
    check_writable(path)


def _kind(path: Path) -> str | None:
    """What lies at ``path`` that a file must not replace: a folder, a link, a device."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # a name longer than the file system takes
        raise OptionError(f"cannot write {str(path)!r}: {error.strerror}") from error
    if stat.S_ISREG(mode):
        return None
    return next((name for test, name in KINDS if test(mode)), "device, pipe or socket")


KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "folder"),
    (stat.S_ISLNK, "link"),
)


def check_apart(written: Mapping[str, Path | None], read: Mapping[str, Path | None]) -> None:
    """Check that no file is ``written`` (flag -> path) over one that is ``read`` (what it is ->
    path), over a file in a folder that is read, or over another one that is written.

    Raises:
        OptionError: one is.
    """
    outputs = [(flag, path) for flag, path in written.items() if path is not None]
    for i, (flag, path) in enumerate(outputs):
        for other, second in outputs[:i]:
            if _is_same(path, second):
                raise OptionError(f"{other} and {flag} are both {str(path)!r}; give two files")
        for what, given in (*read.items(), *data_of(read, [path])):
            if given is None or not given.exists():
                continue
            if _is_same(path, given):
                raise OptionError(f"{flag} {str(path)!r} is the {what} itself; give another {flag}")
            if given.is_dir() and path.exists() and path.resolve().is_relative_to(given.resolve()):
                raise OptionError(
                    f"{flag} {str(path)!r} is a file of the {what}; give another {flag}"
                )


def _is_same(first: Path, second: Path) -> bool:
    if first.exists() and second.exists():
        return first.samefile(second)
    return first.resolve() == second.resolve()


def _check_external(model: onnx.ModelProto, path: Path) -> None:
    """That the values of every tensor of ``model`` lie in its folder, and are there."""
    folder = path.parent.resolve()
    for tensor in tensors_of(model):
        if not is_stored(tensor):
            continue
        try:
            info = ExternalDataInfo(tensor)
            file = (folder / info.location).resolve()
        except (ValueError, OSError) as error:
            raise ModelError(
                f"external data of tensor {tensor.name!r} of {str(path)!r}: {one_line(error)}"
            ) from error
        if not file.is_relative_to(folder):
            raise ModelError(
                f"tensor {tensor.name!r} of {str(path)!r} points outside the model's folder "
                f"({info.location!r}); external data must lie beside the model"
            )
        needed = (info.offset or 0) + (info.length or _stored_bytes(tensor))
        if not file.is_file() or file.stat().st_size < needed:
            found = "is missing" if not file.is_file() else f"is shorter than {needed} bytes"
            raise ModelError(f"external data {info.location!r} of {str(path)!r} {found}")


def _stored_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes of ``tensor`` in a file whose entry does not say its length."""
    values: int = math.prod(tensor.dims)
    return values * _WIDTHS.get(tensor.data_type, 0)
