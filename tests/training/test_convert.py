"""Whole models as torch modules: float ones equal onnxruntime, Q/DQ ones code by code."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import oq
from oq.errors import DataError, MissingExtra, ModelError
from oq.model.graph import Graph
from oq.model.proto_fields import inputs_of
from oq.model.qdq import Q
from oq.model.session import Session, Settings, expose, run
from oq.numerics.values import Array
from tests.light import light
from tests.real import CIFAR, IMAGENET, mobilenet, needs_real, resnet20, together
from tests.small import floats, normal, small

torch = pytest.importorskip("torch")

BUNDLED = Path(oq.__file__).parents[1] / "models" / "bundled"
DIGITS = ("residual", "separable", "transformer")
TARGETS = ("ort", "trt", "dpu", "coreml")
LITERAL = Settings(reading="literal")


def images(count: int) -> Array:
    with np.load(BUNDLED / "digits_eval.npz") as arrays:
        return np.asarray(arrays["input"][:count])


def differs(model: onnx.ModelProto | Path, x: Array) -> float:
    """The greatest difference of the first outputs, as a share of the greatest value."""
    module = oq.to_torch(model)
    (name,) = (i.name for i in module.program.inputs)
    with torch.no_grad():
        found = module(torch.from_numpy(x))
    exact = next(iter(run(model, {name: x}, settings=LITERAL).values()))
    assert found.shape == exact.shape
    return float(np.abs(found.numpy() - exact).max() / np.abs(exact).max())


@pytest.mark.parametrize("name", DIGITS)
@pytest.mark.parametrize("batch", [1, 5])
def test_the_bundled_models(name: str, batch: int) -> None:
    assert differs(BUNDLED / f"{name}.onnx", images(batch)) < 2e-6


@needs_real
@pytest.mark.parametrize("file", ["resnet20.onnx", "resnet20_torchscript_opset13.onnx"])
def test_both_exports_of_resnet20(file: str) -> None:
    x = np.load(CIFAR / "eval.npz")["input"][:3]
    assert differs(CIFAR / file, x) < 1e-5


@needs_real
def test_mobilenet() -> None:
    assert differs(IMAGENET / "mobilenetv1_025.onnx", normal(2, 3, 224, 224)) < 1e-5


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_light_models_of_an_old_opset(name: str) -> None:
    """Their weights are made when they run."""
    model = onnx.load(light(name))
    (given,) = inputs_of(model)
    assert differs(model, normal(*(n for n in given.shape or () if isinstance(n, int)))) < 1e-5


def test_parameters_bear_the_names_of_initializers_and_their_values() -> None:
    model = onnx.load(BUNDLED / "residual.onnx")
    module = oq.to_torch(model)
    held = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    found = dict(module.named_parameters())
    assert len(found) == 18
    for tensor, path in module.names.items():
        np.testing.assert_array_equal(module.state_dict()[path].numpy(), held[tensor])
    assert "stem.weight" in found or any(p in held for p in found)


def test_bounds_scales_and_statistics_are_no_parameters() -> None:
    text = """net (float[n,2,4,4] x) => (float[n,2,4,4] y) {
        a = BatchNormalization(x, scale, bias, mean, var)
        b = Clip(a, low, high)
        c = Mul(b, share)
        y = Add(c, shift)
    }"""
    one = np.ones(2, np.float32)
    constants = {"scale": one, "bias": one, "mean": one, "var": one, "low": floats(0).reshape(()),
                 "high": floats(6).reshape(()), "share": floats(0.5).reshape(()),
                 "shift": normal(2, 1, 1)}  # fmt: skip
    module = oq.to_torch(small(text, constants))
    assert set(dict(module.named_parameters())) == {"scale", "bias", "shift"}
    assert set(dict(module.named_buffers())) == {"mean", "var", "share"}


def test_every_parameter_of_a_float_model_gets_a_gradient() -> None:
    module = oq.to_torch(BUNDLED / "transformer.onnx")
    module(torch.from_numpy(images(4))).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_gradients_are_those_of_finite_differences() -> None:
    """Of a network with a convolution, a normalization and a matrix product, in float64."""
    text = """net (float[2,2,5,5] x) => (float[2,3] y) {
        a = Conv <pads = [1, 0, 0, 1], strides = [2, 2]> (x, w, b)
        c = Tanh(a)
        d = GlobalAveragePool(c)
        e = Flatten(d)
        f = LayerNormalization(e, g, h)
        y = Gemm(f, m)
    }"""
    constants = {"w": normal(4, 2, 3, 3, seed=1), "b": normal(4, seed=2), "g": normal(4, seed=3),
                 "h": normal(4, seed=4), "m": normal(4, 3, seed=5)}  # fmt: skip
    module = oq.to_torch(small(text, constants)).double()
    x = torch.from_numpy(normal(2, 2, 5, 5)).double()
    names, values = zip(*module.named_parameters(), strict=True)

    def loss(*given: Any) -> Any:
        return torch.func.functional_call(module, dict(zip(names, given, strict=True)), (x,))

    assert torch.autograd.gradcheck(loss, values)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", DIGITS)
def test_codes_of_the_bundled_models(name: str, target: str) -> None:
    made = oq.quantize(
        BUNDLED / f"{name}.onnx", target, BUNDLED / "digits_calib.npz",
        samples=16, refine="none", verify=False,
    ).model  # fmt: skip
    codes_agree(made, images(8), exact=target == "dpu")


@pytest.mark.slow
@needs_real
@pytest.mark.parametrize(
    "target", [pytest.param(t, marks=together("resnet20", t)) for t in ("ort", "dpu")]
)
def test_codes_of_resnet20(target: str) -> None:
    x = np.load(CIFAR / "eval.npz")["input"][:16]
    codes_agree(resnet20(target).model, x, exact=target == "dpu")


@pytest.mark.slow
@needs_real
@together("mobilenet", "dpu")
def test_codes_of_mobilenet_on_the_dpu() -> None:
    codes_agree(mobilenet("dpu").model, np.tanh(normal(2, 3, 224, 224)), exact=True)


def codes_agree(made: onnx.ModelProto, x: Array, exact: bool) -> None:
    """``exact``: every code of the whole run; else those of each quantizer fed with the codes of
    onnxruntime, but for one step in at most 1e-5 of them."""
    view = Graph(made).view()
    names = [n.outputs[0] for n in view.nodes if n.op == Q]
    (given,) = (i.name for i in view.inputs)
    read = Session(expose(made, names), LITERAL).run({given: x}, names)
    codes = {n: torch.from_numpy(c.astype(np.float32)) for n, c in zip(names, read, strict=True)}
    module = oq.to_torch(made)
    with torch.no_grad():
        feeds = {given: torch.from_numpy(x)}
        found = module.evaluate(feeds, names, None if exact else codes)
    off = torch.cat([(found[n] - codes[n]).abs().reshape(-1) for n in names])
    if exact:
        assert not off.any()
    else:
        assert off.max() <= 1 and (off > 0).sum() <= max(2, 1e-5 * off.numel())


def test_the_gradients_of_a_quantizer_are_those_of_lsq() -> None:
    """dy/dx = 1 inside and 0 outside; dy/ds = rint(v) - v inside, and the code's steps outside."""
    text = """net (float[6] x) => (float[6] y) {
        q = QuantizeLinear(x, s, z)
        y = DequantizeLinear(q, s, z)
    }"""
    step, zero = floats(0.5).reshape(()), np.asarray(3, np.int8)
    module = oq.to_torch(small(text, {"s": step, "z": zero}, opset=21))
    scale = module.get_buffer("s").requires_grad_()
    x = torch.tensor([0.1, 0.75, -0.6, 70.0, -70.0, 0.25], requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None and scale.grad is not None
    assert x.grad.tolist() == [1, 1, 1, 0, 0, 1]
    v = np.asarray([0.2, 1.5, -1.2, 0, 0, 0.5])
    inside = (np.rint(v) - v)[[0, 1, 2, 5]].sum()
    assert scale.grad.item() == pytest.approx(inside + (127 - 3) + (-128 - 3))


def test_an_operator_that_is_not_there_is_refused_by_name() -> None:
    text = "net (float[2] x) => (float[2] y) { [odd] y = com.example.Strange(x) }"
    with pytest.raises(ModelError, match=r"node 'odd': .*Strange has no form in torch"):
        oq.to_torch(small(text))


def test_a_wrong_call_is_refused() -> None:
    module = oq.to_torch(BUNDLED / "residual.onnx")
    with pytest.raises(DataError, match="the module takes 'input'"):
        module(image=torch.zeros(1))


def test_torch_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"oq.to_torch needs torch.*pip install torch "):
        oq.to_torch(BUNDLED / "residual.onnx")


def test_a_dynamic_batch_survives_torch_export() -> None:
    """Shapes are computed on the host: the archive takes another batch than it was made with."""
    module = oq.to_torch(BUNDLED / "separable.onnx").eval()
    batch = {0: torch.export.Dim("batch")}
    with torch.no_grad():
        made = torch.export.export(
            module, (torch.from_numpy(images(2)),), dynamic_shapes={"args": ((batch,))}
        )
        x = torch.from_numpy(images(5))
        assert torch.equal(made.module()(x), module(x))
