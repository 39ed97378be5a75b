"""A BatchNormalization disappears into the layer before it, and the outputs stay."""

import numpy as np
import onnx
import pytest

from oq.model.graph import Graph
from oq.numerics.values import Array
from oq.prepare.fold_batchnorm import fold_batchnorm
from tests.small import assert_same_outputs, normal, ops, small

NORM = "y = BatchNormalization<epsilon = 0.01>(t, gamma, beta, mean, var)"


def statistics(channels: int) -> dict[str, Array]:
    return {
        "gamma": normal(channels, seed=1),
        "beta": normal(channels, seed=2),
        "mean": normal(channels, seed=3),
        "var": np.abs(normal(channels, seed=4)) + np.float32(0.1),
    }


def layer(op: str, data: str, weight: Array, bias: Array | None, channels: int) -> onnx.ModelProto:
    inputs = "x, w" if bias is None else "x, w, b"
    constants = {"w": weight, **statistics(channels)} | ({} if bias is None else {"b": bias})
    dims = ",".join("abcde"[: data.count(",") + 1])
    body = f"[layer] t = {op}({inputs})\n [norm] {NORM}"
    return small(f"net (float[{data}] x) => (float[{dims}] y) {{ {body} }}", constants)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize(
    ("op", "data", "shape", "channels"),
    [
        ("Conv", "n,4,6,6", (5, 4, 3, 3), 5),
        ("Conv<group = 2>", "n,4,6,6", (6, 2, 3, 3), 6),
        ("Conv<group = 4>", "n,4,6,6", (4, 1, 3, 3), 4),
        ("Conv", "n,4,9", (5, 4, 3), 5),
        ("Conv", "n,2,4,4,4", (3, 2, 2, 2, 2), 3),
        ("ConvTranspose", "n,4,6,6", (4, 5, 3, 3), 5),
        ("ConvTranspose<group = 2>", "n,4,6,6", (4, 3, 2, 2), 6),
        ("ConvTranspose<group = 2, strides = [2, 2]>", "n,6,4,4", (6, 1, 2, 2), 2),
        ("Gemm<transB = 1>", "n,4", (5, 4), 5),
        ("Gemm", "n,4", (4, 5), 5),
        ("Gemm", "n,4", (4, 4), 4),
        ("Gemm<transB = 1>", "n,4", (4, 4), 4),
    ],
)
def test_folding_keeps_the_outputs(
    op: str, data: str, shape: tuple[int, ...], channels: int, with_bias: bool
) -> None:
    model = layer(op, data, normal(*shape), normal(channels) if with_bias else None, channels)
    graph = Graph(model)
    outcome = fold_batchnorm(graph)
    assert (outcome.changed, outcome.refusals) == (1, ())
    assert ops(graph.to_model()) == [op.partition("<")[0]]
    assert_same_outputs(model, graph.to_model(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (1,), (), (1, 1)])
