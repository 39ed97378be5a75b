"""The interface of a device file that is read back, and the table of readers.

A reader is a module that exports ``open_file``, and a row here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from oq.errors import ModelError
from oq.numerics.values import Array, TensorInfo
from oq.wording import Told

READERS: Mapping[str, str] = {
    ".mlpackage": "oq.artifacts.mlpackage.as_model",
    ".pt": "oq.artifacts.torchfiles.script",
    ".pt2": "oq.artifacts.torchfiles.exported",
    ".xml": "oq.engines.openvino_ir",
    ".xmodel": "oq.artifacts.xmodel.reader",
}
"""Suffix of a file or folder -> the module that reads it: here, or where the engine is that runs
it."""


@dataclass(frozen=True, slots=True)
class GridUse:
    """One quantized tensor as the file has it: its integer ``dtype``, ``scale`` (the smallest and
    the largest where there are several), ``zero_point`` (likewise), and the number of scales: one
    per tensor, one per channel, or one per ``block`` of that many neighbours.  None for a scale or
    a zero point that the file does not hold: it is worked out when the model runs, or by other
    nodes."""

    tensor: str
    dtype: str
    scale: tuple[float, float] | None
    zero_point: tuple[int, int] | None
    scales: int = 1
    block: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Contents(Told):
    """What a file holds: ``facts`` (version, deployment target ...) by name, ``ops`` by the
    format's own names, the grids of activations and of weights, bytes of constants by dtype."""

    WORDS: ClassVar[str] = "oq.artifacts.describe:told_lines"

    format: str
    bytes: int
    facts: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[TensorInfo, ...] = ()
    ops: Mapping[str, int] = field(default_factory=dict)
    activations: tuple[GridUse, ...] = ()
    weights: tuple[GridUse, ...] = ()
    constants: Mapping[str, int] = field(default_factory=dict)

    def short(self) -> str:
        """Format, size and number of grids."""
        grids = f"{len(self.activations)} activations and {len(self.weights)} weights quantized"
        return f"{self.format}: {self.bytes:,} bytes, {grids}"


@runtime_checkable
class Artifact(Protocol):
    """A device file, read.  ``inputs`` and ``outputs`` have the names, the dtypes and the layout of
    the ONNX file that it was made from; ``format`` is the name that ``oq deploy --to`` takes."""

    format: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """The outputs (all of them when ``outputs`` is None) for one batch, by the file's own
        arithmetic.

        Raises:
            ModelError: an op that the reader does not know, or an input of one.
            DataError: the file does not take feeds of these shapes.
        """

    def contents(self) -> Contents:
        """What the file holds."""

    def integer_layers(self) -> tuple[int, int]:
        """The weighted layers that compute on integer operands, and those in float."""


def is_artifact(path: object) -> bool:
    """Whether ``path`` has the suffix of a format that is read here.

    >>> is_artifact("model.onnx")
    False
    """
    return isinstance(path, str | Path) and Path(path).suffix in READERS


def open_artifact(path: str | Path) -> Artifact:
    """The device file at ``path``.

    Raises:
        ModelError: there is none, it is damaged, or it is of no format that oq reads.
        MissingExtra: a package that its reader needs is not installed.
    """
    found = Path(path)
    if found.suffix not in READERS:
        there = ", ".join(sorted(READERS))
        raise ModelError(f"{str(path)!r} is of no format that oq reads; available: .onnx, {there}")
    if not found.exists():
        raise ModelError(f"no file at {str(path)!r}")
    opened: Artifact = import_module(READERS[found.suffix]).open_file(found)
    return opened
