"""Every op that is written, run from the file and in the DPU simulation; and every refusal."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from oq.errors import ModelError
from oq.numerics.values import Array
from tests.graphs import Net
from tests.small import normal, small
from tests.xmodels import feeds_of, image, quantized, simulated, write

Build = Callable[[Net], tuple[str, ...] | None]


def ints(net: Net, name: str, *values: int) -> str:
    return net.constant(name, values, np.int64)


def weights(net: Net, *shape: int, bias: int = 0) -> list[str]:
    found = [net.weight(f"w{len(net.constants)}", *shape)]
    return [*found, net.weight(f"b{len(net.constants)}", bias)] if bias else found


def stride(net: Net) -> None:
    window = {"pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]}
    net.node("Conv", ["x", *weights(net, 5, 4, 3, 2, bias=5)], "y", **window)


def depthwise(net: Net) -> None:
    net.node("Conv", ["x", *weights(net, 4, 1, 3, 5, bias=4)], "y", pads=[1, 2, 1, 2], group=4)


def transposed(net: Net) -> None:
    window = {"strides": [2, 3], "pads": [1, 0, 0, 1]}
    net.node("ConvTranspose", ["x", *weights(net, 4, 3, 3, 2, bias=3)], "y", **window)


def transposed_cut(net: Net) -> None:
    """Pads larger than the window."""
    window = {"strides": [2, 2], "pads": [2, 1, 2, 1]}
    net.node("ConvTranspose", ["x", *weights(net, 4, 3, 2, 2)], "y", **window)


def transposed_depthwise(net: Net) -> None:
    net.node("ConvTranspose", ["x", *weights(net, 4, 1, 3, 2)], "y", strides=[2, 2], group=4)


def line(net: Net) -> None:
    net.inputs["x"] = ("n", 4, 16)
    net.node("Conv", ["x", *weights(net, 5, 4, 3, bias=5)], "y", pads=[1, 1])


def flatten(net: Net) -> None:
    net.conv("x", "c")
    net.node("Flatten", ["c"], "f")
    net.gemm("f", "g", features=192)
    net.node("MatMul", ["f", *weights(net, 192, 5)], "h")
    net.node("Concat", ["g", "h"], "y", axis=1)


def flat_output(net: Net) -> None:
    net.conv("x", "c")
    net.node("Flatten", ["c"], "y")


def shuffle(net: Net) -> None:
    net.inputs["x"] = (1, 4, 8, 6)
    net.node("Conv", ["x", *weights(net, 6, 4, 1, 1)], "c")
    net.node("Reshape", ["c", ints(net, "s", 1, 2, 3, 8, 6)], "a")
    net.node("Transpose", ["a"], "t", perm=[0, 2, 1, 3, 4])
    net.node("Reshape", ["t", ints(net, "u", 1, 6, 8, 6)], "d")
    net.node("Conv", ["d", *weights(net, 3, 6, 1, 1)], "y")


def head(net: Net) -> None:
    net.inputs["x"] = (1, 4, 8, 6)
    net.conv("x", "c")
    net.node("Reshape", ["c", ints(net, "s", 1, 4, 48)], "r")
    net.node("Transpose", ["r"], "y", perm=[0, 2, 1])


def attention(net: Net) -> None:
    net.inputs["x"] = (1, 6, 8)
    net.node("MatMul", ["x", *weights(net, 8, 8)], "q")
    net.node("MatMul", ["x", *weights(net, 8, 8)], "k")
    net.node("Transpose", ["k"], "t", perm=[0, 2, 1])
    net.node("MatMul", ["q", "t"], "a")
    net.node("Softmax", ["a"], "p", axis=-1)
    net.node("MatMul", ["p", "q"], "m")
    net.node("Gather", ["m", net.constant("i", 2, np.int64)], "g", axis=1)
    net.node("Add", ["g", net.weight("b", 8)], "y")


def activations(net: Net) -> None:
    net.conv("x", "c")
    net.node("LeakyRelu", ["c"], "l", alpha=0.1)
    net.conv("l", "d")
    net.node("Clip", ["d", net.constant("lo", 0.0), net.constant("hi", 6.0)], "e")
    net.conv("e", "f")
    net.node("Clip", ["f", "lo", net.constant("one", 1.0)], "y")


def gates(net: Net) -> None:
    net.conv("x", "c")
    net.node("GlobalAveragePool", ["c"], "g")
    net.node("HardSigmoid", ["g"], "h", alpha=1 / 6, beta=0.5)
    net.node("Mul", ["c", "h"], "m")
    net.node("HardSwish", ["m"], "y")


def sums(net: Net) -> None:
    net.conv("x", "a")
    net.conv("x", "b")
    net.node("Sub", ["a", "b"], "s")
    net.node("Add", ["s", net.weight("k", 4, 1, 1)], "t")
    net.node("Mul", ["t", net.constant("c", 0.3)], "u")
    net.node("Mul", ["u", net.constant("d", 0.25)], "v")
    net.node("Max", ["v", "a"], "y")


def cuts(net: Net) -> None:
    net.conv("x", "c")
    bounds = [ints(net, "s", 1, -5), ints(net, "last", 99, -1), ints(net, "a", 2, 3)]
    net.node("Slice", ["c", *bounds, ints(net, "t", 2, 1)], "d")
    net.node("Pad", ["d", ints(net, "p", 0, 0, 1, 2, 0, 0, 0, 1)], "e")
    net.nodes.append(helper.make_node("Split", ["e"], ["f", "g"], "n_f", axis=1, num_outputs=2))
    net.node("Add", ["f", "g"], "y")


def reflected(net: Net) -> None:
    net.conv("x", "c")
    net.node("Pad", ["c", ints(net, "p", 0, 0, 1, 2, 0, 0, 0, 1)], "y", mode="reflect")


def nearest(net: Net) -> None:
    net.conv("x", "c")
    net.node("Resize", ["c", "", net.constant("s", [1, 1, 2, 3])], "d", mode="nearest")
    net.conv("d", "y")


def smaller(net: Net) -> None:
    net.conv("x", "c")
    place = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    net.node("Resize", ["c", "", net.constant("s", [1, 1, 0.5, 0.5])], "y", mode="nearest", **place)


def linear(net: Net) -> None:
    net.conv("x", "c")
    net.node("Resize", ["c", "", net.constant("s", [1, 1, 2, 3])], "d", mode="linear")
    corners = {"coordinate_transformation_mode": "align_corners", "mode": "linear"}
    net.node("Resize", ["d", "", net.constant("t", [1, 1, 0.5, 0.5])], "y", **corners)


def depth(net: Net) -> None:
    net.conv("x", "c", width=8)
    net.node("DepthToSpace", ["c"], "d", blocksize=2, mode="CRD")
    net.node("Conv", ["d", *weights(net, 8, 2, 1, 1)], "e")
    net.node("DepthToSpace", ["e"], "y", blocksize=2)


def pools(net: Net) -> None:
    net.conv("x", "c")
    window = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1]}
    net.node("AveragePool", ["c"], "d", count_include_pad=1, **window)
    net.node("MaxPool", ["d"], "e", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1)
    net.node("ReduceMean", ["e", ints(net, "a", 2)], "y", keepdims=0)


def edges(net: Net) -> None:
    net.conv("x", "c")
    net.node("AveragePool", ["c"], "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def by_cpu(net: Net) -> None:
    net.conv("x", "a")
    net.node("Sigmoid", ["a"], "s")
    net.node("Mul", ["a", "s"], "m")
    net.conv("m", "b")
    net.node("PRelu", ["b", net.weight("k", 4, 1, 1)], "p")
    net.node("Div", ["p", "s"], "d")
    net.node("Tanh", ["d"], "t")
    net.node("Elu", ["t"], "e")
    net.node("Gelu", ["e"], "g0")
    net.node("Celu", ["g0"], "g1", alpha=0.7)
    net.node("Neg", ["g1"], "g2")
    net.node("Exp", ["g2"], "g3")
    net.node("Pow", ["g3", net.constant("two", 2.0)], "g")
    net.node("ReduceSum", ["g", ints(net, "ax", 3)], "u")
    net.node("Softmax", ["u"], "y", axis=1)


def normalized(net: Net) -> None:
    net.conv("x", "a")
    net.node("InstanceNormalization", ["a", net.weight("g", 4), net.weight("h", 4)], "i")
    net.node("Abs", ["i"], "b")
    net.conv("b", "c")
    net.node("ReduceMin", ["c", ints(net, "ax", 2)], "m")
    net.node("ReduceProd", ["m", ints(net, "by", 1)], "y", keepdims=0)


def several(net: Net) -> tuple[str, ...]:
    net.input("z", ("n", 4, 8, 6))
    net.conv("x", "a")
    net.node("Concat", ["a", "z"], "c", axis=1)
    net.node("Transpose", ["c"], "y", perm=[0, 2, 3, 1])
    net.node("ReduceMax", ["c", ints(net, "ax", 2, 3)], "w", keepdims=0)
    return "y", "w"


OPS: dict[Build, str] = {
    stride: "conv2d",
    depthwise: "depthwise-conv2d",
    transposed: "transposed-conv2d",
    transposed_cut: "transposed-conv2d",
    transposed_depthwise: "transposed-depthwise-conv2d",
    line: "conv2d reshape 2 transpose",
    flatten: "concat conv2d matmul 2 reshape",
    flat_output: "conv2d reshape transpose",
    shuffle: "conv2d 2 reshape 2 transpose",
    head: "conv2d reshape",
    attention: "add matmul 4 reshape softmax strided_slice transpose",
    activations: "conv2d 3 hard-tanh leaky-relu relu relu6",
    gates: "avgpool2d conv2d hard-sigmoid 2 mul 5",
    sums: "add conv2d 2 max mul 2 sub",
    cuts: "add conv2d pad strided_slice 3",
    reflected: "conv2d pad",
    nearest: "conv2d 2 resize",
    smaller: "conv2d resize",
    linear: "conv2d resize 2",
    depth: "conv2d 2 gstiling pixel-shuffle",
    pools: "avgpool2d conv2d maxpool2d mul reduction_mean",
    edges: "avgpool2d conv2d",
    by_cpu: "celu conv2d 2 div elu exp gelu mul 2 neg prelu reduction_sum sigmoid softmax tanh",
    normalized: "conv2d 2 instancenorm max neg 3 reduction_max reduction_product",
    several: "concat conv2d reduction_max",
}
"""A network -> the ops of its file: constants, inputs and ``fix`` left out."""

FLOAT = {linear, edges, by_cpu, attention, normalized}
"""Networks of which the CPU computes an output, or what leads to it, in float."""


def spelled(counts: dict[str, int]) -> str:
    rest = {k: n for k, n in counts.items() if k not in {"const", "data", "fix"}}
    return " ".join(k if n == 1 else f"{k} {n}" for k, n in rest.items())


@pytest.mark.parametrize("build", OPS, ids=lambda b: b.__name__)
def test_the_file_computes_what_the_dpu_computes(build: Build) -> None:
    net, _ = image()
    outputs = build(net) or ("y",)
    made = write(quantized(net.model(*outputs)))
    opened = made.read()
    assert opened.problems == ()
    assert spelled(dict(opened.contents().ops)) == OPS[build]
    feeds = feeds_of(opened)
    wanted = simulated(made.model, feeds)
    assert [o.name for o in opened.outputs] == list(outputs)
    for name, found in zip(outputs, opened.run(feeds), strict=True):
        assert len(np.unique(found)) > 5, "a constant would prove nothing"
        if build in FLOAT:
            np.testing.assert_allclose(found, wanted[name], rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(found, wanted[name])
    assert all(p.passed for p in made.proofs())


@pytest.mark.parametrize(("opset", "factors"), [(18, 2), (21, 4)])
def test_groups_of_channels(opset: int, factors: int) -> None:
    """Opset 21 has a factor per channel where opset 18 had one per group."""
    text = """net (float[1,4,8,6] x) => (float[1,4,8,6] y) {
        c = Conv <pads = [1, 1, 1, 1]> (x, w)
        y = GroupNormalization <num_groups = 2> (c, s, b)
    }"""
    constants = {
        "w": normal(4, 4, 3, 3),
        "s": normal(factors, seed=1),
        "b": normal(factors, seed=2),
    }
    made = write(quantized(small(text, constants, opset=opset, ir=10)))
    opened = made.read()
    assert opened.problems == () and spelled(dict(opened.contents().ops)) == "conv2d groupnorm"
    feeds = feeds_of(opened)
    (found,) = opened.run(feeds)
    np.testing.assert_allclose(found, simulated(made.model, feeds)["y"], rtol=1e-5, atol=1e-6)


def test_no_pair_lies_twice_and_no_axis_moves_without_need() -> None:
    """A Reshape that only splits channels, and Transposes, leave the image where it is."""
    net, _ = image()
    shuffle(net)
    ops = {op.name: op for op in write(quantized(net.model("y"))).read().graph.ops}
    (order,) = [op.get("order") for op in ops.values() if op.type == "transpose"]
    assert order == (0, 1, 2, 4, 3), "groups and channels within them, the image in front"
    for op in ops.values():
        if op.type == "fix":
            assert ops[op.reads()[0]].type not in {"fix", "reshape", "transpose"}


def test_columns_of_a_flattened_image_go_with_it() -> None:
    net, _ = image()
    net.node("Flatten", ["x"], "f")
    net.node("Gemm", ["f", net.weight("w", 7, 192)], "y", transB=1)
    made = write(quantized(net.model("y")))
    held = {t.name: numpy_helper.to_array(t) for t in made.model.graph.initializer}
    (codes,) = [v for v in held.values() if v.dtype == np.int8 and v.shape == (7, 192)]
    (fixed,) = made.read().parameters().values()
    by_hand = codes.reshape(7, 4, 8, 6).transpose(0, 2, 3, 1).reshape(7, 192)
    np.testing.assert_array_equal(fixed.real * 2.0**fixed.position, by_hand)


def test_the_multiplier_of_a_mean_is_written_once() -> None:
    """A file that spells it out, as AMD's quantizer does, gets no second one."""
    net, _ = image()
    net.conv("x", "c")
    net.node("AveragePool", ["c"], "y", kernel_shape=[3, 3])
    model = quantized(net.model("y"))
    spelled_out = onnx.ModelProto()
    spelled_out.CopyFrom(model)
    graph = spelled_out.graph
    at = next(i for i, n in enumerate(graph.node) if n.op_type == "AveragePool")
    made = graph.node[at].output[0]
    graph.node[at].output[0] = "mean"
    graph.node.insert(at + 1, helper.make_node("Mul", ["mean", "gain"], [made], "n_gain"))
    graph.initializer.append(numpy_helper.from_array(np.asarray([63 / 64], np.float32), "gain"))
    plain, explicit = write(model).read(), write(spelled_out).read()
    feeds = feeds_of(plain)
    np.testing.assert_array_equal(plain.run(feeds)[0], explicit.run(feeds)[0])
    factors = [op for op in plain.graph.ops if op.name.endswith("factor")]
    assert [np.frombuffer(op.get("data"), "<f4").tolist() for op in factors] == [[63 / 64]]


