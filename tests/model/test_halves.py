"""Constants that float16 holds are stored so, and nothing else is."""

import numpy as np
import onnx
import pytest

import oq
from oq.model.halves import in_single, store_halves
from oq.numerics.values import Array
from oq.planning import registry
from tests.small import normal, reference, small

TARGETS = registry.names("targets")


def rounded(*shape: int, seed: int) -> Array:
    """Values that float16 holds."""
    return normal(*shape, seed=seed).astype(np.float16).astype(np.float32)


def table() -> onnx.ModelProto:
    """A table of embeddings, read in a body too, and a weight of more than float16's digits."""
    text = """net (int64[n,5] i, bool c) => (float[n,5,32] y, float[n,5,32] z) {
        e = Gather(t, i)
        y = MatMul(e, w)
        z = If (c) <
            then_branch = g1 () => (float[n,5,32] a) { a = Gather(t, i) },
            else_branch = g2 () => (float[n,5,32] b) { b = Tanh(e) }
        >
    }"""
    return small(text, {"t": rounded(200, 32, seed=1), "w": normal(32, 32, seed=2)})


FEEDS = {"i": np.arange(10).reshape(2, 5), "c": np.asarray(True)}


def test_what_is_stored_so_and_the_way_back() -> None:
    model, plain = table(), table()
    assert store_halves(model) == 1
    onnx.checker.check_model(model, full_check=True)
    kinds = {t.name: t.data_type for t in model.graph.initializer}
    assert kinds == {"t_float16": onnx.TensorProto.FLOAT16, "w": onnx.TensorProto.FLOAT}
    assert model.ByteSize() < plain.ByteSize() - 12000
    for deployed in (False, True):
        found, wanted = (reference(m, FEEDS, deployed=deployed) for m in (model, plain))
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values)
    back = in_single(model)
    assert {t.name: t.dims for t in back.graph.initializer} == {
        t.name: t.dims for t in plain.graph.initializer
    }
    assert back.graph.node == plain.graph.node and in_single(plain) is plain


@pytest.mark.parametrize("target", TARGETS)
def test_the_file_of_a_float16_model_does_not_grow(target: str) -> None:
    """Also where all that is left of it in float is large."""
    text = """net (float[n,4,64] x, int64[n,4] i) => (float[n,4,64] y) {
        e = Gather(t, i)
        a = Add(x, e)
        y = MatMul(a, w)
    }"""
    single = small(text, {"t": rounded(300, 64, seed=1), "w": rounded(64, 64, seed=2)})
    model = small(text.replace("float[", "float16["))
    for tensor in single.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, tensor.name))
    x, i = normal(8, 4, 64).astype(np.float16), np.arange(32).reshape(8, 4)
    made = oq.quantize(model, target, {"x": x, "i": i}, verify=False, refine="none")
    assert made.report.plan.sites and made.model.ByteSize() < model.ByteSize()
    (wanted,) = reference(single, {"x": x.astype(np.float32), "i": i}).values()
    (found,) = reference(made.model, {"x": x, "i": i}).values()
    assert ((wanted - found) ** 2).sum() < (wanted**2).sum() / 1000
    judged = oq.judge(made.model, target)
    assert not [f for f in judged.findings if f.severity == "error"]
    assert "computed at run time" not in str(judged)
