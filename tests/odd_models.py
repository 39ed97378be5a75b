"""Models that are legal ONNX and that tools stumble over, one oddity each."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.graphs import Build, Net
from tests.small import normal, small

CONV = "kernel_shape = [3, 3], pads = [1, 1, 1, 1]"
KERNEL, BIAS = normal(4, 4, 3, 3), normal(4, seed=1)


def shared_weight() -> onnx.ModelProto:
    """Two convolutions with one weight and one bias, behind different activations."""
    net = Net()
    first = net.node("Relu", [net.conv(net.input("x"), "a")], "r")
    net.node("Conv", [first, "w_a", "b_a"], "b", pads=[1, 1, 1, 1])
    return net.model("b")


def constant_nodes() -> onnx.ModelProto:
    return small(
        f"""net (float[n,4,8,8] x) => (float[n,4,8,8] y) {{
            w0 = Constant <value = float[4,4,1,1] {{{", ".join(["0.5", "-0.25"] * 8)}}}> ()
            w = Identity(w0)
            y = Conv(x, w)
        }}"""
    )


def computed_from_constants() -> onnx.ModelProto:
    return small(
        "net (float[n,6] x) => (float[n,4] y) { t = Transpose(w) y = MatMul(x, t) }",
        {"w": normal(4, 6)},
    )


def computed_weight() -> onnx.ModelProto:
    """A weight that depends on an input: no values in the file."""
    return small(
        f"""net (float[n,4,8,8] x, float[4] s) => (float[n,4,8,8] y) {{
            s4 = Unsqueeze(s, axes) w = Mul(k, s4) y = Conv <{CONV}> (x, w)
        }}""",
        {"k": KERNEL, "axes": np.array([1, 2, 3])},
    )


def tied_embedding() -> onnx.ModelProto:
    """One table is looked up at the start and multiplied at the end."""
    return small(
        """net (int64[n,5] ids) => (float[n,5,11] y) {
            e = Gather(table, ids) h = MatMul(e, w) r = Relu(h)
            t = Transpose <perm = [1, 0]> (table) y = MatMul(r, t)
        }""",
        {"table": normal(11, 8), "w": normal(8, 8, seed=1)},
    )


def tied_gemm() -> onnx.ModelProto:
    """The same table, read by a Gemm as it lies: transB = 1."""
    return small(
        """net (int64[n] ids) => (float[n,11] y) {
            e = Gather(table, ids) h = MatMul(e, w) y = Gemm <transB = 1> (h, table)
        }""",
        {"table": normal(11, 8), "w": normal(8, 8, seed=1)},
    )


def dilated_average() -> onnx.ModelProto:
    """An average over values that lie apart, between two layers."""
    return small(
        f"""net (float[n,4,8,8] x) => (float[n,4,6,6] y) {{
            a = Conv <{CONV}> (x, k)
            p = AveragePool <kernel_shape = [2, 2], dilations = [2, 2]> (a) y = Conv <{CONV}> (p, k)
        }}""",
        {"k": KERNEL},
        opset=19,
    )


def sequences() -> onnx.ModelProto:
    """A tensor is split into a sequence, and a branch gives an optional."""
    return small(
        f"""net (float[n,4,8,8] x) => (float[n,4,8,8] y) {{
            a = Conv <{CONV}> (x, k) s = SplitToSequence <axis = 1> (a, two)
            y = ConcatFromSequence <axis = 1> (s)
        }}""",
        {"k": KERNEL, "two": np.array(2)},
    )


def empty_inputs() -> onnx.ModelProto:
    """Conv without a bias by an empty name, Clip without a minimum, Resize without a region."""
    return small(
        f"""net (float[n,4,8,8] x) => (float[n,4,16,16] y) {{
            c = Conv <{CONV}> (x, k, "") r = Clip(c, "", six)
            y = Resize <mode = "nearest"> (r, "", scales)
        }}""".replace('""', ""),
        {"k": KERNEL, "six": np.array(6, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)},
    )


def nameless() -> onnx.ModelProto:
    """No node has a name."""
    model = shared_weight()
    for node in model.graph.node:
        node.name = ""
    return model


def namesakes() -> onnx.ModelProto:
    """All nodes have one name, which is also a tensor's."""
    model = shared_weight()
    for node in model.graph.node:
        node.name = "a"
    return model


def strange_names() -> onnx.ModelProto:
    """Names with spaces, colons, quotes, other alphabets, and of great length."""
    net = Net()
    first = net.conv(net.input("an input:0"), "gpu_0/Слой 'один'")
    net.conv(net.node("Relu", [first], "x" * 300), 'b "two"/../%s{0}')
    return net.model('b "two"/../%s{0}')


