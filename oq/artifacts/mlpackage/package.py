"""A Core ML package as an artifact: opened, run, and told what it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from oq.artifacts.artifact import Contents
from oq.artifacts.mlpackage.describe import read_description
from oq.artifacts.mlpackage.evaluate import Evaluation
from oq.artifacts.mlpackage.folder import find_model
from oq.artifacts.mlpackage.grids import Quantizer, Weight, find_quantizers, find_weights
from oq.artifacts.mlpackage.images import Pixels
from oq.artifacts.mlpackage.metadata import (
    INPUTS,
    OUTPUTS,
    TENSORS,
    TYPES,
    read_mapping,
    read_names,
)
from oq.artifacts.mlpackage.parse import read_model, read_program
from oq.artifacts.mlpackage.program import Description, Program
from oq.artifacts.mlpackage.tell import count_layers, tell
from oq.errors import DataError, ModelError
from oq.numerics.values import Array, TensorInfo

CLASSIFY = "classify"
"""The operation of a classifier that gives the label, and all labels with their probabilities."""


@dataclass(frozen=True, slots=True, eq=False)
class Package:
    """An ML program and its description.

    ``inputs`` and ``outputs`` have the names and dtypes of the ONNX file that it was made from,
    where its metadata say them; ``own`` leads from these names to the program's.  ``tensors`` does
    so for that file's inner tensors.

    An input that is an image takes pixel values (0..255), or, where ``pixels`` has it, the values
    that they become.  Of a classifier, the probabilities are an output."""

    path: Path
    description: Description
    program: Program
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    own: Mapping[str, str]
    tensors: Mapping[str, str]
    format: str = "coreml"
    pixels: Mapping[str, Pixels] = field(default_factory=dict)
    evaluations: Mapping[bool, Evaluation] = field(default_factory=dict)

    def run(
        self,
        feeds: Mapping[str, Array],
        outputs: Sequence[str] | None = None,
        forced: Mapping[str, Array] | None = None,
        exact: bool = False,
    ) -> list[Array]:
        """The outputs (all of them when ``outputs`` is None) for one batch.

        ``outputs`` may name tensors of the program as well, by its own names.  ``forced`` maps such
        names to what their readers get instead (the codes of a quantize); asked for, a forced
        tensor is still what the program computes.  ``exact`` leaves out the rounding to float16.

        Raises:
            ModelError: what oq does not evaluate, a result of another shape or type than the
                package declares, or an unknown name.
            DataError: a feed is missing, unknown, or of another shape.
        """
        names = {i.name for i in self.inputs}
        if spare := sorted(set(feeds) - names):
            raise DataError(f"no input {spare[0]!r}; available: {', '.join(sorted(names))}")
        given = {}
        for name, value in feeds.items():
            own = self.own[name]
            given[own] = self.pixels[own].find(value) if own in self.pixels else value
        types = {o.name: o.dtype for o in self.outputs}
        asked = list(types) if outputs is None else list(outputs)
        inner = [self.own[name] if name in types else name for name in asked]
        found = self.evaluations[exact].run(given, set(inner), forced or {})
        results = []
        for name, own in zip(asked, inner, strict=True):
            dtype = types.get(name)
            results.append(found[own] if dtype is None else found[own].astype(dtype, copy=False))
        return results

    def contents(self) -> Contents:
        """What the package holds.

        Raises:
            ModelError: the scales of a weight are not constant.
        """
        told = tell(self.path, self.description, self.program, self.quantizers(), self.weights())
        return replace(told, format=self.format, inputs=self.inputs, outputs=self.outputs)

    def integer_layers(self) -> tuple[int, int]:
        """Convolutions and matrix products between a dequantize and an integer weight, or between
        two dequantizes, and the others."""
        return count_layers(self.program)

    def weights(self) -> tuple[Weight, ...]:
        """Every weight that is stored compressed.

        Raises:
            ModelError: the scales of one are not constant.
        """
        return find_weights(self.program)

    def quantizers(self) -> tuple[Quantizer, ...]:
        """Every quantize and dequantize between tensors.

        Raises:
            ModelError: the scales of one are not constant.
        """
        return find_quantizers(self.program)


def open_file(path: str | Path) -> Package:
    """The package (a folder) at ``path``, read whole; images are fed as pixels.

    Raises:
        ModelError: it is damaged, no ML program, or holds what oq does not read.
    """
    found = Path(path)
    file = find_model(found)
    model = read_model(file)
    description = read_description(model)
    program = read_program(model, file.parent)
    _insist_same(description, program)
    texts = description.metadata
    types, tensors = read_mapping(texts, TYPES), read_mapping(texts, TENSORS)
    given = tuple(f.info for f in description.inputs)
    made = tuple(_sized(f.info, program) for f in description.outputs)
    classes = _probabilities(program, {own: name for name, own in tensors.items()})
    inputs = _renamed(given, read_names(texts, INPUTS), types, INPUTS)
    outputs = _renamed(made, read_names(texts, OUTPUTS), types, OUTPUTS)
    own = {i.name: o.name for i, o in zip((*inputs, *outputs), (*given, *made), strict=True)}
    own |= {info.name: name for name, info in classes.items()}
    evaluations = {exact: Evaluation(program, exact) for exact in (False, True)}
    return Package(
        *(found, description, program, inputs, (*outputs, *classes.values()), own, tensors),
        evaluations=evaluations,
    )


def _insist_same(description: Description, program: Program) -> None:
    """The description and the program speak of the same inputs and outputs."""
    for what, features, names in (
        ("input", description.inputs, tuple(program.inputs)),
        ("output", description.outputs, program.outputs),
    ):
        for feature in features:
            if feature.info.name not in names:
                raise ModelError(
                    f"{what} {feature.info.name!r} of the description is none of the program's: "
                    f"{', '.join(names)}"
                )


def _sized(info: TensorInfo, program: Program) -> TensorInfo:
    """With the program's shape where the description says none."""
    types = {name: kind for made in program.operations for name, kind in made.outputs}
    known = info.shape is not None or info.name not in types
    return info if known else replace(info, shape=types[info.name].shape)


def _probabilities(program: Program, onnx: Mapping[str, str]) -> dict[str, TensorInfo]:
    """The tensors that are classified, by their name in the program, under their ONNX name."""
    types = {name: kind for made in program.operations for name, kind in made.outputs}
    found = {}
    for made in program.operations:
        if made.kind != CLASSIFY:
            continue
        for name in made.inputs.get("probabilities", ()):
            if isinstance(name, str) and name in types:
                shape = types[name].shape
                found[name] = TensorInfo(onnx.get(name, name), "float32", shape)
    return found


def _renamed(
    found: Sequence[TensorInfo], names: Sequence[str] | None, types: Mapping[str, str], key: str
) -> tuple[TensorInfo, ...]:
    if names is None:
        names = [info.name for info in found]
    if len(names) != len(found):
        raise ModelError(f"metadata {key!r} name {len(names)}, the package has {len(found)}")
    return tuple(
        replace(info, name=name, dtype=types.get(name, info.dtype))
        for info, name in zip(found, names, strict=True)
    )