def test_a_gemm_bias_that_broadcasts_to_channels(shape: tuple[int, ...]) -> None:
    bias = np.asarray(normal(5).reshape(shape) if 5 in shape else np.full(shape, 0.7), np.float32)
    model = layer("Gemm", "n,4", normal(4, 5), bias, 5)
    graph = Graph(model)
    assert fold_batchnorm(graph).changed == 1
    assert_same_outputs(model, graph.to_model(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("rows", "channels"), [(2, 5), (2, 2), (4, 2)])
def test_a_gemm_bias_per_row_is_refused(rows: int, channels: int) -> None:
    model = layer("Gemm", f"{rows},4", normal(4, channels), normal(rows, 1), channels)
    graph = Graph(model)
    assert fold_batchnorm(graph).refusals == (
        "BatchNormalization 'norm' is kept: bias 'b' has shape "
        f"[{rows}, 1], which is not per output channel",
    )
    assert_same_outputs(model, graph.to_model())


def test_two_layers_of_one_weight_are_folded_apart() -> None:
    model = small(
        f"""net (float[n,3,4,4] x) => (float[n,3,4,4] y, float[n,3,4,4] z) {{
            t = Conv<pads = [1,1,1,1]>(x, w)
            {NORM}
            z = Conv<pads = [1,1,1,1]>(y, w)
        }}""",
        {"w": normal(3, 3, 3, 3), **statistics(3)},
    )
    graph = Graph(model)
    assert fold_batchnorm(graph).changed == 1
    assert ops(graph.to_model()) == ["Conv", "Conv"]
    assert_same_outputs(model, graph.to_model(), rtol=1e-4, atol=1e-4)


def test_half_precision_weights_stay_half_precision() -> None:
    values = {k: v.astype(np.float16) for k, v in statistics(5).items()}
    text = f"net (float16[n,4] x) => (float16[n,5] y) {{ t = Gemm(x, w)\n {NORM} }}"
    model = small(text, {"w": normal(4, 5).astype(np.float16), **values})
    graph = Graph(model)
    assert fold_batchnorm(graph).changed == 1
    assert_same_outputs(model, graph.to_model(), rtol=2e-2, atol=2e-2)


IMAGE = "net (float[n,3,4,4] x) => (float[n,3,4,4] y"
CONSTANTS = {"w": normal(3, 3, 1, 1), "b": normal(3), **statistics(3)}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            f"{IMAGE}) {{ [norm] {NORM.replace('(t,', '(x,')} }}",
            "it follows a graph input, which has no weights to fold into",
        ),
        (
            f"{IMAGE}) {{ [act] t = Relu(x)\n [norm] {NORM} }}",
            "it follows Relu 'act', which has no weights to fold into",
        ),
        (
            f"{IMAGE}, float[n,3,4,4] z) {{ t = Conv(x, w)\n [norm] {NORM}\n z = Neg(t) }}",
            "'t' has other readers",
        ),
        (
            f"{IMAGE}, float[n,3,4,4] t) {{ t = Conv(x, w)\n [norm] {NORM} }}",
            "'t' has other readers",
        ),
        (
            f"{IMAGE.replace('x)', 'x, float[3,3,1,1] v)')}) {{ t = Conv(x, v)\n [norm] {NORM} }}",
            "'v' is not a constant",
        ),
        (
            f"{IMAGE.replace('x)', 'x, float[3] v)')}) "
            f"{{ t = Conv(x, w)\n [norm] {NORM.replace('gamma', 'v')} }}",
            "'v' is not a constant",
        ),
    ],
)
def test_refusals(text: str, reason: str) -> None:
    model = small(text, CONSTANTS)
    graph = Graph(model)
    outcome = fold_batchnorm(graph)
    assert outcome.changed == 0
    assert outcome.refusals == (f"BatchNormalization 'norm' is kept: {reason}",)
    assert_same_outputs(model, graph.to_model())


@pytest.mark.parametrize("attribute", ["alpha = 2.0", "beta = 0.5"])
def test_a_scaled_gemm_is_refused(attribute: str) -> None:
    model = layer(f"Gemm<{attribute}>", "n,4", normal(4, 5), normal(5), 5)
    graph = Graph(model)
    assert fold_batchnorm(graph).refusals == (
        "BatchNormalization 'norm' is kept: Gemm 'layer' has alpha or beta other than 1",
    )
    assert_same_outputs(model, graph.to_model())


def test_training_mode_is_refused() -> None:
    text = (
        f"{IMAGE}) {{ t = Conv(x, w)\n"
        "[norm] y, m, v = BatchNormalization<training_mode = 1>(t, gamma, beta, mean, var) }"
    )
    graph = Graph(small(text, CONSTANTS))
    assert fold_batchnorm(graph).refusals == (
        "BatchNormalization 'norm' is kept: it is in training mode",
    )
    assert ops(graph.to_model()) == ["Conv", "BatchNormalization"]