def outputs_inside() -> onnx.ModelProto:
    """Outputs that are read inside too, one of them the input of a fused activation."""
    net = Net()
    a = net.conv(net.input("x"), "a")
    r = net.node("Relu", [a], "r")
    b = net.conv(r, "b")
    return net.model(a, r, b)


def output_twice() -> onnx.ModelProto:
    """A tensor that leaves by two names, an input that is an output, a constant output."""
    return small(
        f"""net (float[n,4,8,8] x) => (float[n,4,8,8] y, float[n,4,8,8] z, float[4] b) {{
            y = Conv <{CONV}> (x, k, b) z = Identity(y)
        }}""",
        {"k": KERNEL, "b": BIAS},
    )


def twice_the_same() -> onnx.ModelProto:
    """Both operands of an Add, and of a Concat, are one tensor."""
    net = Net()
    a = net.conv(net.input("x"), "a")
    net.node("Concat", [net.node("Add", [a, a], "s"), a, a], "c", axis=1)
    net.node("GlobalAveragePool", ["c"], "y")
    return net.model("y")


def dead_weight() -> onnx.ModelProto:
    """A convolution of zeros, with a bias."""
    net = Net()
    net.constant("w", np.zeros((4, 4, 1, 1)))
    net.node("Conv", [net.conv(net.input("x"), "a"), "w", net.weight("b", 4)], "y")
    return net.model("y")


def many_outputs() -> onnx.ModelProto:
    """Split, MaxPool with its indices, and an output that nothing reads."""
    return small(
        f"""net (float[n,4,8,8] x) => (float[n,2,4,4] y, int64[n,4,4,4] where) {{
            c = Conv <{CONV}> (x, k)
            p, where = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)
            y, rest = Split <axis = 1> (p, halves)
        }}""",
        {"k": KERNEL, "halves": np.array([2, 2])},
    )


def odd_gemms() -> onnx.ModelProto:
    """alpha, beta, transA, and biases of every shape that broadcasts."""
    return small(
        """net (float[5,6] x) => (float[6,4] y) {
            a = Gemm <alpha = 0.5, beta = 2.0> (x, w, scalar)
            b = Gemm(a, v, whole) c = Gemm(b, v, row) y = Gemm <transA = 1> (x, c, column)
        }""",
        {
            "w": normal(6, 4),
            "v": normal(4, 4, seed=2)[:, :4],
            "scalar": np.array(0.3, np.float32),
            "whole": normal(5, 4, seed=3),
            "row": normal(1, 4, seed=4),
            "column": normal(6, 1, seed=5),
        },
    )


def other_ranks() -> onnx.ModelProto:
    """Convolutions over one and three axes, dilated, and with automatic padding."""
    net = Net()
    x = net.input("x", (1, 4, 16))
    a = net.node("Conv", [x, net.weight("w", 6, 4, 3)], "a", auto_pad="SAME_UPPER")
    r = net.node("Reshape", [a, net.constant("s", [1, 6, 4, 2, 2], np.int64)], "r")
    net.node("Conv", [r, net.weight("v", 2, 3, 1, 1, 1), net.weight("b", 2)], "y", group=2)
    return net.model("y")


def recurrent() -> onnx.ModelProto:
    """An LSTM with empty inputs between and without its first outputs."""
    return small(
        """net (float[7,2,4] x) => (float[2,3] y) {
            , h = LSTM <hidden_size = 3> (x, w, r, b, , h0, )
            last = Squeeze(h, zero) y = MatMul(last, v)
        }""",
        {
            "w": normal(1, 12, 4),
            "r": normal(1, 12, 3),
            "b": normal(1, 24),
            "h0": np.zeros((1, 2, 3), np.float32),
            "zero": np.array([0]),
            "v": normal(3, 3),
        },
    )


