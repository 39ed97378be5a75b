"""Each row against onnxruntime: on ONNX's own backend suite, and on random attributes."""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import oq
from oq.errors import ModelError
from oq.model.session import Settings, run
from oq.numerics.values import Array
from tests.onnx_suite import Case, node_cases, with_constants
from tests.small import small

torch = pytest.importorskip("torch")

from oq.training.convert import to_torch  # noqa: E402
from oq.training.ops import ROWS  # noqa: E402

MOST = 6
"""Cases of one operator that are tried."""

LITERAL = Settings(reading="literal")
ALONE = {"Cast", "CastLike", "DequantizeLinear", "MatMulNBits", "QuantizeLinear", "QuickGelu"}
"""Rows that the suite has no case of which onnxruntime runs too: they have tests of their own."""

ODD = ("string", "empty_set", "sequence", "_opt", "_expanded")
"""Cases about strings, maxima of no values, inputs that are not tensors, and those that say the
same in other operators."""


def in_torch(model: onnx.ModelProto, feeds: Mapping[str, Any]) -> list[Array]:
    module = to_torch(model)
    with torch.no_grad():
        made = module(**{name: torch.tensor(np.array(v)) for name, v in feeds.items()})
    found = made if isinstance(made, tuple) else (made,)
    rare = {torch.bfloat16, torch.float8_e4m3fn}
    return [t.float().numpy() if t.dtype in rare else t.numpy() for t in found]


def same(
    model: onnx.ModelProto,
    feeds: Mapping[str, Any],
    name: str,
    wanted: Mapping[str, Any] | None = None,
) -> None:
    """Both compute the same, within 1e-5 of the greatest value (float16: 1e-3)."""
    wanted = run(model, feeds, settings=LITERAL) if wanted is None else wanted
    for found, exact in zip(in_torch(model, feeds), map(np.asarray, wanted.values()), strict=True):
        assert found.shape == exact.shape, name
        rare = exact.dtype.name in {"bfloat16", "float8_e4m3fn", "int4", "uint4"}
        assert rare or found.dtype == exact.dtype, name
        near = 1e-3 if exact.dtype == np.float16 else 1e-5
        real = exact.astype(np.float64)
        size = np.abs(real[np.isfinite(real)]).max(initial=1.0) if exact.dtype.kind == "f" else 0
        np.testing.assert_allclose(
            found.astype(np.float64), real, rtol=near, atol=near * size, err_msg=name
        )


def test_every_row_computes_what_onnxruntime_does_on_the_suite_of_onnx() -> None:
    seen: set[str] = set()
    tried: Counter[str] = Counter()
    for case in node_cases():
        ops = {node.op_type for node in case.model.graph.node}
        if not ops <= ROWS.keys() or any(word in case.name for word in ODD):
            continue
        if all(tried[op] >= MOST for op in ops):
            continue
        taken: Case = with_constants(case) or case
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                wanted = run(taken.model, taken.feeds, settings=LITERAL)
        except Exception:  # not in this onnxruntime
            continue
        try:
            same(taken.model, taken.feeds, taken.name, wanted)
        except ModelError as refused:
            assert "node '" in str(refused) or "constant" in str(refused), taken.name
            continue
        seen |= ops
        tried.update(ops)
    assert tried.total() > 400
    assert ROWS.keys() - seen == ALONE


