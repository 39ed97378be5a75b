"""An ML program as values: what ``parse.py`` makes of a package's bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from oq.numerics.values import Array, TensorInfo

Sizes = tuple[int | None, ...]
"""One entry per axis; None where the package leaves it open."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """Type name (:mod:`.dtypes`) and shape; ``shape`` is None of an unknown rank."""

    dtype: str
    shape: Sizes | None


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A value of the program: ``values`` has the declared shape.  Lists of strings are arrays of
    str; ``blob`` says that it lies in ``weight.bin``."""

    type: TensorType
    values: Array
    blob: bool = False


Binding = str | Constant
"""What feeds an input of an operation: a tensor by name, or a value written in place."""


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation: ``kind`` is MIL's name of it, ``inputs`` its arguments by parameter name
    (several where the parameter is a tuple), ``outputs`` its results with their declared types."""

    kind: str
    name: str
    inputs: Mapping[str, tuple[Binding, ...]]
    outputs: tuple[tuple[str, TensorType], ...]
    blocks: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """The main function of a package, for one ``opset`` ("CoreML7"): its ``inputs``, the names of
    its ``outputs``, ``operations`` in their order, constants by name apart from them."""

    opset: str
    inputs: Mapping[str, TensorType]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    constants: Mapping[str, Constant]


@dataclass(frozen=True, slots=True)
class Feature:
    """An input or output as the description has it; ``image`` is its color space, if it is one."""

    info: TensorInfo
    image: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """What a package says of itself: the version of the specification (8: iOS 17, 9: iOS 18), its
    inputs and outputs in order, and the metadata that the writer added."""

    version: int
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