def test_two_pairs_of_one_grid_are_one_fix() -> None:
    net, _ = image()
    net.conv("x", "a")
    net.conv("a", "b")
    net.conv("a", "c")
    net.node("Add", ["b", "c"], "y")
    model = quantized(net.model("y"))
    made = {n.output[0]: n for n in model.graph.node}
    reader = next(n for n in model.graph.node if n.name == "n_c")
    first = made[made[reader.input[0]].input[0]]
    assert first.op_type == "QuantizeLinear"
    twice = onnx.ModelProto()
    twice.CopyFrom(model)
    at = next(i for i, n in enumerate(twice.graph.node) if n.name == first.name)
    grid = first.input[1:]
    for node in (
        helper.make_node("DequantizeLinear", ["again", *grid], ["other"], "n_other"),
        helper.make_node("QuantizeLinear", list(first.input), ["again"], "n_again"),
    ):
        twice.graph.node.insert(at + 1, node)
    next(n for n in twice.graph.node if n.name == "n_c").input[0] = "other"
    kinds = [write(m).read().contents().ops["fix"] for m in (model, twice)]
    assert kinds[0] == kinds[1]


def test_uint8_around_128_becomes_signed() -> None:
    net, _ = image()
    net.conv("x", "y")
    model = quantized(net.model("y"))
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    for tensor in moved.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.int8:
            up = (values.astype(np.int16) + 128).astype(np.uint8)
            tensor.CopyFrom(numpy_helper.from_array(up, tensor.name))
    made, other = write(moved), write(model).read()
    feeds = feeds_of(other)
    np.testing.assert_array_equal(made.read().run(feeds)[0], other.run(feeds)[0])
    assert all(p.passed for p in made.proofs())


