"""The module that a file is made of: its names, and what it refuses."""

import numpy as np
import pytest

from oq.errors import ModelError
from oq.model.graph import Graph
from tests.small import normal, small

torch = pytest.importorskip("torch")
from oq.aten.module import aten_module, identifiers  # noqa: E402


def test_names_are_flat_and_inputs_have_theirs() -> None:
    text = 'net (float[2,3] images) => (float[2,3] y) { y = Add(images, "a.b") }'.replace('"', "")
    model = small(text.replace("a.b", "w"), {"w": normal(2, 3)})
    module = aten_module(Graph(model).view())
    assert dict(module.named_buffers()).keys() == {"w"} and not list(module.parameters())
    x = torch.from_numpy(normal(2, 3, seed=1))
    assert torch.equal(module(x), x + module.w)


def test_no_two_names_become_one() -> None:
    found = identifiers(["a.b", "a/b", "a_b", "lambda", "7", ""], {"a_b_"})
    assert len(set(found)) == 6 and all(name.isidentifier() for name in found)
    assert "a_b_" not in found


def test_a_shape_that_is_computed_from_values_is_refused() -> None:
    text = """net (float[2,3] x, int64[2] shape) => (float[a,b] y) {
        [odd] y = Reshape(x, shape)
    }"""
    module = aten_module(Graph(small(text)).view())
    with pytest.raises(ModelError, match=r"node 'odd': Reshape with a shape .* from values"):
        module(torch.zeros(2, 3), torch.tensor([3, 2]))


def test_a_constant_that_is_a_shape_and_data_too_is_no_obstacle() -> None:
    text = """net (float[2,3] x) => (float[3,2] y, int64[2] z) {
        y = Reshape(x, shape)
        c = Cast <to = 7> (x)
        r = ReduceMax <keepdims = 0> (c)
        z = Add(shape, r)
    }"""
    module = aten_module(Graph(small(text, {"shape": np.asarray([3, 2])}, opset=17)).view())
    y, z = module(torch.ones(2, 3))
    assert y.shape == (3, 2) and z.tolist() == [4, 3]