def branches() -> onnx.ModelProto:
    """If: one body reads an outer activation and an outer weight, both bodies hold a Conv."""
    inner = {
        name: helper.make_graph(
            [helper.make_node("Conv", ["a", "w_a"], [name], "n_a", pads=[1, 1, 1, 1])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )
        for name in ("yes", "no")
    }
    net = Net()
    a = net.conv(net.input("x"), "a")
    net.constant("flag", True, np.bool_)
    net.node("ReduceSum", [a], "total", keepdims=0)
    net.node("Greater", ["total", net.constant("zero", 0.0)], "positive")
    net.node("If", ["positive"], "i", then_branch=inner["yes"], else_branch=inner["no"])
    net.conv("i", "y")
    return net.model("y")


def nothing_to_do() -> onnx.ModelProto:
    """No op that any target quantizes."""
    return small("net (float[n,3] x) => (float[n,3] y) { e = Erf(x) y = Softplus(e) }")


def half_precision() -> onnx.ModelProto:
    """Everything is float16."""
    return small(
        f"""net (float16[n,4,8,8] x) => (float16[n,4,8,8] y) {{
            c = Conv <{CONV}> (x, k, b) r = Relu(c) y = Conv <{CONV}> (r, k, b)
        }}""",
        {"k": KERNEL.astype(np.float16), "b": BIAS.astype(np.float16)},
    )


def mixed_precision() -> onnx.ModelProto:
    """A float64 tail behind a float32 layer."""
    return small(
        """net (float[n,4] x) => (double[n,4] y) {
            a = MatMul(x, w) d = Cast <to = 11> (a) y = MatMul(d, v)
        }""",
        {"w": normal(4, 4), "v": normal(4, 4, seed=1).astype(np.float64)},
    )


def listed_initializers() -> onnx.ModelProto:
    """IR version 3: every initializer is an input as well."""
    model = shared_weight()
    model.ir_version = 3
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", 8))
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    return model


def parts_picked() -> onnx.ModelProto:
    """Split, Gather, ReduceMax and a Pad of ones between convolutions: each moves or picks values,
    and no target has a kernel for all of them."""
    net = Net()
    net.node("Relu", [net.conv(net.input("x"), "a", width=8)], "r")
    two = helper.make_node("Split", ["r", net.constant("parts", [4, 4], np.int64)], ["s", "t"])
    two.attribute.append(helper.make_attribute("axis", 1))
    net.nodes.append(two)
    first = net.node("Gather", ["s", net.constant("order", [3, 1, 0, 2], np.int64)], "g", axis=1)
    around = [0, 0, 1, 1, 0, 0, 1, 1]
    one = net.constant("one", 1.0)
    second = net.node("Pad", ["t", net.constant("around", around, np.int64), one], "p")
    net.node("Conv", [second, net.weight("w_d", 4, 4, 3, 3)], "d")
    net.node("Add", [net.conv(first, "c"), "d"], "e")
    net.node("ReduceMax", ["e", net.constant("last", [2, 3], np.int64)], "m", keepdims=1)
    net.conv("m", "f")
    return net.model("e", "f")


def stacked_weights() -> onnx.ModelProto:
    """MatMul with constants of three axes, a matrix per head, and of four with leading ones."""
    return small(
        """net (float[n,4,6,8] x) => (float[n,4,6,5] y) {
            h = MatMul(x, heads) r = Relu(h) y = MatMul(r, flat)
        }""",
        {"heads": normal(4, 8, 8), "flat": normal(1, 1, 8, 5, seed=1)},
    )


def boxes() -> onnx.ModelProto:
    """A second stage that runs once per box that NonMaxSuppression leaves, mostly of none."""
    net = Net()
    net.conv(net.input("x", (1, 4, 8, 8)), "a", width=5)
    net.node("Reshape", ["a", net.constant("flat", [1, 5, 64], np.int64)], "h")
    net.node("Split", ["h", net.constant("parts", [4, 1], np.int64)], "corners", axis=1)
    net.nodes[-1].output.append("logits")
    net.node("Transpose", ["corners"], "boxes", perm=[0, 2, 1])
    net.node("Sigmoid", ["logits"], "scores")
    few = (("most", [4], np.int64), ("iou", [0.5], np.float32), ("least", [0.99], np.float32))
    limits = [net.constant(name, value, dtype) for name, value, dtype in few]
    net.node("NonMaxSuppression", ["boxes", "scores", *limits], "kept", center_point_box=1)
    net.node("Gather", ["kept", net.constant("column", 2, np.int64)], "which", axis=1)
    net.node("Squeeze", ["boxes", net.constant("first", [0], np.int64)], "flat_boxes")
    net.node("Gather", ["flat_boxes", "which"], "picked", axis=0)
    net.node("Relu", [net.gemm("picked", "g")], "r")
    net.node("Gemm", ["r", net.weight("w_last", 3, 3)], "found")
    return net.model("boxes", "scores", "found")


def shared_symbol() -> onnx.ModelProto:
    """A detector's outputs at three levels, whose axes have one name and different sizes."""
    net = Net()
    source = net.input("x", ("n", 4, "height", "width"))
    flat = net.constant("flat", [0, -1, 1], np.int64)
    for level in "abc":
        kernel = net.weight(f"w_{level}", 4, 4, 3, 3)
        net.node("Conv", [source, kernel], f"p_{level}", pads=[1] * 4, strides=[2, 2])
        source = net.node("Relu", [f"p_{level}"], f"r_{level}")
        net.node("Conv", [source, net.weight(f"v_{level}", 1, 4, 1, 1)], f"c_{level}")
        net.node("Transpose", [f"c_{level}"], f"t_{level}", perm=[0, 2, 3, 1])
        net.node("Reshape", [f"t_{level}", flat], f"f_{level}")
        net.node("Sigmoid", [f"f_{level}"], f"score_{level}")
    model = net.model(*(f"score_{level}" for level in "abc"))
    for output in model.graph.output:
        shape: list[str | int | None] = ["n", "many", 1]
        output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, shape))
    return model