# -- refusals ------------------------------------------------------------------------------------


def space(net: Net) -> None:
    net.node("SpaceToDepth", ["x"], "y", blocksize=2)


def normed(net: Net) -> None:
    net.node("LRN", ["x"], "y", size=3)


def output_padding(net: Net) -> None:
    window = {"strides": [2, 2], "output_padding": [1, 1]}
    net.node("ConvTranspose", ["x", *weights(net, 4, 3, 3, 3)], "y", **window)


def transposed_groups(net: Net) -> None:
    net.node("ConvTranspose", ["x", *weights(net, 4, 3, 3, 3)], "y", group=2)


def implicit(net: Net) -> None:
    window = {"strides": [2, 2], "auto_pad": "SAME_UPPER"}
    net.node("ConvTranspose", ["x", *weights(net, 4, 3, 3, 3)], "y", **window)


def volume(net: Net) -> None:
    net.inputs["x"] = (1, 4, 5, 6, 7)
    net.node("Conv", ["x", *weights(net, 2, 4, 3, 3, 3)], "y")


def clipped(net: Net) -> None:
    net.node("Clip", ["x", net.constant("a", -2.0), net.constant("b", 2.0)], "y")


def cubic(net: Net) -> None:
    net.node("Resize", ["x", "", net.constant("s", [1, 1, 2, 2])], "y", mode="cubic")


