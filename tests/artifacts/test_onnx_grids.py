"""Grids of ONNX files, each form written by hand: the numbers are those that were put in."""

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from oq.artifacts.artifact import GridUse
from oq.artifacts.onnx_grids import GridReader
from oq.model.nbits import pack
from oq.numerics.values import Array
from tests.small import floats, small

INT8, UINT8 = np.zeros((), np.int8), np.zeros((), np.uint8)


def grids(model: onnx.ModelProto, folder: Path = Path()) -> tuple[list[GridUse], list[GridUse]]:
    found = GridReader(folder)
    found.read(model.graph)
    return found.activations, found.weights


def test_q_dq_pairs_are_called_by_the_float_tensor_and_told_once() -> None:
    """Codes that move on are codes of their own; a weight may be codes, or floats to be rounded."""
    model = small(
        """net (float[2,4] x) => (float[2,3] y) {
            q = QuantizeLinear(x, s, z)
            m = Relu(q)
            d = DequantizeLinear(q, s, z)
            e = DequantizeLinear(m, s, z)
            w = DequantizeLinear <axis = 1> (codes, ws, wz)
            vq = QuantizeLinear(v, vs)
            vd = DequantizeLinear(vq, vs)
            y = MatMul(d, w)
        }""",
        {
            "s": floats(0.5)[0],
            "z": np.asarray(7, np.uint8),
            "codes": np.ones((4, 3), np.int8),
            "ws": floats(0.25, 1, 4),
            "wz": np.zeros(3, np.int8),
            "v": floats(1, 2),
            "vs": floats(2)[0],
        },
    )
    activations, weights = grids(model)
    assert activations == [
        GridUse("x", "uint8", (0.5, 0.5), (7, 7)),
        GridUse("m", "uint8", (0.5, 0.5), (7, 7)),
    ]
    assert weights == [
        GridUse("codes", "int8", (0.25, 4.0), (0, 0), 3),
        GridUse("v", "uint8", (2.0, 2.0), (0, 0)),
    ]


def test_integer_operators_name_all_three_of_their_tensors() -> None:
    constants: dict[str, Array] = {
        **{name: np.asarray(i, np.float32) for i, name in enumerate(("a", "b", "c"), 1)},
        **{"z": UINT8, "p": np.asarray(9, np.uint8), "w": np.ones((4, 3), np.uint8)},
    }
    text = """net (uint8[2,4] x, uint8[2,3] k) => (uint8[2,6] y) {
        m = QLinearMatMul(x, a, z, w, b, p, c, z)
        y = com.example.QLinearConcat(a, p, m, c, z, k, b, z)
    }"""
    activations, weights = grids(small(text, constants))
    assert activations == [
        GridUse("x", "uint8", (1.0, 1.0), (0, 0)),
        GridUse("m", "uint8", (3.0, 3.0), (0, 0)),
        GridUse("y", "uint8", (1.0, 1.0), (9, 9)),
        GridUse("k", "uint8", (2.0, 2.0), (0, 0)),
    ]
    assert weights == [GridUse("w", "uint8", (2.0, 2.0), (9, 9))]


def test_what_is_computed_when_the_model_runs_has_no_scale() -> None:
    model = small(
        """net (float[2,4] x) => (int32[2,3] y) {
            q, s, z = DynamicQuantizeLinear(x)
            y = MatMulInteger(q, w, z, wz)
        }""",
        {"w": np.ones((4, 3), np.int8), "wz": INT8},
    )
    activations, weights = grids(model)
    assert activations == [GridUse("q", "uint8", None, None)]
    assert weights == [GridUse("w", "int8", None, (0, 0))]


@pytest.mark.parametrize("bits", [4, 8])
def test_blocks_are_unpacked(bits: int) -> None:
    """3 blocks of 16 in two columns: an odd number, so a packed row of zero points has a rest."""
    random = np.random.default_rng(0)
    codes = random.integers(0, 2**bits, (48, 2)).astype(np.uint8)
    scale = random.uniform(0.1, 1, (3, 2)).astype(np.float32)
    zero = np.full((3, 2), 3, np.uint8)
    zero[1, 1] = 5
    kind = np.dtype(ml_dtypes.uint4) if bits == 4 else np.dtype(np.uint8)
    held = pack(codes.astype(kind), scale, zero.astype(kind), 16)
    text = f"""net (float[2,48] x) => (float[2,2] y) {{
        y = com.example.MatMulNBits <K = 48, N = 2, bits = {bits}, block_size = 16> (x, w, s, z)
    }}"""
    assert held.zero is not None
    _, weights = grids(small(text, {"w": held.codes, "s": held.scale, "z": held.zero}))
    ends = float(scale.min()), float(scale.max())
    assert weights == [GridUse("w", f"uint{bits}", ends, (3, 5), 6, 16)]


def test_bodies_see_what_is_outside_and_do_not_tell_it_again() -> None:
    inner = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            helper.make_node("QuantizeLinear", ["d", "s2", "z"], ["r"]),
            helper.make_node("DequantizeLinear", ["r", "s2", "z"], ["o"]),
        ],
        "inner",
        [],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(np.asarray(4, np.float32), "s2")],
    )
    model = small(
        "net (float[2] x, bool c) => (float[2] y) { q = QuantizeLinear(x, s, z) y = Identity(x) }",
        {"s": np.asarray(1, np.float32), "z": INT8},
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    model.graph.node[1].CopyFrom(node)
    activations, _ = grids(model)
    told = [(use.tensor, use.scale) for use in activations]
    assert told == [("x", (1.0, 1.0)), ("d", (4.0, 4.0)), ("d", (4.0, 4.0))]


def test_constants_in_any_form_and_external_ones_are_read(tmp_path: Path) -> None:
    model = small(
        """net (float[2,4] x) => (float[2,4] y) {
            a = Constant <value_float = 0.125> ()
            s = Identity(a)
            z = Constant <value = int8 {3}> ()
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            w = DequantizeLinear <axis = 0> (codes, ws)
            y = Add(d, w)
        }""",
        {"codes": np.ones((4, 2), np.int8), "ws": floats(1, 2, 3, 8)},
    )
    onnx.save_model(
        *(model, tmp_path / "m.onnx"), save_as_external_data=True, location="w", size_threshold=0
    )
    lazy = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    activations, weights = grids(lazy, tmp_path)
    assert activations == [GridUse("x", "int8", (0.125, 0.125), (3, 3))]
    assert weights == [GridUse("codes", "int8", (1.0, 8.0), (0, 0), 4)]
