"""What would run slower in integers: shapes and neighbours that say so, and those that do not."""

import pytest

from oq.model.first_layer import NARROW_DEPTHWISE
from oq.planning import registry
from oq.planning.plan import plan
from tests.golden import floats
from tests.graphs import Net

SLOWER = "slower in int8"


def first_layer(
    channels: int = 3, *, kernel: int = 3, group: int = 1, before: str = "", reader: str = "Conv"
) -> Net:
    """``x [-> before] -> c -> r -> reader``; c is the layer in question."""
    net = Net()
    data = net.input("x", ("n", channels, 8, 8))
    if before:
        constant = [net.constant("k", 0.5)] if before in {"Add", "Mul"} else []
        turned = {"perm": [0, 1, 3, 2]} if before == "Transpose" else {}
        data = net.node(before, [data, *constant], "b", **turned)
    shape = (channels if group > 1 else 4, channels // group, kernel, kernel)
    c = net.node("Conv", [data, net.weight("w_c", *shape)], "c", group=group)
    r = net.node("Relu", [c], "r")
    width = shape[0]
    if reader == "Conv":
        net.node("Conv", [r, net.weight("w_y", 4, width, 1, 1)], "y")
    elif reader == "MaxPool":
        net.node("MaxPool", [r], "y", kernel_shape=[2, 2])
    else:
        net.node(reader, [r, r], "y")
    return net


def reason(net: Net, target: str = "ort", *outputs: str) -> str:
    return floats(plan(net.view("y", *outputs), registry.target(target))).get("c", "")


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_window_over_few_channels_stays_in_float(channels: int) -> None:
    found = reason(first_layer(channels))
    assert found.startswith(f"{SLOWER}: its 3 x 3 kernel reads {channels} of {channels} channels")


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (first_layer(4), "rows of 12 bytes are gathered fast enough"),
        (first_layer(3, kernel=1), "there is no window to gather"),
        (first_layer(3, reader="Add"), "an Add would run in channels-first order"),
        (first_layer(3, reader="MaxPool"), "a MaxPool would run in channels-first order"),
        (first_layer(3, before="Sigmoid"), "its data is in codes already"),
        (first_layer(2 * NARROW_DEPTHWISE, group=2 * NARROW_DEPTHWISE), "wide depthwise is fast"),
    ],
)
def test_others_are_quantized(net: Net, why: str) -> None:
    assert reason(net) == "", why


def test_a_graph_output_between_is_no_integer_kernels_business() -> None:
    assert reason(first_layer(3), "ort", "r") == ""


@pytest.mark.parametrize("before", ["Transpose", "Relu", "Mul", "Add"])
def test_what_moves_the_input_stays_in_float_with_it(before: str) -> None:
    found = floats(plan(first_layer(3, before=before).view("y"), registry.target("ort")))
    assert found["c"].startswith(SLOWER)


def test_a_narrow_depthwise_layer_on_the_input_stays_in_float() -> None:
    assert reason(first_layer(NARROW_DEPTHWISE, group=NARROW_DEPTHWISE)).startswith(SLOWER)


def test_trt_runs_them_in_integers() -> None:
    assert reason(first_layer(3), "trt") == ""


def test_an_add_between_products_and_layer_norm_stays_in_float() -> None:
    """Products write floats at no cost; an integer Add would round both of its operands first."""
    net = Net()
    x = net.input("x", ("n", 4, 4))
    a, b = (net.node("MatMul", [x, net.weight(f"w_{n}", 4, 4)], n) for n in "ab")
    s = net.node("Add", [a, b], "s")
    net.node("LayerNormalization", [s, net.weight("g", 4)], "y")
    assert floats(plan(net.view("y"), registry.target("ort")))["s"].startswith(SLOWER)


def test_an_add_of_what_a_convolution_writes_runs_in_integers() -> None:
    net = Net()
    x = net.input("x")
    net.node("Add", [net.node("Relu", [net.conv(x, "a")], "r"), x], "y")
    assert "y" not in floats(plan(net.view("y"), registry.target("ort")))
