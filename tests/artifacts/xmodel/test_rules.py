"""The rules of XIR's loader, each broken once, and the shapes of windows against brute force."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from oq.artifacts.xmodel.file import Op, SubGraph, XirGraph
from oq.artifacts.xmodel.kernels import KERNELS
from oq.artifacts.xmodel.rules import RULES, broken_rules
from oq.artifacts.xmodel.shapes import window_steps
from oq.artifacts.xmodel.wire import Attribute
from oq.errors import ModelError

S, I, V = "string", "int32", "int32s"  # noqa: E741


def op(kind: str, name: str, dims: tuple[int, ...], reads: Mapping[str, tuple[str, ...]],
       **attributes: tuple[str, object]) -> Op:  # fmt: skip
    given = {k: Attribute(*v) for k, v in attributes.items()}
    return Op(name, kind, given, reads, name, dims, "FLOAT", 32)


def source(name: str, *dims: int) -> Op:
    return op("data", name, dims, {}, shape=(V, dims), data_type=(S, "FLOAT32"))


WINDOW = {"kernel": (V, (2, 3)), "stride": (V, (1, 1)), "pad_mode": (S, "FLOOR")}
CONV = {"input": ("x",), "weights": ("w",)}


def graph(*ops: Op) -> XirGraph:
    return XirGraph("g", ops, SubGraph("root", tuple(o.name for o in ops), ()), {})


X, W = source("x", 1, 8, 6, 4), source("w", 5, 3, 2, 4)
Y = op("conv2d", "y", (1, 6, 5, 5), CONV, **WINDOW)


def without(attribute: str) -> Op:
    return replace(Y, attributes={k: v for k, v in Y.attributes.items() if k != attribute})


def but(**attributes: Attribute) -> Op:
    return replace(Y, attributes={**Y.attributes, **attributes})


CONST = op("const", "k", (2,), {}, shape=(V, (2,)), data_type=(S, "float32"), data=("Bytes", b"1"))

BROKEN: list[tuple[XirGraph, str]] = [
    (graph(X, W, replace(Y, name="x")), "op 'x' (conv2d): its name is taken"),
    (graph(X, Y, W), "op 'y' (conv2d): it reads 'w', which does not stand before it"),
    (graph(X, W, replace(Y, arguments={**CONV, "scale": ("x",)})), "it has no argument 'scale'"),
    (graph(X, replace(Y, arguments={"input": ("x",)})), "its argument 'weights' reads 0 ops"),
    (graph(X, W, replace(Y, arguments={**CONV, "bias": ("w", "w")})), "'bias' reads 2 ops"),
    (graph(X, W, without("stride")), "its attribute 'stride' is missing"),
    (graph(X, W, but(stride=Attribute("int64s", (1, 1)))), "'stride' is int64s, not int32s"),
    (graph(X, W, but(group=Attribute("int64", 1))), "'group' is int64, not int32"),
    (graph(X, W, replace(Y, dims=(1, 5, 6, 5))), "[1, 5, 6, 5], which must be [1, 6, 5, 5]"),
    (graph(X, W, but(group=Attribute(I, 3))), "weights [5, 3, 2, 4] over 4 channels"),
    (graph(X, W, but(kernel=Attribute(V, (3, 2)))), "has weights [5, 3, 2, 4]"),
    (graph(X, W, but(pad_mode=Attribute(S, "same"))), "has pad_mode 'same'"),
    (graph(X, replace(W, data_type="XINT", bits=8)), "is XINT of 8 bits, not FLOAT of 32"),
    (graph(X, replace(W, type="conv2d-fix")), "op 'w' (conv2d-fix): no op that oq reads"),
    (graph(CONST), "1 bytes where its shape has 8"),
    (replace(graph(X, W), root=None), "root part does not list all ops"),
    (replace(graph(X, W), root=SubGraph("root", ("w", "x"), ())), "in the order of the file"),
]


@pytest.mark.parametrize(("given", "said"), BROKEN, ids=[text for _, text in BROKEN])
def test_a_broken_rule_is_said(given: XirGraph, said: str) -> None:
    assert said in " / ".join(broken_rules(given))


def test_a_graph_that_breaks_none() -> None:
    assert [*broken_rules(graph(X, W, Y))] == []


ENDS: list[tuple[str, Op, Mapping[str, Sequence[tuple[int, ...]]], tuple[int, ...] | str]] = [
    ("add", op("add", "o", (), {}), {"input": [(4, 1, 3), (2, 1)]}, (4, 2, 3)),
    ("add", op("add", "o", (), {}), {"input": [(4, 3), (2, 3)]}, "has shapes"),
    ("add", op("add", "o", (), {}), {"input": [(4, 3)]}, "has a single operand"),
    (
        *("concat", op("concat", "o", (), {}, axis=(I, -1))),
        *({"input": [(1, 2, 3), (1, 2, 5)]}, (1, 2, 8)),
    ),
    ("concat", op("concat", "o", (), {}, axis=(I, 2)), {"input": [(1, 2), (1, 3)]}, "axis 2 of 2"),
    ("concat", op("concat", "o", (), {}, axis=(I, 0)), {"input": [(1, 2), (1, 3)]}, "has shapes"),
    ("transpose", op("transpose", "o", (), {}, order=(V, (0, 0))), {"input": [(1, 2)]}, "order"),
    ("reshape", op("reshape", "o", (), {}, shape=(V, (7,))), {"input": [(2, 3)]}, "shape [7]"),
    ("pad", op("pad", "o", (), {}, paddings=(V, (1, 2))), {"input": [(1, 2)]}, "paddings"),
    ("relu", op("relu", "o", (), {}), {"input": [(1, 2)]}, (1, 2)),
    (
        *("matmul", op("matmul", "o", (), {}, transpose_a=("bool", True), transpose_b=("bool", 0))),
        *({"input": [(5, 1, 3, 2), (4, 3, 7)]}, (5, 4, 2, 7)),
    ),
    (
        *("reduction_max", op("reduction_max", "o", (), {}, axis=(V, (1, -1)), keep_dims=(I, 0))),
        *({"input": [(1, 2, 3)]}, (1,)),
    ),
    (
        *("pixel-shuffle", op("pixel-shuffle", "o", (), {}, scale=(I, 2), upscale=("bool", True))),
        *({"input": [(1, 2, 3, 8)]}, (1, 4, 6, 2)),
    ),
]


@pytest.mark.parametrize(("kind", "given", "shapes", "wanted"), ENDS)
def test_shapes(
    kind: str, given: Op, shapes: Mapping[str, Sequence[tuple[int, ...]]], wanted: object
) -> None:
    if isinstance(wanted, str):
        with pytest.raises(ModelError) as error:
            RULES[kind].infer(given, shapes)
        assert wanted in str(error.value)
    else:
        assert RULES[kind].infer(given, shapes) == wanted


COUNTS: dict[str, Callable[[int, int, int, int], int]] = {
    "FLOOR": lambda wide, reach, s, _pads: len(range(0, wide - reach + 1, s)),
    "CEIL": lambda wide, reach, s, _pads: len(range(0, wide - reach + s, s)),
    "SAME": lambda wide, _reach, s, _pads: len(range(0, wide, s)),
    "VALID": lambda wide, reach, s, _pads: len(range(0, wide - reach + 1, s)),
}
"""The starts of windows that lie within, or reach beyond by less than a stride."""


@pytest.mark.parametrize("mode", COUNTS)
def test_numbers_of_windows_by_counting(mode: str) -> None:
    for size in range(5, 12):
        for kernel, stride, dilation, pads in (
            (3, 1, 1, 0),
            (3, 2, 1, 1),
            (2, 3, 2, 2),
            (4, 4, 1, 0),
        ):
            given = op(
                *("conv2d", "o", (), {}),
                kernel=(V, (kernel, 1)),
                stride=(V, (stride, 1)),
                dilation=(V, (dilation, 1)),
                pad=(V, (pads, 0, 0, 0)),
                pad_mode=(S, mode),
            )
            reach = dilation * (kernel - 1) + 1
            wanted = COUNTS[mode](size + pads, reach, stride, pads)
            assert window_steps(given, size, 0) == wanted


def test_every_op_that_has_a_rule_has_a_kernel() -> None:
    assert RULES.keys() - KERNELS.keys() == {"data"} and KERNELS.keys() <= RULES.keys()
