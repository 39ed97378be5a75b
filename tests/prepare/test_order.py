"""All passes together, on what exporters really write."""

import io
import logging
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from oq.errors import ModelError
from oq.model.files import load_model
from oq.prepare.order import PASSES, QUANTIZED, prepare, refuse_quantized
from tests.real import CIFAR, IMAGENET, needs_real
from tests.small import assert_same_outputs, normal, ops, small


def prepared(model: onnx.ModelProto, minimum: int = 13) -> onnx.ModelProto:
    return prepare(model, minimum).graph.to_model()


def test_the_outcome_of_every_pass_is_reported() -> None:
    outcomes = prepare(small("net (float[n] x) => (float[n] y) { y = Relu(x) }"), 13).outcomes
    assert list(outcomes) == ["unfuse", *(step.__name__ for step in PASSES)]


def test_passes_work_hand_in_hand() -> None:
    """Constant node -> Pad amounts -> Conv; Identity between Conv and BatchNormalization."""
    model = small(
        """net (float[n,3,6,6] x) => (float[n,4] y) {
            p = Constant<value_ints = [0,0,1,1,0,0,1,1]>()
            t = Pad(x, p)
            c = Conv(t, w)
            i = Identity(c)
            b = BatchNormalization(i, gamma, beta, mean, var)
            d = Dropout(b)
            r = Relu(d)
            y = ReduceMean<axes = [2,3], keepdims = 0>(r)
        }""",
        {
            "w": normal(4, 3, 3, 3),
            **{name: normal(4, seed=i) for i, name in enumerate(("gamma", "beta", "mean"))},
            "var": np.abs(normal(4)) + np.float32(0.1),
        },
        opset=13,
    )
    before = model.SerializeToString()
    made = prepared(model)
    assert ops(made) == ["Conv", "Relu", "GlobalAveragePool", "Flatten"]
    assert_same_outputs(model, made, rtol=1e-4, atol=1e-5)
    assert model.SerializeToString() == before


def test_old_models_are_raised_first() -> None:
    model = small(
        "net (float[n,3,6,6] x) => (float[n,3,8,8] y) { y = Pad<pads = [0,0,1,1,0,0,1,1]>(x) }",
        opset=10,
        ir=4,
    )
    model.opset_import.pop()
    made = prepared(model)
    assert made.opset_import[0].version == 13
    assert_same_outputs(model, made)


@pytest.mark.parametrize("op", sorted(QUANTIZED))
def test_a_quantized_model_is_refused(op: str) -> None:
    model = small(f"net (float[n] x) => (float[n] y) {{ t = Relu(x)\n [bad] y = {op}(t) }}")
    said = rf"quantized already: node 'bad' is a {op}; give the float model"
    with pytest.raises(ModelError, match=said):
        prepare(model, 13)
    refuse_quantized(small("net (float[n] x) => (float[n] y) { y = Relu(x) }"))


def test_what_made_a_quantized_model_is_told_and_a_node_without_name_by_its_output() -> None:
    model = small("net (float[n] x) => (float[n] y) { t = Relu(x) y = QLinearAdd(t) }")
    model.metadata_props.add(key="oq.target", value="trt")
    said = "node 'y' is a QLinearAdd; give the float model oq made it from, for target trt "
    with pytest.raises(ModelError, match=said):
        refuse_quantized(model)


def test_local_functions_are_inlined() -> None:
    """The dynamo exporter may keep torch modules as functions."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        net (float[n,3] x) => (float[n,3] y) { t = local.Twice(x)
            y = local.Twice(t) }
        <domain: "local", opset_import: ["" : 17]>
        Twice (a) => (b) { b = Add(a, a) }"""
    )
    made = prepared(model)
    assert ops(made) == ["Add", "Add"]
    assert_same_outputs(model, made)


@needs_real
@pytest.mark.parametrize(
    "path",
    [
        CIFAR / "resnet20.onnx",
        CIFAR / "resnet20_torchscript_opset13.onnx",
        IMAGENET / "mobilenetv1_025.onnx",
    ],
    ids=lambda p: p.stem,
)
def test_real_models_keep_their_outputs(path: Any) -> None:
    model = load_model(path)
    made = prepared(model)
    assert not {"BatchNormalization", "Identity", "Dropout", "Constant"} & set(ops(made))
    assert_same_outputs(model, made, rtol=1e-3, atol=1e-4)


# ---- what torch writes


def torch_model(style: str) -> onnx.ModelProto:
    """A network in which every pass has something to do, in evaluation mode."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3, bias=False)
            self.norm = nn.BatchNorm2d(8)
            self.zero = nn.ZeroPad2d((1, 0, 2, 1))
            self.second = nn.Conv2d(8, 8, 3, groups=2, padding=1)
            self.mirror = nn.ReflectionPad2d(1)
            self.third = nn.Conv2d(8, 4, 3)
            self.up = nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2)
            self.up_norm = nn.BatchNorm2d(6)
            self.drop = nn.Dropout(0.5)
            self.flat = nn.Identity()
            self.head = nn.Linear(6, 5)
            self.head_norm = nn.BatchNorm1d(5)

        def forward(self, x: Any) -> Any:
            x = torch.relu(self.norm(self.first(x)))
            x = torch.relu(self.second(self.zero(x)))
            x = self.third(self.mirror(x))
            x = torch.relu(self.up_norm(self.up(x)))
            x = self.flat(self.drop(x)).mean((2, 3))
            return self.head_norm(self.head(x))

    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net(torch.randn(16, 3, 12, 12) * 2 + 1)  # real running statistics
    net.eval()
    example = torch.randn(2, 3, 12, 12)
    file = io.BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if style == "dynamo":
            pytest.importorskip("onnxscript")
            batch = ({0: torch.export.Dim("batch")},)
            program = torch.onnx.export(
                net, (example,), dynamo=True, dynamic_shapes=batch, verbose=False
            )
            made: onnx.ModelProto = program.model_proto
            return made
        torch.onnx.export(
            net,
            (example,),
            file,
            dynamo=False,
            opset_version=int(style),
            do_constant_folding=False,
            input_names=["x"],
            dynamic_axes={"x": {0: "batch"}},
        )
    return onnx.load_from_string(file.getvalue())


@pytest.mark.slow
@pytest.mark.parametrize("style", ["9", "11", "13", "17", "dynamo"])
def test_torch_exports(style: str) -> None:
    """TorchScript exports by opset, without the exporter's own folding, and a dynamo export."""
    model = torch_model(style)
    assert {"Conv", "Pad"} <= set(ops(model))
    assert style == "dynamo" or "BatchNormalization" in ops(model)
    made = prepared(model)
    left = ops(made)
    assert not {"BatchNormalization", "Identity", "Dropout", "Constant"} & set(left)
    assert left.count("Pad") == 1  # the reflecting one
    assert "GlobalAveragePool" in left and "ReduceMean" not in left
    assert_same_outputs(model, made, rtol=1e-4, atol=1e-5)
    assert helper.find_min_ir_version_for(list(made.opset_import)) <= made.ir_version
