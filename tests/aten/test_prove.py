"""The comparisons refuse what is wrong."""

import numpy as np
import onnx
import pytest

from oq.errors import ModelError
from oq.model.graph import Graph
from oq.numerics.values import Batch
from tests.aten.made import images, quantized

torch = pytest.importorskip("torch")
from oq.aten.kind import Loaded  # noqa: E402
from oq.aten.module import AtenModule, aten_module  # noqa: E402
from oq.aten.prove import Arithmetic, same_constants, same_outputs  # noqa: E402
from oq.aten.sizes import free_axes  # noqa: E402


def module_of(model: onnx.ModelProto) -> AtenModule:
    return aten_module(Graph(model).view())


def scaled(model: onnx.ModelProto, tensor: str, factor: float) -> onnx.ModelProto:
    """``model`` with one constant multiplied."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    (held,) = (t for t in made.graph.initializer if t.name == tensor)
    values = onnx.numpy_helper.to_array(held)
    held.CopyFrom(onnx.numpy_helper.from_array((values * factor).astype(values.dtype), tensor))
    return made


@pytest.mark.parametrize("target", ["ort", "dpu"])
def test_another_scale_is_seen_in_the_codes(target: str) -> None:
    model = quantized("residual", target).model
    name = next(n.input[1] for n in model.graph.node if n.op_type == "QuantizeLinear")
    batch = Batch({"input": images(4)})
    for factor, passed in ((1, True), (2, False)):
        found = Arithmetic(module_of(scaled(model, name, factor)), model, exact=target == "dpu")
        found.add(batch)
        assert found.codes and found.proofs()[0].passed is passed


def test_another_last_layer_is_seen_in_the_outputs() -> None:
    """Behind the last quantizer no codes tell."""
    model = quantized("residual", "trt").model
    wide = next(t.name for t in model.graph.initializer if t.name == "head.bias")
    found = Arithmetic(module_of(scaled(model, wide, 1.01)), model, exact=False)
    found.add(Batch({"input": images(4)}))
    codes, outputs = found.proofs()
    assert codes.passed and not outputs.passed


def test_one_changed_code_is_seen() -> None:
    module = module_of(quantized("residual", "ort").model)
    held = {name: tensor.clone() for name, tensor in module.named_buffers()}
    assert same_constants(module, held).passed
    name = next(n for n, t in held.items() if t.dtype == torch.int8 and t.ndim > 1)
    held[name].view(-1)[5] += 1
    proof = same_constants(module, held)
    assert not proof.passed and name in proof.figures


def test_a_file_that_answers_otherwise_is_seen() -> None:
    module = module_of(quantized("separable", "ort").model)
    axes, given = free_axes(module.program.inputs), [torch.from_numpy(images(2))]
    same, other = Loaded(module, {}, ()), Loaded(lambda x: module(x) * (1 + 1e-5), {}, ())
    assert same_outputs(module, same, given, axes, free_axes(())).passed
    assert not same_outputs(module, other, given, axes, axes).passed


def test_a_file_of_one_size_is_seen() -> None:
    module = module_of(quantized("separable", "ort").model)
    axes, given = free_axes(module.program.inputs), [torch.from_numpy(images(2))]
    loaded = Loaded(lambda x: module(x[:2]), {}, ())
    with pytest.raises(ModelError, match="axis 0 of 'input' at the size it was made with"):
        same_outputs(module, loaded, given, axes, free_axes(()))


def test_codes_are_counted() -> None:
    model = quantized("separable", "dpu").model
    found = Arithmetic(module_of(model), model, exact=True)
    found.add(Batch({"input": images(3)}))
    assert found.off == 0 and found.codes > 3 * 64
    assert np.isfinite(found.worst["logits"])
