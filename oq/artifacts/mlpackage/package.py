"""A Core ML package as an artifact: opened, run, and told what it holds."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from oq.artifacts.artifact import Contents
from oq.artifacts.mlpackage.describe import read_description
from oq.artifacts.mlpackage.evaluate import Evaluation
from oq.artifacts.mlpackage.folder import find_model
from oq.artifacts.mlpackage.grids import Quantizer, Weight, find_quantizers, find_weights
from oq.artifacts.mlpackage.parse import read_model, read_program
from oq.artifacts.mlpackage.program import Description, Feature, Program
from oq.artifacts.mlpackage.tell import count_layers, tell
from oq.errors import DataError, ModelError, one_line
from oq.numerics.values import Array, TensorInfo

INPUTS, OUTPUTS, TENSORS, TYPES = "oq.inputs", "oq.outputs", "oq.tensors", "oq.types"
"""Keys of the metadata: names of the ONNX file's inputs and outputs, in the order of the package's
own; ONNX name -> name in the program; ONNX name of an input or output -> its dtype there."""


@dataclass(frozen=True, slots=True, eq=False)
class Package:
    """An ML program and its description.

    ``inputs`` and ``outputs`` have the names and dtypes of the ONNX file that it was made from,
    where its metadata say them; ``own`` leads from these names to the program's.  ``tensors`` does
    so for that file's inner tensors."""

    path: Path
    description: Description
    program: Program
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    own: Mapping[str, str]
    tensors: Mapping[str, str]
    format: str = "coreml"
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
            raise DataError(f"no input {spare[0]!r}; there is: {', '.join(sorted(names))}")
        given = {self.own[name]: value for name, value in feeds.items()}
        types = {o.name: o.dtype for o in self.outputs}
        asked = list(types) if outputs is None else list(outputs)
        inner = [self.own.get(name, name) if name in types else name for name in asked]
        found = self.evaluations[exact].run(given, set(inner), forced or {})
        results = []
        for name, own in zip(asked, inner, strict=True):
            dtype = types.get(name)
            results.append(found[own] if dtype is None else found[own].astype(dtype, copy=False))
        return results

    def contents(self) -> Contents:
        """What the package holds."""
        told = tell(self.path, self.description, self.program, self.quantizers(), self.weights())
        return replace(told, format=self.format, inputs=self.inputs, outputs=self.outputs)

    def integer_layers(self) -> tuple[int, int]:
        """Convolutions and matrix products between a dequantize and an integer weight, or between
        two dequantizes, and the others."""
        return count_layers(self.program)

    def weights(self) -> tuple[Weight, ...]:
        """Every weight that is stored compressed.

        Raises:
            ModelError: the scales of one are no constant.
        """
        return find_weights(self.program)

    def quantizers(self) -> tuple[Quantizer, ...]:
        """Every quantize and dequantize between tensors.

        Raises:
            ModelError: the scales of one are no constant.
        """
        return find_quantizers(self.program)


def open_file(path: str | Path) -> Package:
    """The package (a folder) at ``path``, read whole.

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
    types = _object(texts, TYPES)
    inputs = _renamed(description.inputs, _names(texts, INPUTS), types, INPUTS)
    outputs = _renamed(description.outputs, _names(texts, OUTPUTS), types, OUTPUTS)
    features = (*description.inputs, *description.outputs)
    own = {i.name: f.info.name for i, f in zip((*inputs, *outputs), features, strict=True)}
    evaluations = {exact: Evaluation(program, exact) for exact in (False, True)}
    return Package(
        *(found, description, program, inputs, outputs, own, _object(texts, TENSORS)),
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


def _renamed(
    features: Iterable[Feature], names: Sequence[str] | None, types: Mapping[str, str], key: str
) -> tuple[TensorInfo, ...]:
    found = [f.info for f in features]
    if names is None:
        return tuple(found)
    if len(names) != len(found):
        raise ModelError(f"metadata {key!r} name {len(names)}, the package has {len(found)}")
    return tuple(
        replace(info, name=name, dtype=types.get(name, info.dtype))
        for info, name in zip(found, names, strict=True)
    )


def _load(metadata: Mapping[str, str], key: str) -> object:
    try:
        return json.loads(metadata[key])
    except ValueError as error:
        raise ModelError(f"metadata {key!r} is no JSON: {one_line(error)}") from error


def _names(metadata: Mapping[str, str], key: str) -> list[str] | None:
    if key not in metadata:
        return None
    found = _load(metadata, key)
    if not isinstance(found, list) or not all(isinstance(n, str) for n in found):
        raise ModelError(f"metadata {key!r} is no list of names")
    return found


def _object(metadata: Mapping[str, str], key: str) -> dict[str, str]:
    if key not in metadata:
        return {}
    found = _load(metadata, key)
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise ModelError(f"metadata {key!r} maps no names to names")
    return found
