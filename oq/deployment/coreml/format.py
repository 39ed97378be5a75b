"""``--to coreml``: the Core ML package of a Q/DQ file, or of a float one with small weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

import oq
from oq.deployment.coreml.image import ImageInput, image_input
from oq.deployment.coreml.library import TARGETS, Library, convert, load_library, version
from oq.deployment.coreml.package import MARK, describe, program_names, write_package
from oq.deployment.coreml.program import Built, build
from oq.deployment.coreml.stored import Codes, Palette
from oq.deployment.coreml.weights_only import Kind, compress, read_kind
from oq.deployment.formats import Format, Given, Made
from oq.errors import OptionError
from oq.model.graph import Graph
from oq.model.view import GraphView
from oq.prepare.order import prepare

PRECISIONS = ("float16", "float32")
NEXT = "open {output} in Xcode; docs/formats/coreml.md compares it on a Mac"
OPTIONS = ("ios", "precision", "weights_only", "image_input", "preprocess", "labels")


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the format, checked."""

    ios: int
    half: bool
    kind: Kind | None
    image: ImageInput | None
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """What is written: the ``model`` (Q/DQ, or prepared float) as ``view`` shows it, with
    ``compressed`` weights."""

    model: onnx.ModelProto
    view: GraphView
    compressed: Mapping[str, Codes | Palette]


def write(given: Given, path: Path) -> Made:
    """Write ``given`` to the folder ``path`` and compare it with the Q/DQ file."""
    asked = read_options(given.options)
    library = load_library()
    source = read_source(given.model, asked)
    image = image_input(
        given.options["image_input"], given.options["preprocess"], len(source.view.inputs)
    )
    labels = read_labels(given.options["labels"], source.view)
    asked = Asked(asked.ios, asked.half, asked.kind, image, labels)
    built = build_source(library, source, asked)
    facts = write_program(library, built, asked, given.name, path)
    return Made((), facts, _notes(built), NEXT)


def read_options(options: Mapping[str, Any]) -> Asked:
    """The options that do not depend on the model.

    Raises:
        OptionError: one has no such value.
    """
    ios, precision = options["ios"], options["precision"]
    if ios not in TARGETS:
        raise OptionError(f"--ios {ios}; there is: {', '.join(map(str, TARGETS))}")
    if precision not in PRECISIONS:
        raise OptionError(f"--precision {precision!r}; there is: {', '.join(PRECISIONS)}")
    kind = read_kind(options["weights_only"], ios)
    return Asked(ios, precision == "float16", kind, None, ())


def read_source(model: onnx.ModelProto, asked: Asked) -> Source:
    """``model`` as it is written: a Q/DQ file as it is, a float one prepared and compressed."""
    if asked.kind is None:
        return Source(model, Graph(model).view(), {})
    graph = prepare(model, OPSET).graph
    view = graph.view()
    return Source(graph.to_model(), view, compress(view, asked.kind, asked.ios))


OPSET = 13
"""The oldest opset that the rows read."""


def build_source(library: Library, source: Source, asked: Asked) -> Built:
    """The program of ``source``."""
    return build(library, source.view, asked.ios, asked.image, source.compressed)


def read_labels(path: Path | None, view: GraphView) -> tuple[str, ...]:
    """The lines of ``path``, one per class of the model's only output.

    Raises:
        OptionError: no such file, or another number of lines than of classes.
    """
    if path is None:
        return ()
    try:
        found = tuple(Path(path).read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--labels {str(path)!r}: cannot be read as text") from error
    if len(view.outputs) != 1:
        raise OptionError(f"--labels: the model has {len(view.outputs)} outputs, not one")
    shape = view.shape(view.outputs[0]) or ()
    if len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != len(found)):
        axes = "x".join(map(str, shape))
        raise OptionError(
            f"--labels {str(path)!r} has {len(found)} lines; output {view.outputs[0]!r} is {axes},"
            " expected one line for each of the classes of an output 1xN"
        )
    return found


def write_program(
    library: Library, built: Built, asked: Asked, name: str, path: Path
) -> dict[str, str]:
    """Convert ``built`` and write the package to ``path``; the facts of it."""
    spec, weights, keep = convert(
        library,
        built.function,
        built.inputs,
        built.limits,
        ios=asked.ios,
        half=asked.half,
        labels=asked.labels,
    )
    names = {s.name: onnx for s, onnx in zip(built.inputs, built.names, strict=True)}
    names |= {mil: onnx for onnx, mil in built.outputs.items()}
    metadata = {
        "oq.model": name,
        "oq.version": oq.__version__,
        "oq.tensors": json.dumps(moved(built, spec), sort_keys=True),
    }
    describe(spec, metadata, names)
    write_package(spec, weights, path)
    del keep  # the weights lay in a folder that it removes
    return {
        "program": f"{TARGETS[asked.ios]} and later, {'float16' if asked.half else 'float32'}",
        "made with": f"coremltools {version(library)}",
    }


def moved(built: Built, spec: Any) -> dict[str, str]:
    """The tensors of activation quantizers that the program of ``spec`` calls otherwise."""
    there = program_names(spec)
    found = {}
    for tensor, name in built.tensors.items():
        called = next((n for n in (name, f"{name}_cast_fp16") if n in there), None)
        if called is not None and called != tensor:
            found[tensor] = called
    return found


def _notes(built: Built) -> tuple[str, ...]:
    free = [f"{axis} from 1 to {most}" for axis, most in built.limits.items()]
    if not free:
        return ()
    return (
        f"free axes: {', '.join(free)}; programs of fixed shapes run on the Neural Engine more"
        " often: --shape NAME=1x3x224x224",
    )


FORMAT = Format(
    name="coreml",
    summary="Apple Core ML package (ML program) for iOS 17 and 18, macOS 14 and 15",
    suffix=".mlpackage",
    target="coreml",
    write=write,
    mark=MARK,
    options=OPTIONS,
    takes_float=lambda options: options["weights_only"] is not None,
)
