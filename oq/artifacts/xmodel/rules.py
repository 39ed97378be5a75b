"""What XIR's loader demands of an op, as a table; and what holds in a quantized graph that is not
compiled yet.

After ``op/built_in_ops.cpp``, ``op/op_imp.cpp`` and ``graph/serialize_v2.cpp`` of Xilinx/Vitis-AI.
The loader takes the shapes stored in a file for granted, so that a wrong one would poison what
follows silently: here they are inferred and compared.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from oq.artifacts.xmodel import shapes
from oq.artifacts.xmodel.file import Dims, Op, XirGraph
from oq.errors import ModelError

REQUIRED, REPEATED, OPTIONAL = (1, 1), (1, None), (0, 1)
"""How many ops an argument reads: least, and most."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The arguments of an op type with their counts, its attributes with the case of their value,
    those that may be left out, and its shape."""

    infer: shapes.Infer
    arguments: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)


ONE = {"input": REQUIRED}
MANY = {"input": REPEATED}
SOURCE = {"shape": "int32s", "data_type": "string"}
WEIGHTED = {"input": REQUIRED, "weights": REQUIRED, "bias": OPTIONAL}
WINDOW = {"kernel": "int32s", "stride": "int32s", "pad_mode": "string"}
SPREAD = {"dilation": "int32s", "pad": "int32s"}
POOLED = {"pad": "int32s", "global": "bool"}
COUNTED = {**POOLED, "count_include_pad": "bool", "count_include_invalid": "bool"}
FIX = {"fix_point": "int32", "bit_width": "int32", "if_signed": "bool", "round_mode": "string"}
REDUCED = {"axis": "int32s", "keep_dims": "bool"}
RESIZED = {"align_corners": "bool", "half_pixel_centers": "bool", "scale": "floats"}
NORMED = dict.fromkeys(("input", "gamma", "beta", "moving_mean", "moving_var"), REQUIRED)
AFFINE = {**ONE, "weight": OPTIONAL, "bias": OPTIONAL}
EPSILON = {"eps": "float", "affine": "bool"}
UNARY = Rule(shapes.same, ONE)
PAIRED = Rule(shapes.broadcast, MANY)
REDUCTION = Rule(shapes.reduce, ONE, REDUCED)

RULES: Mapping[str, Rule] = {
    "data": Rule(shapes.own, {}, SOURCE),
    "const": Rule(shapes.own, {}, {**SOURCE, "data": "Bytes"}),
    "fix": Rule(shapes.same, ONE, FIX),
    "conv2d": Rule(shapes.conv, WEIGHTED, WINDOW, {**SPREAD, "group": "int32"}),
    "depthwise-conv2d": Rule(shapes.depthwise, WEIGHTED, WINDOW, SPREAD),
    "transposed-conv2d": Rule(shapes.transposed, WEIGHTED, WINDOW, SPREAD),
    "transposed-depthwise-conv2d": Rule(shapes.transposed_depthwise, WEIGHTED, WINDOW, SPREAD),
    "matmul": Rule(
        *(shapes.matmul, {"input": REPEATED, "bias": OPTIONAL}),
        {"transpose_a": "bool", "transpose_b": "bool"},
    ),
    **dict.fromkeys(("add", "sub", "mul", "div", "max", "min"), PAIRED),
    **dict.fromkeys(("relu", "relu6", "hard-sigmoid", "hard-tanh"), UNARY),
    **dict.fromkeys(("sigmoid", "tanh", "gelu", "mish", "selu", "exp", "neg"), UNARY),
    **dict.fromkeys(("elu", "celu"), Rule(shapes.same, ONE, {}, {"alpha": "float"})),
    "leaky-relu": Rule(shapes.same, ONE, {"alpha": "float"}),
    "prelu": Rule(shapes.same, {"input": REQUIRED, "weight": REQUIRED}),
    "maxpool2d": Rule(shapes.pool, ONE, WINDOW, POOLED),
    "avgpool2d": Rule(shapes.pool, ONE, WINDOW, COUNTED),
    **{f"reduction_{what}": REDUCTION for what in ("mean", "max", "product", "sum")},
    "softmax": Rule(shapes.along_axis, ONE, {"axis": "int32"}),
    "concat": Rule(shapes.concat, MANY, {"axis": "int32"}),
    "reshape": Rule(shapes.reshape, {**ONE, "shape": OPTIONAL}, {}, {"shape": "int32s"}),
    "stack": Rule(shapes.stack, MANY, {"axis": "int32"}),
    "transpose": Rule(shapes.transpose, ONE, {"order": "int32s"}),
    "strided_slice": Rule(
        shapes.strided_slice, ONE, {"begin": "int32s", "end": "int32s", "strides": "int32s"}
    ),
    "pad": Rule(
        shapes.pad, ONE, {"paddings": "int32s", "mode": "string"}, {"constant_values": "floats"}
    ),
    "resize": Rule(shapes.resize, {**ONE, "size": OPTIONAL}, {"mode": "string"}, RESIZED),
    "pixel-shuffle": Rule(shapes.shuffle, ONE, {"scale": "int32", "upscale": "bool"}),
    "gstiling": Rule(shapes.shuffle, ONE, {"reverse": "bool", "stride": "int32"}),
    "batchnorm": Rule(shapes.same, NORMED, {"axis": "int32", "epsilon": "float"}),
    "instancenorm": Rule(shapes.same, AFFINE, EPSILON),
    "groupnorm": Rule(
        shapes.same, AFFINE, {**EPSILON, "num_groups": "int32", "num_channels": "int32"}
    ),
}
"""Op type -> its rule.  Other types load as custom ops, which the CPU runs; oq reads none."""


def broken_rules(graph: XirGraph) -> Iterator[str]:
    """What AMD's loader would refuse, or take wrongly, in the order of the file."""
    known: dict[str, Dims] = {}
    for op in graph.ops:
        yield from _op_rules(op, known)
        known[op.name] = op.dims
    listed = () if graph.root is None else graph.root.ops
    if graph.root is None or graph.root.children or listed != tuple(op.name for op in graph.ops):
        yield "its root part does not list all ops in the order of the file"


