"""OpenVINO's IR without OpenVINO: a file written by hand, and damage of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oq
from oq.artifacts.artifact import GridUse
from oq.artifacts.openvino_xml import read_ir
from oq.errors import ModelError
from oq.numerics.values import Array, TensorInfo
from tests.small import floats

CODES = bytes([0x21, 0x43, 0x05])
CONSTANTS: tuple[tuple[str, str, str, Array], ...] = (
    ("low", "f32", "", floats(-6.4)),
    ("high", "f32", "", floats(6.35)),
    ("least", "f32", "", floats(-128)),
    ("most", "f32", "", floats(127)),
    ("w", "i8", "2,3", np.arange(6, dtype=np.int8)),
    ("s", "f32", "2", floats(0.5, 2)),
    ("z", "i8", "2", np.asarray([0, -1], np.int8)),
    ("v", "u4", "5", np.frombuffer(CODES, np.uint8)),
)
KEYS = {name: str(i) for i, (name, *_) in enumerate(CONSTANTS)}
NODES = (
    ("x", "Parameter", 'shape="?,3" element_type="f32"', (), "FP32", "x"),
    ("round", "FakeQuantize", 'levels="256"', ("x", "low", "high", "least", "most"), "FP32", ""),
    ("codes", "Convert", 'destination_type="i8"', ("round",), "I8", "x_codes"),
    ("wide", "Convert", 'destination_type="f32"', ("w",), "FP32", ""),
    ("wide_z", "Convert", 'destination_type="f32"', ("z",), "FP32", ""),
    ("less", "Subtract", "", ("wide", "wide_z"), "FP32", ""),
    ("times", "Multiply", "", ("less", "s"), "FP32", "y,a\\,b"),
    ("y/sink_port_0", "Result", "", ("times",), "", ""),
)


def write(folder: Path, nodes: tuple[Any, ...] = NODES) -> Path:
    """x -> FakeQuantize -> int8; w: int8 with two scales; v: 4-bit codes that nothing reads."""
    layers, edges, held = [], [], b""
    for name, kind, shape, values in CONSTANTS:
        stored = values.tobytes()
        place = f'element_type="{kind}" shape="{shape}" offset="{len(held)}" size="{len(stored)}"'
        axes = "".join(f"<dim>{n}</dim>" for n in shape.split(",") if n)
        layers.append(layer(KEYS[name], name, "Const", place, kind, "", axes))
        held += stored
    keys = dict(KEYS)
    for name, kind, data, inputs, precision, names in nodes:
        keys[name] = str(len(keys))
        layers.append(layer(keys[name], name, kind, data, precision, names, "<dim>-1</dim>"))
        edges += [
            f'<edge from-layer="{keys[i]}" from-port="0" to-layer="{keys[name]}" to-port="{n}"/>'
            for n, i in enumerate(inputs)
        ]
    text = f"<layers>{''.join(layers)}</layers><edges>{''.join(edges)}</edges>"
    (folder / "m.xml").write_text(f'<net name="n" version="11">{text}</net>')
    (folder / "m.bin").write_bytes(held)
    return folder / "m.xml"


def layer(
    key: str, name: str, kind: str, data: str, precision: str, names: str, axes: str
) -> str:  # fmt: skip
    port = f'<port id="0" precision="{precision}" names="{names}">{axes}</port>'
    ended = ' output_names="a\\,b"' if kind == "Result" else ""
    return (
        f'<layer id="{key}" name="{name}" type="{kind}"{ended}><data {data}/>'
        f"<output>{port}</output></layer>"
    )


def test_grids_are_worked_out_from_the_layers(tmp_path: Path) -> None:
    found = oq.inspect(write(tmp_path))
    (rounded,) = found.activations
    assert (rounded.tensor, rounded.dtype, rounded.zero_point) == ("x", "int8", (0, 0))
    assert rounded.scale == pytest.approx((0.05, 0.05))
    assert found.weights == (GridUse("w", "int8", (0.5, 2.0), (-1, 0), 2),)
    assert found.constants == {"float32": 24, "int8": 8, "uint4": 3}
    assert found.ops["Const"] == 8 and found.ops["FakeQuantize"] == 1
    assert found.inputs == (TensorInfo("x", "float32", (None,)),)
    assert found.outputs == (TensorInfo("a,b", "float32", (None,)),)
    assert found.bytes == sum(f.stat().st_size for f in tmp_path.iterdir())


def test_codes_without_a_type_count_from_0(tmp_path: Path) -> None:
    """Quantized and dequantized in one: the limits behind are those before, -6.4 and 6.35."""
    joined = ("round", "FakeQuantize", 'levels="256"', ("x", "low", "high", "low", "high"), "", "")
    nodes = tuple(joined if n[0] == "round" else n for n in NODES if n[0] != "codes")
    (rounded,) = oq.inspect(write(tmp_path, nodes)).activations
    assert (rounded.dtype, rounded.zero_point) == ("256 levels", (128, 128))
    assert rounded.scale == pytest.approx((0.05, 0.05))


def test_four_bit_codes_are_unpacked_first_half_first(tmp_path: Path) -> None:
    file = read_ir(write(tmp_path))
    values = file.values(file.networks[0].layers[KEYS["v"]])
    assert values is not None and values.astype(int).tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.bin", b"1234", "has 4 bytes; layer 'low'|has 4 bytes; layer 'high'"),
        ("m.bin", None, "has no 'm.bin' beside it"),
        ("m.xml", b"<net><layers>", "is not OpenVINO's IR"),
        ("m.xml", b"<html><body/></html>", "is XML, but not OpenVINO's IR"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    path = write(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=said):
        oq.inspect(path)