def detector() -> onnx.ModelProto:
    """It ends in a Concat of four coordinates in pixels and three scores in 0..1."""
    net = Net()
    net.node("Relu", [net.conv(net.input("x", ("n", 4, 16, 16)), "a", width=8)], "r")
    net.node("Conv", ["r", net.weight("w_box", 4, 8, 1, 1)], "offsets")
    net.node("Mul", ["offsets", net.constant("pixels", 300.0)], "boxes")
    net.node("Conv", ["r", net.weight("w_score", 3, 8, 1, 1)], "logits")
    net.node("Sigmoid", ["logits"], "scores")
    net.node("Concat", ["boxes", "scores"], "found", axis=1)
    return net.model("found")


ODD: Mapping[str, Build] = {
    build.__name__: build
    for build in (
        shared_weight,
        constant_nodes,
        computed_from_constants,
        computed_weight,
        tied_embedding,
        tied_gemm,
        dilated_average,
        sequences,
        empty_inputs,
        nameless,
        namesakes,
        strange_names,
        outputs_inside,
        output_twice,
        twice_the_same,
        dead_weight,
        many_outputs,
        odd_gemms,
        other_ranks,
        recurrent,
        branches,
        nothing_to_do,
        half_precision,
        mixed_precision,
        listed_initializers,
        parts_picked,
        stacked_weights,
        boxes,
        detector,
    )
}


def of_opset(opset: int) -> onnx.ModelProto:
    """A small classifier in the words of ``opset`` (7 to 23): what changed is spelled its way."""
    net = Net()
    x = net.input("x", ("n", 4, 8, 8))
    names = [x, net.weight("w", 4, 4, 3, 3), net.weight("b", 4)]
    if opset < 11:
        net.node("Pad", [x], "p", pads=[0, 0, 1, 1, 0, 0, 1, 1])
    else:
        net.node("Pad", [x, net.constant("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64)], "p")
    net.node("Conv", ["p", *names[1:]], "c")
    moments = [net.constant(f"bn_{i}", np.full(4, 0.5 + i)) for i in range(4)]
    net.node("BatchNormalization", ["c", *moments], "n")
    if opset < 11:
        net.node("Clip", ["n"], "r", min=0.0, max=6.0)
    else:
        net.node("Clip", ["n", net.constant("zero", 0.0), net.constant("six", 6.0)], "r")
    net.node("Add", ["r", x], "s")
    net.node("MaxPool", ["s"], "m", kernel_shape=[2, 2], strides=[2, 2])
    scales = np.array([1, 1, 2, 2], np.float32)
    if opset < 9:
        net.node("Upsample", ["m"], "u", scales=list(map(float, scales)), mode="nearest")
    elif opset < 10:
        net.node("Upsample", ["m", net.constant("scales", scales)], "u", mode="nearest")
    elif opset < 11:
        net.node("Resize", ["m", net.constant("scales", scales)], "u", mode="nearest")
    else:
        region = net.constant("region", np.zeros(0)) if opset < 13 else ""
        net.node("Resize", ["m", region, net.constant("scales", scales)], "u", mode="nearest")
    net.node("Concat", ["u", "s"], "cat", axis=1)
    net.node("Dropout", ["cat"], "d")
    axes = {"axes": [2, 3]} if opset < 18 else {}
    more = [] if opset < 18 else [net.constant("axes", [2, 3], np.int64)]
    net.node("ReduceMean", ["d", *more], "g", keepdims=1, **axes)
    if opset < 13:
        net.node("Squeeze", ["g"], "q", axes=[2, 3])
    else:
        net.node("Squeeze", ["g", net.constant("two", [2, 3], np.int64)], "q")
    net.gemm("q", "z", features=8)
    net.node("Softmax", ["z"], "y", axis=1)
    return net.model("y", opset=opset)
