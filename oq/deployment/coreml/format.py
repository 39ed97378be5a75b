"""``--to coreml``: the Core ML package of a Q/DQ file, or of a float one with small weights."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

import oq
from oq.data.samples import in_float32
from oq.deployment.coreml.asked import Asked, Source
from oq.deployment.coreml.image import image_input
from oq.deployment.coreml.library import TARGETS, Library, convert, load_library, version
from oq.deployment.coreml.package import MARK, describe, program_names, write_package
from oq.deployment.coreml.program import Built, build
from oq.deployment.coreml.prove import prove
from oq.deployment.coreml.prove_labels import prove_labels
from oq.deployment.coreml.weights_only import compress, read_kind
from oq.deployment.formats import Format, Given, Made, Proof
from oq.errors import OptionError
from oq.model.graph import Graph
from oq.model.proto_fields import read_type
from oq.model.view import GraphView
from oq.numerics.values import Batch
from oq.prepare.order import prepare

PRECISIONS = ("float16", "float32")
NEXT = "open {output} in Xcode; docs/formats/coreml.md compares it on a Mac"
OPTIONS = ("ios", "precision", "weights_only", "image_input", "labels")


def write(given: Given, path: Path) -> Made:
    """Write ``given`` to the folder ``path`` and compare it with the Q/DQ file."""
    asked = read_options(given.options)
    library = load_library()
    source = read_source(given.model, asked)
    image = image_input(
        given.options["image_input"], given.options["preprocess"], len(source.view.inputs)
    )
    labels = read_labels(given.options["labels"], source.view)
    asked = replace(asked, image=image, labels=labels)
    batches = _batches(given, source, asked)
    built, names = write_program(library, source, asked, given.name, path)
    proofs = [*prove(path, source, names, batches, asked)]
    if labels:
        proofs.append(prove_labels(path, batches, asked))
    if asked.half:
        proofs += _prove_twin(library, given.name, source, replace(asked, half=False), batches)
    facts = {
        "program": f"{TARGETS[asked.ios]} and later, {'float16' if asked.half else 'float32'}",
        "made with": f"coremltools {version(library)}",
    }
    return Made(tuple(proofs), facts, _notes(built), NEXT)


def _prove_twin(
    library: Library, name: str, source: Source, asked: Asked, batches: Sequence[Batch]
) -> list[Proof]:
    """The proofs of the same program in the precision of ``asked``, without labels."""
    plain = replace(asked, labels=())
    with TemporaryDirectory(prefix="oq-") as folder:
        beside = Path(folder) / "twin.mlpackage"
        _, names = write_program(library, source, plain, name, beside)
        return [*prove(beside, source, names, batches, plain)]


def _batches(given: Given, source: Source, asked: Asked) -> list[Batch]:
    """The samples that packages are compared on, in the types of what is written."""
    wide = {i.name for i in source.view.inputs if i.dtype == "float32"}
    samples = given.samples if asked.kind is None else in_float32(given.samples, wide)
    return list(samples.batches(1 if asked.image is not None or asked.labels else 2))


def read_options(options: Mapping[str, Any]) -> Asked:
    """The options that do not depend on the model.

    Raises:
        OptionError: one has no such value.
    """
    ios, precision = options["ios"], options["precision"]
    if ios not in TARGETS:
        raise OptionError(f"--ios {ios}; available: {', '.join(map(str, TARGETS))}")
    if precision not in PRECISIONS:
        raise OptionError(f"--precision {precision!r}; available: {', '.join(PRECISIONS)}")
    kind = read_kind(options["weights_only"], ios)
    return Asked(ios, precision == "float16", kind, None, ())


def check(options: Mapping[str, Any]) -> None:
    """Refuse ``options`` that no model can have, and insist on coremltools."""
    read_options(options)
    if options["image_input"]:
        image_input(True, options["preprocess"], 1)
    load_library()


def read_source(model: onnx.ModelProto, asked: Asked) -> Source:
    """``model`` as it is written: a Q/DQ file as it is, a float one prepared and compressed."""
    if asked.kind is None:
        return Source(model, Graph(model).view(), {})
    graph = prepare(model, OPSET).graph
    view = graph.view()
    return Source(graph.to_model(), view, compress(view, asked.kind, asked.ios))


OPSET = 13
"""The oldest opset that the rows read."""


def read_labels(path: str | Path | None, view: GraphView) -> tuple[str, ...]:
    """The lines of ``path``, one per class of the model's only output.

    Raises:
        OptionError: no such file, or another number of lines than of classes.
    """
    if path is None:
        return ()
    try:
        found = tuple(Path(path).read_text(encoding="utf-8").splitlines())
    except OSError as error:
        raise OptionError(f"--labels {str(path)!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"--labels {str(path)!r}: it is not UTF-8 text") from error
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
    library: Library, source: Source, asked: Asked, name: str, path: Path
) -> tuple[Built, dict[str, str]]:
    """Write the package of ``source`` to ``path``; its program, and ONNX tensor -> what it calls
    it, for activation quantizers and compressed weights."""
    built = build(
        library,
        source.view,
        ios=asked.ios,
        half=asked.half,
        image=asked.image,
        compressed=source.compressed,
    )
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
    called = find_names(built.tensors, spec)
    kinds = {i.name: i.dtype for i in map(read_type, (*source.model.graph.input,
                                                      *source.model.graph.output))}  # fmt: skip
    metadata = {
        "oq.model": name,
        "oq.version": oq.__version__,
        "oq.tensors": json.dumps({t: n for t, n in called.items() if t != n}, sort_keys=True),
        "oq.types": json.dumps(kinds, sort_keys=True),
    }
    describe(spec, metadata, names)
    write_package(spec, weights, path)
    del keep  # the weights lay in a folder that it removes
    return built, called | find_names(built.weights, spec)


def find_names(wished: Mapping[str, str], spec: Any) -> dict[str, str]:
    """ONNX tensor -> its name in ``spec``, where float16 programs put an ending to names: an output
    of the program is the cast behind it."""
    there = program_names(spec)
    found = {}
    for tensor, name in wished.items():
        called = next((n for n in (f"{name}_cast_fp16", name) if n in there), None)
        if called is not None:
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
    check=check,
)
