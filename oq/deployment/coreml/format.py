"""``--to coreml``: the Core ML package of a Q/DQ file, and what is asked of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oq
from oq.deployment.coreml.image import ImageInput, image_input
from oq.deployment.coreml.library import TARGETS, Library, convert, load_library, version
from oq.deployment.coreml.package import MARK, describe, program_names, write_package
from oq.deployment.coreml.program import Built, build
from oq.deployment.formats import Format, Given, Made
from oq.errors import OptionError
from oq.model.graph import Graph
from oq.model.view import GraphView

PRECISIONS = ("float16", "float32")


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the format, checked."""

    ios: int
    half: bool
    image: ImageInput | None
    labels: tuple[str, ...]


def write(given: Given, path: Path) -> Made:
    """Write ``given`` to the folder ``path`` and compare it with the Q/DQ file."""
    view = Graph(given.model).view()
    asked = _asked(given.options, view)
    library = load_library()
    built = build(library, view, asked.ios, asked.image)
    facts = _write(library, built, asked, given.name, path)
    return Made((), facts, tuple(_notes(built)), NEXT)


NEXT = "open {output} in Xcode; docs/formats/coreml.md compares it on a Mac"


def _asked(options: Mapping[str, Any], view: GraphView) -> Asked:
    if options["ios"] not in TARGETS:
        raise OptionError(f"--ios {options['ios']}; there is: {', '.join(map(str, TARGETS))}")
    if options["precision"] not in PRECISIONS:
        raise OptionError(
            f"--precision {options['precision']!r}; there is: {', '.join(PRECISIONS)}"
        )
    image = image_input(options["image_input"], options["preprocess"], len(view.inputs))
    labels = read_labels(options["labels"], view)
    return Asked(options["ios"], options["precision"] == "float16", image, labels)


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


def _write(library: Library, built: Built, asked: Asked, name: str, path: Path) -> dict[str, str]:
    """Convert ``built`` and write the package; the facts of it."""
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
    metadata = {"oq.model": name, "oq.version": oq.__version__,
        "oq.tensors": json.dumps(moved(built, spec), sort_keys=True)}  # fmt: skip
    describe(spec, metadata, names)
    write_package(spec, weights, path)
    del keep  # the weights lie in a folder that it removes
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


def _notes(built: Built) -> Sequence[str]:
    free = [f"{axis} from 1 to {most}" for axis, most in built.limits.items()]
    if not free:
        return ()
    return [
        f"free axes: {', '.join(free)}; programs of fixed shapes run on the Neural Engine more"
        " often: --shape NAME=1x3x224x224"
    ]


FORMAT = Format(
    name="coreml",
    summary="Apple Core ML package (ML program) for iOS 17 and 18, macOS 14 and 15",
    suffix=".mlpackage",
    target="coreml",
    write=write,
    mark=MARK,
    options=("ios", "precision", "image_input", "preprocess", "labels"),
)