def odd_pixels(net: Net) -> None:
    """Pixels between two, rounded up."""
    place = {"mode": "nearest", "nearest_mode": "ceil"}
    net.node("Resize", ["x", "", net.constant("s", [1, 1, 2, 2])], "y", **place)


def edge_pad(net: Net) -> None:
    net.node("Pad", ["x", ints(net, "p", 0, 0, 1, 1, 0, 0, 1, 1)], "y", mode="edge")


def crop(net: Net) -> None:
    net.node("Pad", ["x", ints(net, "p", 0, 0, -1, 0, 0, 0, 0, 0)], "y")


def backwards(net: Net) -> None:
    bounds = [ints(net, "s", -1), ints(net, "e", -9), ints(net, "a", 3), ints(net, "t", -1)]
    net.node("Slice", ["x", *bounds], "y")


def picks(net: Net) -> None:
    net.node("Gather", ["x", ints(net, "i", 0, 2)], "y", axis=1)


def cubed(net: Net) -> None:
    net.node("Pow", ["x", net.constant("three", 3.0)], "y")


def dilated(net: Net) -> None:
    net.node("MaxPool", ["x"], "y", kernel_shape=[2, 2], dilations=[2, 2])


def indices(net: Net) -> tuple[str, ...]:
    made = helper.make_node("MaxPool", ["x"], ["y", "i"], "n_y", kernel_shape=[2, 2])
    net.nodes.append(made)
    net.node("Cast", ["i"], "j", to=onnx.TensorProto.FLOAT)
    net.node("Identity", ["y"], "z")
    return "z", "j"


