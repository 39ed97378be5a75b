"""Operations on each element against onnxruntime's, or the formula."""

from pathlib import Path

import numpy as np

from tests.mil import Row, assert_rows, onnx_op

X = np.random.default_rng(0).normal(0, 2, (2, 3, 4)).astype(np.float32)
Y = np.random.default_rng(1).normal(0, 2, (3, 1)).astype(np.float32)
P = np.abs(X) + np.float32(0.1)
HALVES = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)

PAIRS = [
    Row("add", lambda mb, x: mb.add(x=x, y=Y), onnx_op("Add", X, Y)),
    Row("sub", lambda mb, x: mb.sub(x=Y, y=x), onnx_op("Sub", Y, X)),
    Row("mul", lambda mb, x: mb.mul(x=x, y=Y), onnx_op("Mul", X, Y)),
    Row("real_div", lambda mb, x: mb.real_div(x=x, y=Y), onnx_op("Div", X, Y)),
    Row("maximum", lambda mb, x: mb.maximum(x=x, y=Y), onnx_op("Max", X, Y)),
    Row("minimum", lambda mb, x: mb.minimum(x=x, y=Y), onnx_op("Min", X, Y)),
    Row(
        "pow",
        lambda mb, x: mb.pow(x=mb.add(x=mb.abs(x=x), y=np.float32(0.1)), y=Y),
        onnx_op("Pow", P, Y),
        1e-4,
    ),
    Row("floor_div", lambda mb, x: mb.floor_div(x=x, y=Y), np.floor(X / Y)),
    Row("mod", lambda mb, x: mb.mod(x=x, y=Y), X - np.floor(X / Y) * Y, 1e-5),
    Row("equal", lambda mb, x: mb.equal(x=x, y=X[:, :1]), X[:, :1] == X),
    Row("not_equal", lambda mb, x: mb.not_equal(x=x, y=X[:, :1]), X[:, :1] != X),
    Row("less", lambda mb, x: mb.less(x=x, y=X[:, :1]), onnx_op("Less", X, X[:, :1])),
    Row("less_equal", lambda mb, x: mb.less_equal(x=x, y=X[:, :1]), X[:, :1] >= X),
    Row("greater", lambda mb, x: mb.greater(x=x, y=X[:, :1]), X[:, :1] < X),
    Row("greater_equal", lambda mb, x: mb.greater_equal(x=x, y=X[:, :1]), X[:, :1] <= X),
]


def test_arithmetic_and_comparisons(tmp_path: Path) -> None:
    assert_rows(tmp_path / "p.mlpackage", PAIRS, X)


def test_logic(tmp_path: Path) -> None:
    a, b = X > 0, X > 1
    rows = [
        Row(
            name,
            lambda mb, x, kind=kind: getattr(mb, kind)(
                x=mb.greater(x=x, y=0.0), y=mb.greater(x=x, y=1.0)
            ),
            expected,
        )
        for name, kind, expected in (
            ("and", "logical_and", a & b),
            ("or", "logical_or", a | b),
            ("xor", "logical_xor", a ^ b),
        )
    ]
    rows += [
        Row("not", lambda mb, x: mb.logical_not(x=mb.greater(x=x, y=0.0)), ~a),
        Row(
            "select",
            lambda mb, x: mb.select(cond=mb.greater(x=x, y=0.0), a=x, b=Y),
            onnx_op("Where", a, X, Y),
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_functions(tmp_path: Path) -> None:
    known = [
        *(("abs", "Abs"), ("ceil", "Ceil"), ("floor", "Floor"), ("sign", "Sign"), ("exp", "Exp")),
        *(("sin", "Sin"), ("cos", "Cos"), ("atan", "Atan"), ("erf", "Erf")),
    ]
    rows = [
        Row(mil, lambda mb, x, mil=mil: getattr(mb, mil)(x=x), onnx_op(onnx, X), 1e-5)
        for mil, onnx in known
    ]
    rows += [
        Row("square", lambda mb, x: mb.square(x=x), X * X),
        Row("exp2", lambda mb, x: mb.exp2(x=x), np.exp2(X), 1e-5),
        Row("sqrt", lambda mb, x: mb.sqrt(x=mb.square(x=x)), np.abs(X)),
        Row(
            "rsqrt",
            lambda mb, x: mb.rsqrt(x=mb.square(x=x), epsilon=0.25),
            1 / np.sqrt(X * X + np.float32(0.25)),
        ),
        Row("inverse", lambda mb, x: mb.inverse(x=mb.abs(x=x), epsilon=0.5), 1 / (np.abs(X) + 0.5)),
        Row("log", lambda mb, x: mb.log(x=mb.abs(x=x), epsilon=0.5), np.log(np.abs(X) + 0.5)),
        Row("clip", lambda mb, x: mb.clip(x=x, alpha=-1.0, beta=0.5), np.clip(X, -1, 0.5)),
        Row(
            "threshold", lambda mb, x: mb.threshold(x=x, alpha=0.3), np.maximum(X, np.float32(0.3))
        ),
        Row("identity", lambda mb, x: mb.identity(x=x), X),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_halves_go_to_the_even_integer_and_casts_cut_off(tmp_path: Path) -> None:
    rows = [
        Row("round", lambda mb, x: mb.round(x=x), np.array([-2, -2, -0.0, 0, 2, 2], np.float32)),
        Row(
            "cast",
            lambda mb, x: mb.cast(x=x, dtype="int32"),
            np.array([-2, -1, 0, 0, 1, 2], np.int32),
        ),
        Row("bool", lambda mb, x: mb.cast(x=x, dtype="bool"), np.ones(6, np.bool_)),
        Row(
            "back",
            lambda mb, x: mb.cast(x=mb.cast(x=x, dtype="int32"), dtype="fp32"),
            np.array([-2, -1, 0, 0, 1, 2], np.float32),
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, HALVES)
