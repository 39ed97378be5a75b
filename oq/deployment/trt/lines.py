"""trtexec's line for each generation of TensorRT, and the builder flags that say the same.

TensorRT 11 has only strongly typed networks: types in the file settle those of all layers.  From
10.12 on that is ``--stronglyTyped``, and precision flags must not stand beside it; before, flags
allow int8 and, for the float rest, float16.  8.6 reads weights only as float constants through a
QuantizeLinear, no stored codes.  (docs.nvidia.com, TensorRT migration guide 10.x to 11.x, "Working
with Quantized Types"; NVIDIA/TensorRT ``samples/common/sampleOptions.cpp``.)
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence

import onnx

from oq.artifacts.artifact import Contents
from oq.deployment.trt.profiles import Shapes3
from oq.model.bodies import graphs_in, nodes_in
from oq.model.qdq import DQ

WIDE: Mapping[str, str] = {"float8_e4m3fn": "FP8", "int4": "INT4", "int8": "INT8"}
"""Type of codes -> builder flag, and flag of trtexec in small letters."""

ALWAYS = ("--profilingVerbosity=detailed",)


def builder_flags(found: Contents) -> tuple[str, ...]:
    """The flags of versions before strong typing."""
    dtypes = {use.dtype for use in (*found.activations, *found.weights)}
    return (*sorted(WIDE[dtype] for dtype in dtypes & set(WIDE)), "FP16")


def stores_codes(model: onnx.ModelProto) -> bool:
    """Whether some weight is stored as codes, and not as floats in front of a QuantizeLinear."""
    held = {t.name for graph in graphs_in(model.graph) for t in graph.initializer}
    return any(n.op_type == DQ and n.input[0] in held for n in nodes_in(model.graph))


def trtexec_lines(
    model: str, engine: str, shapes: Mapping[str, Shapes3], flags: Sequence[str], oldest: str
) -> Iterator[tuple[str, str]]:
    """(which TensorRT, its line)."""
    layers = f"{engine.removesuffix('.plan')}.layers.json"
    common = [f"--onnx={model}", f"--saveEngine={engine}", *ALWAYS, f"--exportLayerInfo={layers}"]
    common += _shape_flags(shapes)
    weak = [f"--{flag.lower()}" for flag in flags]
    for title, own in (
        ("TensorRT 11", []),
        ("10.12+", ["--stronglyTyped"]),
        (f"{oldest}-10.11", weak),
    ):
        yield title, shlex.join(["trtexec", *common, *own])


def _shape_flags(shapes: Mapping[str, Shapes3]) -> Iterator[str]:
    for at, flag in enumerate(("minShapes", "optShapes", "maxShapes") if shapes else ()):
        parts = (f"{_quoted(name)}:{'x'.join(map(str, s[at]))}" for name, s in shapes.items())
        yield f"--{flag}={','.join(parts)}"


def _quoted(name: str) -> str:
    """trtexec takes a name with a colon or a comma in single quotes."""
    return f"'{name}'" if set(name) & set(":,") else name
