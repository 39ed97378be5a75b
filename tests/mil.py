"""Core ML packages for tests, made with coremltools' own builder, and parts of them to damage."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ValueInfoProto, helper

from oq.artifacts.mlpackage.package import open_file
from oq.artifacts.mlpackage.schema import message_class
from oq.model.session import Session, Settings
from oq.numerics.values import Array

ct = pytest.importorskip("coremltools")

MODEL = Path("Data", "com.apple.CoreML", "model.mlmodel")
WEIGHTS = Path("Data", "com.apple.CoreML", "weights", "weight.bin")

Body = Callable[..., Any]
"""From coremltools' builder and the inputs to the output, or a tuple of outputs."""


def save_package(
    path: Path,
    body: Body,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    ios: int = 18,
    half: bool = False,
    metadata: Mapping[str, str] | None = None,
    **convert: Any,
) -> Path:
    """Write the program ``body(mb, x, ...)`` to ``path``; in float32 without passes, so that the
    operations stay what the test wrote."""
    from coremltools.converters.mil.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program

    target = getattr(ct.target, f"iOS{ios}")
    given = {name: mb.placeholder(shape) for name, shape in shapes.items()}
    program = Program()
    with Function(given, opset_version=target) as function:
        made = body(mb, *function.inputs.values())
        function.set_outputs(list(made) if isinstance(made, tuple) else [made])
    program.add_function("main", function)
    model = ct.convert(
        program,
        source="milinternal",
        convert_to="mlprogram",
        minimum_deployment_target=target,
        compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline() if half else ct.PassPipeline.EMPTY,
        skip_model_load=True,
        **convert,
    )
    model.user_defined_metadata.update(metadata or {})
    model.save(str(path))
    return path


@dataclass(frozen=True, slots=True)
class Row:
    """One operation on the input ``x``, and what it must give."""

    name: str
    body: Body
    expected: Array | Sequence[Array]
    atol: float = 2e-6


def assert_rows(path: Path, rows: Sequence[Row], x: Array, *, ios: int = 18) -> None:
    """Write all ``rows`` as one program, read it back, and compare each with what is expected."""
    names: list[tuple[str, ...]] = []

    def body(mb: Any, image: Any) -> Any:
        for row in rows:
            made = row.body(mb, image)
            names.append(
                tuple(v.name for v in (made if isinstance(made, tuple | list) else (made,)))
            )
        return mb.identity(x=image)

    package = open_file(save_package(path, body, {"x": x.shape}, ios=ios))
    for row, outputs in zip(rows, names, strict=True):
        found = package.run({"x": x}, outputs)
        expected = [row.expected] if isinstance(row.expected, np.ndarray) else row.expected
        for one, other in zip(found, expected, strict=True):
            assert one.shape == other.shape, row.name
            exact = other.dtype.kind != "f"
            np.testing.assert_allclose(
                one,
                other,
                rtol=0 if exact else 1e-5,
                atol=0 if exact else row.atol,
                err_msg=row.name,
            )


def onnx_op(
    op: str, *inputs: Array | None, outputs: int = 1, domain: str = "", **attributes: Any
) -> Any:
    """onnxruntime's result of one operator: an array, or a list of several; None leaves an
    input out."""
    given = {f"i{k}": array for k, array in enumerate(inputs) if array is not None}
    names = ["" if array is None else f"i{k}" for k, array in enumerate(inputs)]
    made = [f"o{k}" for k in range(outputs)]
    node = helper.make_node(op, names, made, domain=domain, **attributes)
    graph = helper.make_graph(
        [node],
        op,
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in given.items()
        ],
        [ValueInfoProto(name=n) for n in made],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = Session(model, Settings(reading="literal", spin=False))
    found = session.run(given, made)
    return found if outputs > 1 else found[0]


def edit_model(package: Path, edit: Callable[[Any], None]) -> None:
    """Change the message in a package."""
    file = package / MODEL
    model = message_class().FromString(file.read_bytes())
    edit(model)
    file.write_bytes(model.SerializeToString())


def block_of(model: Any) -> Any:
    """The block of operations of a message."""
    function = model.mlProgram.functions["main"]
    return function.block_specializations[function.opset]


def operation_of(model: Any, kind: str) -> Any:
    """The first operation of ``kind``."""
    return next(o for o in block_of(model).operations if o.type == kind)


def small_package(path: Path, *, ios: int = 18, half: bool = False, **more: Any) -> Path:
    """Quantize, dequantize, a 3x3 convolution of int8 weights, ReLU, and a pair behind it."""
    random = np.random.default_rng(0)
    codes = random.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    scales = random.uniform(0.002, 0.01, 4).astype(np.float32)

    def body(mb: Any, x: Any) -> Any:
        kind = {"scale": np.float32(0.05)}
        q = mb.quantize(input=x, output_dtype="int8", name="xq", **kind)
        if ios == 17:
            w = mb.constexpr_affine_dequantize(
                quantized_data=codes, scale=scales, zero_point=np.int8(0), axis=0, name="w"
            )
        else:
            spread = scales.reshape(-1, 1, 1, 1)
            w = mb.constexpr_blockwise_shift_scale(data=codes, scale=spread, name="w")
        dq = mb.dequantize(input=q, name="xd", **kind)
        bias = np.arange(4, dtype=np.float32) / 10
        y = mb.conv(x=dq, weight=w, bias=bias, pad_type="custom", pad=[1] * 4, name="c")
        y = mb.relu(x=y, name="r")
        wide = {"scale": np.float32(0.02), "zero_point": np.uint8(3)}
        y = mb.quantize(input=y, output_dtype="uint8", name="yq", **wide)
        return mb.dequantize(input=y, name="y", **wide)

    return save_package(path, body, {"x": (1, 3, 6, 6)}, ios=ios, half=half, **more)


def small_image(seed: int = 1) -> Array:
    """An input of :func:`small_package`."""
    return np.random.default_rng(seed).normal(0, 2, (1, 3, 6, 6)).astype(np.float32)
