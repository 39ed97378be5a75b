"""trtexec's lines, by generation."""

import shlex

import numpy as np

from oq.artifacts.artifact import Contents, GridUse
from oq.deployment.trt.lines import builder_flags, stores_codes, trtexec_lines
from tests.small import floats, small


def test_each_generation_has_its_flags_and_all_have_the_shapes() -> None:
    shapes = {"a b": ((1, 3), (2, 3), (4, 3)), "c:0": ((1,), (1,), (1,))}
    lines = dict(trtexec_lines("my m.onnx", "m.plan", shapes, ("INT8", "FP16"), "8.6"))
    split = {title: shlex.split(line) for title, line in lines.items()}
    common = [
        *("trtexec", "--onnx=my m.onnx", "--saveEngine=m.plan", "--profilingVerbosity=detailed"),
        "--exportLayerInfo=m.layers.json",
        *("--minShapes=a b:1x3,'c:0':1", "--optShapes=a b:2x3,'c:0':1"),
        "--maxShapes=a b:4x3,'c:0':1",
    ]
    assert split == {
        "TensorRT 11": common,
        "10.12+": [*common, "--stronglyTyped"],
        "8.6-10.11": [*common, "--int8", "--fp16"],
    }


def test_flags_are_those_of_the_types_in_the_file() -> None:
    def flags(*dtypes: str) -> tuple[str, ...]:
        return builder_flags(
            Contents("onnx", 1, weights=tuple(GridUse("w", d, None, None) for d in dtypes))
        )

    assert flags("int8", "int8") == ("INT8", "FP16")
    assert flags("float8_e4m3fn") == ("FP8", "FP16") and flags("int4") == ("INT4", "FP16")


def test_stored_codes_are_told_from_rounded_floats() -> None:
    text = "net (float[2] x) => (float[2] y) {{ {q} d = DequantizeLinear(c, s) y = Add(x, d) }}"
    constants = {"s": floats(1)[0]}
    stored = small(text.format(q=""), {**constants, "c": np.ones(2, np.int8)})
    rounded = small(text.format(q="c = QuantizeLinear(w, s)"), {**constants, "w": floats(1, 2)})
    assert stores_codes(stored) and not stores_codes(rounded)