def test_the_page_lists_all_of_them() -> None:
    page = (Path(oq.__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
    listed = page.rpartition("```text\n")[2].partition("```")[0]
    assert set(listed.replace(",", " ").split()) == set(ROWS)


def single(op: str, inputs: Mapping[str, Array], domain: str = "", **attributes: Any) -> None:
    """A node ``op``, its first input fed and the others constants, in both."""
    first, *rest = inputs
    for opset in (13, 20):
        node = helper.make_node(op, list(inputs), ["y"], "node", domain=domain, **attributes)
        graph = helper.make_graph(
            [node],
            "single",
            [
                helper.make_tensor_value_info(
                    first, helper.np_dtype_to_tensor_dtype(inputs[first].dtype), None
                )
            ],
            [onnx.ValueInfoProto(name="y")],
            [numpy_helper.from_array(inputs[name], name) for name in rest],
        )
        imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=8)
        same(model, {first: inputs[first]}, f"{op} {attributes} {opset}")


Draw = np.random.Generator


def values(rng: Draw, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def conv(rng: Draw) -> None:
    rank, group = int(rng.integers(1, 4)), int(rng.choice([1, 2, 4]))
    kernel = rng.integers(1, 4, rank)
    weight = values(rng, 8, 8 // group, *kernel)
    spatial = rng.integers(7, 10, rank)
    where: dict[str, Any] = {"pads": [int(p) for p in rng.integers(0, 3, 2 * rank)]}
    dilations = [int(d) for d in rng.integers(1, 3, rank)]
    if rng.random() < 0.4:
        where = {"auto_pad": str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"]))}
        dilations = [1] * rank  # onnxruntime pads otherwise with both
    strides = [int(s) for s in rng.integers(1, 3, rank)]
    single(
        "Conv",
        {"x": values(rng, 2, 8, *spatial), "w": weight, "b": values(rng, 8)},
        **where,
        strides=strides,
        dilations=dilations,
        group=group,
    )


def conv_transpose(rng: Draw) -> None:
    rank, group = int(rng.integers(1, 3)), int(rng.choice([1, 2]))
    strides = [int(s) for s in rng.integers(1, 4, rank)]
    where: dict[str, Any] = {
        "pads": [int(p) for p in rng.integers(0, 2, 2 * rank)],
        "output_padding": [int(rng.integers(0, s)) for s in strides],
    }
    if rng.random() < 0.3:
        where = {"auto_pad": str(rng.choice(["SAME_UPPER", "SAME_LOWER"]))}
    single(
        "ConvTranspose",
        {"x": values(rng, 2, 4, *rng.integers(4, 7, rank)),
         "w": values(rng, 4, 3, *rng.integers(2, 4, rank)), "b": values(rng, 3 * group)},
        **where,
        strides=strides,
        group=group,
    )  # fmt: skip


def pool(rng: Draw) -> None:
    rank = int(rng.integers(1, 4))
    kernel = [int(k) for k in rng.integers(2, 4, rank)]
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": [int(s) for s in rng.integers(1, 4, rank)],
        "pads": [int(rng.integers(0, k)) for k in kernel * 2],
        "ceil_mode": int(rng.integers(0, 2)),
    }
    x = {"x": values(rng, 2, 3, *rng.integers(6, 10, rank))}
    single("MaxPool", x, **attributes)
    if not attributes["ceil_mode"]:
        single("AveragePool", x, **attributes, count_include_pad=int(rng.integers(0, 2)))


def gemm(rng: Draw) -> None:
    a, b = (int(v) for v in rng.integers(0, 2, 2))
    bias = [(5,), (1,), (3, 5), (3, 1)][int(rng.integers(4))]
    single(
        "Gemm",
        {"x": values(rng, *((4, 3) if a else (3, 4))), "w": values(rng, *((5, 4) if b else (4, 5))),
         "c": values(rng, *bias)},
        transA=a,
        transB=b,
        alpha=float(rng.choice([1.0, 0.5])),
        beta=float(rng.choice([1.0, 2.0])),
    )  # fmt: skip


def cut(rng: Draw) -> None:
    axes = rng.permutation(4)[: int(rng.integers(1, 4))].astype(np.int64)
    steps = rng.choice([-2, -1, 1, 2], len(axes)).astype(np.int64)
    start, end = rng.integers(-7, 8, (2, len(axes)))
    single(
        "Slice",
        {"x": values(rng, 5, 6, 5, 6), "s": start, "e": end, "a": axes, "t": steps},
    )


def pad(rng: Draw) -> None:
    mode = str(rng.choice(["constant", "edge", "reflect"]))
    pads = rng.integers(0 if mode != "constant" else -1, 3, 8).astype(np.int64)
    single("Pad", {"x": values(rng, 3, 4, 5, 6), "p": pads}, mode=mode)


def resize(rng: Draw) -> None:
    mode = str(rng.choice(["nearest", "linear", "cubic"]))
    place = str(rng.choice(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]))
    scales = np.concatenate([[1, 1], rng.choice([0.5, 1, 1.5, 2, 3], 2)]).astype(np.float32)
    how = {"nearest_mode": str(rng.choice(["floor", "ceil", "round_prefer_floor"]))}
    single(
        "Resize",
        {"x": values(rng, 2, 3, 8, 6), "r": np.zeros(0, np.float32), "s": scales},
        mode=mode,
        coordinate_transformation_mode=place,
        **(how if mode == "nearest" else {}),
    )


def quantize_pair(rng: Draw) -> None:
    """Codes of a constant by axis, as weights have them, with exact ties in the data."""
    axis, kind = int(rng.integers(0, 3)), str(rng.choice(["int8", "uint8", "int32"]))
    shape = (3, 4, 5)
    limits = np.iinfo(kind)
    codes = rng.integers(max(limits.min, -(2**24) - 9), min(limits.max, 2**24 + 9), shape)
    zero = rng.integers(0, 9, shape[axis]) if kind != "int32" else np.zeros(shape[axis])
    scale = np.abs(values(rng, shape[axis])) + 0.01
    single(
        "DequantizeLinear",
        {"x": codes.astype(kind), "s": scale, "z": zero.astype(kind)},
        axis=axis,
    )
    steps = rng.integers(-300, 300, shape).astype(np.float32) / 2  # half of them are ties
    tenth, point = np.asarray(0.1, np.float32), np.asarray(rng.integers(9), np.uint8)
    single("QuantizeLinear", {"x": steps * tenth, "s": tenth, "z": point})


DRAWS: tuple[Callable[[Draw], None], ...] = (
    *(conv, conv_transpose, pool, gemm, cut, pad, resize, quantize_pair),
)


@pytest.mark.parametrize("draw", DRAWS, ids=lambda f: f.__name__)
def test_random_attributes(draw: Callable[[Draw], None]) -> None:
    for seed in range(10):
        draw(np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ["int64", "uint8", "bool", "float16", "float64"])
def test_casts(kind: str) -> None:
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    x = np.abs(values(np.random.default_rng(0), 3, 4)) * np.asarray([3, 0, 3, 3], np.float32)
    single("Cast", {"x": x}, to=number)
    for opset in (15, 19):
        text = "net (float[3,4] x) => (y) { y = CastLike(x, like) }"
        same(small(text, {"like": np.zeros(1, kind)}, opset=opset), {"x": x}, kind)


def test_quick_gelu() -> None:
    x = values(np.random.default_rng(0), 3, 4)
    single("QuickGelu", {"x": x}, "com.microsoft", alpha=1.5)
    found = in_torch(_quick(1.5), {"x": x})[0]
    np.testing.assert_allclose(found, x / (1 + np.exp(-1.5 * x)), rtol=1e-5)


def _quick(alpha: float) -> onnx.ModelProto:
    node = helper.make_node("QuickGelu", ["x"], ["y"], domain="com.microsoft", alpha=alpha)
    ends = [helper.make_tensor_value_info(n, 1, [3, 4]) for n in "xy"]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def test_a_weight_in_blocks_is_unpacked() -> None:
    """Against NumPy: onnxruntime's kernel may round the data too."""
    rng = np.random.default_rng(0)
    rows, columns, block = 40, 3, 32
    codes = rng.integers(0, 16, (columns, 2 * block)).astype(np.uint8)
    zero = rng.integers(0, 16, (columns, 2)).astype(np.uint8)
    scale = np.abs(values(rng, columns, 2)) + 0.1
    constants = {
        "w": (codes[:, ::2] | (codes[:, 1::2] << 4)).reshape(columns, 2, block // 2),
        "s": scale.reshape(-1),
        "z": (zero[:, :1] | (zero[:, 1:] << 4)).reshape(-1),
    }
    node = helper.make_node(
        *("MatMulNBits", ["x", *constants], ["y"]),
        domain="com.microsoft", K=rows, N=columns, bits=4, block_size=block,
    )  # fmt: skip
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", 1, [2, rows])],
        [helper.make_tensor_value_info("y", 1, [2, columns])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    x = values(rng, 2, rows)
    steps = codes.astype(np.float32) - np.repeat(zero, block, 1)
    weight = (steps * np.repeat(scale, block, 1))[:, :rows]
    np.testing.assert_allclose(in_torch(model, {"x": x})[0], x @ weight.T, rtol=1e-5, atol=1e-5)