def _op_rules(op: Op, known: Mapping[str, Dims]) -> Iterator[str]:
    rule, here = RULES.get(op.type), f"op {op.name!r} ({op.type})"
    if not op.name or op.name in known:
        yield f"{here}: its name is taken, or empty"
    if (op.data_type, op.bits) != ("FLOAT", 32):
        yield f"{here}: its tensor is {op.data_type} of {op.bits} bits, not FLOAT of 32"
    if rule is None:
        yield f"{here}: no op that oq reads"
        return
    unread = [name for name in op.reads() if name not in known]
    if unread:
        yield f"{here}: it reads {unread[0]!r}, which does not stand before it"
    broken = [*_argument_rules(op, rule), *_attribute_rules(op, rule)]
    yield from (f"{here}: {text}" for text in broken)
    if not unread and not broken:
        yield from _shape_rules(op, rule, known)


def _argument_rules(op: Op, rule: Rule) -> Iterator[str]:
    for name in op.arguments.keys() - rule.arguments.keys():
        yield f"it has no argument {name!r}"
    for name, (least, most) in rule.arguments.items():
        count = len(op.arguments.get(name, ()))
        if count < least or (most is not None and count > most):
            yield f"its argument {name!r} reads {count} ops"


def _attribute_rules(op: Op, rule: Rule) -> Iterator[str]:
    for name, case in {**rule.attributes, **rule.optional}.items():
        found = op.attributes.get(name)
        if found is None and name in rule.attributes:
            yield f"its attribute {name!r} is missing"
        elif found is not None and found.case != case:
            yield f"its attribute {name!r} is {found.case}, not {case}"


def _shape_rules(op: Op, rule: Rule, known: Mapping[str, Dims]) -> Iterator[str]:
    given = {a: [known[n] for n in names] for a, names in op.arguments.items()}
    try:
        dims = rule.infer(op, given)
    except ModelError as error:
        yield str(error)
        return
    if dims != op.dims:
        found = f"its tensor is {list(op.dims)}, which must be {list(dims)}"
        yield f"op {op.name!r} ({op.type}): {found}"
    size, held = 4 * math.prod(op.dims), op.get("data")
    if held is not None and len(held) != size:
        yield f"op {op.name!r} ({op.type}): {len(held)} bytes where its shape has {size}"
