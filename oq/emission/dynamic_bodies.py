"""Products in the bodies of If, Loop and Scan -> products of integers with the range of the data
taken when they run: the chain of :mod:`oq.emission.dynamic`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

from oq.emission.bodies import Fresh, Product
from oq.numerics.grid import fit, quantize
from oq.numerics.values import Array, QType
from oq.numerics.weights import weight_range


@dataclass(frozen=True, slots=True)
class AtRunTime:
    """Symmetric ``codes`` with a scale per column of the weight (a
    :class:`~oq.emission.bodies.Form`); ``method`` of :func:`oq.numerics.weights.weight_range`."""

    codes: QType
    method: str
    domain: str = ""

    def store(self, values: Array) -> Mapping[str, Array | None]:
        """Codes (in, out), scales (out,)."""
        grid = fit(weight_range(values, self.codes, 1, self.method), self.codes, 1)
        return {"quantized": quantize(values, grid), "scale": grid.scale}

    def nodes(self, product: Product, fresh: Fresh) -> Sequence[onnx.NodeProto]:
        """DynamicQuantizeLinear, MatMulInteger, Cast, two Mul, and Add with a bias."""
        made: list[onnx.NodeProto] = []

        def add(op: str, inputs: Sequence[str], *outputs: str) -> None:
            base = product.node.name or product.output
            name = fresh(f"{base}_{op}") if made else product.node.name
            made.append(helper.make_node(op, inputs, outputs, name))

        def tensor(what: str) -> str:
            return fresh(f"{product.output}_{what}")

        weight, scale = product.stored
        data = tensor("data"), tensor("data_scale"), tensor("data_zero_point")
        sums, real, steps = tensor("sums"), tensor("cast"), tensor("steps")
        add("DynamicQuantizeLinear", [product.data], *data)
        add("MatMulInteger", [data[0], weight, data[2]], sums)
        add("Cast", [sums], real)
        made[-1].attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
        add("Mul", [data[1], scale], steps)
        result = tensor("product") if product.bias else product.output
        add("Mul", [real, steps], result)
        if product.bias:
            add("Add", [result, product.bias], product.output)
        return made