def ceil_average(net: Net) -> None:
    net.node("AveragePool", ["x"], "y", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)


def other_gate(net: Net) -> None:
    net.node("HardSigmoid", ["x"], "y")


def tanh_gelu(net: Net) -> None:
    net.node("Gelu", ["x"], "y", approximate="tanh")


def scaled_gemm(net: Net) -> None:
    net.node("Flatten", ["x"], "f")
    net.gemm("f", "y", features=192, alpha=2.0)


def computed_weight(net: Net) -> None:
    net.inputs["x"] = (1, 1, 8, 6)
    net.input("w", (1, 1, 3, 3))
    net.node("Conv", ["x", "w"], "y")


REFUSED: dict[Build, str] = {
    space: "SpaceToDepth 'n_y': XIR's reorg and pixel-shuffle order the channels otherwise",
    normed: "LRN 'n_y': oq has no op of XIR for it",
    output_padding: "ConvTranspose 'n_y': it has an output padding",
    transposed_groups: "ConvTranspose 'n_y': it has 2 groups",
    implicit: "ConvTranspose 'n_y': its padding is implicit",
    volume: "Conv 'n_y': its input 'x' has 5 axes",
    clipped: r"Clip 'n_y': it clips to \[-2.0, 2.0\]",
    cubic: "Resize 'n_y': mode 'cubic'",
    odd_pixels: "Resize 'n_y': no way of XIR picks the pixels that 'half_pixel' picks",
    edge_pad: "Pad 'n_y': XIR does not pad by mode 'edge'",
    crop: "Pad 'n_y': it cuts off values",
    backwards: "Slice 'n_y': it runs backwards",
    picks: "Gather 'n_y': it gathers several indices",
    cubed: "Pow 'n_y': XIR has no power but a square",
    dilated: "MaxPool 'n_y': its windows are dilated",
    indices: "Cast 'n_j': oq has no op of XIR for it",
    ceil_average: "AveragePool 'n_y': its windows may extend beyond the image",
    other_gate: "HardSigmoid 'n_y': XIR's hard-sigmoid has the slope 1/6",
    tanh_gelu: "Gelu 'n_y': XIR's gelu is the one by erf",
    scaled_gemm: "Gemm 'n_y': its alpha or beta is not 1",
    computed_weight: "Conv 'n_y': its operand 'w' is computed at run time",
}


@pytest.mark.parametrize("build", REFUSED, ids=lambda b: b.__name__)
def test_what_xir_cannot_express_is_refused_by_name(build: Build) -> None:
    net, _ = image()
    outputs = build(net) or ("y",)
    with pytest.raises(ModelError, match=f"--to xmodel cannot write {REFUSED[build]}"):
        write(net.model(*outputs))


def changed(model: onnx.ModelProto, work: Callable[[Array], Array]) -> onnx.ModelProto:
    """``model`` with its scales changed by ``work``, once per QuantizeLinear of an activation."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in [n for n in copy.graph.node if n.op_type == "QuantizeLinear"]:
        held = next(t for t in copy.graph.initializer if t.name == node.input[1])
        name = f"{node.name}_changed"
        copy.graph.initializer.append(
            numpy_helper.from_array(work(numpy_helper.to_array(held)), name)
        )
        node.input[1] = name
    return copy


def test_pairs_of_two_grids_are_refused() -> None:
    net, _ = image()
    net.conv("x", "y")
    model = quantized(net.model("y"))
    with pytest.raises(ModelError, match="its scale is another than its QuantizeLinear's"):
        write(changed(model, lambda scale: scale * 2))
    with pytest.raises(ModelError, match="its scale is no single power of two"):
        write(changed(model, lambda scale: scale * np.float32(1.5)))


def test_a_bias_of_more_than_8_bits_is_refused() -> None:
    net, _ = image()
    net.conv("x", "y")
    model = quantized(net.model("y"))
    small, large = onnx.ModelProto(), onnx.ModelProto()
    for copy, factor in ((small, 1), (large, 100)):
        copy.CopyFrom(model)
        bias = next(n for n in copy.graph.node if n.op_type == "Conv").input[2]
        pair = next(n for n in copy.graph.node if n.output[0] == bias)
        for slot in (0, 2):
            tensor = next(t for t in copy.graph.initializer if t.name == pair.input[slot])
            wide = numpy_helper.to_array(tensor).astype(np.int32) * factor
            name = f"wide{slot}"
            copy.graph.initializer.append(numpy_helper.from_array(wide, name))
            pair.input[slot] = name
    assert write(small).read().problems == ()
    with pytest.raises(ModelError, match=r"'wide0' has codes from .* and the DPU has 8 bits"):
        write(large)


def test_an_output_of_codes_is_refused() -> None:
    net, _ = image()
    net.conv("x", "y")
    model = quantized(net.model("y"))
    last = next(n for n in model.graph.node if n.output[0] == "y")
    del model.graph.output[:]
    model.graph.output.append(
        helper.make_tensor_value_info(last.input[0], onnx.TensorProto.INT8, None)
    )
    with pytest.raises(ModelError, match="is its codes; a pair ends with DequantizeLinear"):
        write(model)
