"""Products in the bodies of If, Loop and Scan -> MatMulNBits, weights rounded to the nearest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import helper

from oq.emission.bodies import Fresh, Product
from oq.model.nbits import DOMAIN, OP, bits_of, pack
from oq.numerics.grid import fit, quantize
from oq.numerics.values import Array, QType
from oq.numerics.weights import weight_range


@dataclass(frozen=True, slots=True)
class Blocks:
    """Weights in blocks (a :class:`~oq.emission.bodies.Form`): codes, block size, method of
    :func:`oq.numerics.weights.weight_range` and the accuracy level of MatMulNBits."""

    codes: QType
    block: int
    method: str
    accuracy_level: int
    domain: str = DOMAIN

    def store(self, values: Array) -> Mapping[str, Array | None]:
        """Packed codes, scales and zero points."""
        codes, block = self.codes, self.block
        grid = fit(weight_range(values, codes, 0, self.method, block), codes, 0, block)
        packed = pack(quantize(values, grid), grid.scale, grid.zero_point, block)
        return {"packed": packed.codes, "scales": packed.scale, "zero_points": packed.zero}

    def nodes(self, product: Product, fresh: Fresh) -> Sequence[onnx.NodeProto]:
        """One MatMulNBits, bias included."""
        bias = ("", product.bias) if product.bias else ()
        rows, columns = product.shape
        made = helper.make_node(
            *(OP, (product.data, *product.stored, *bias), [product.output], product.node.name),
            domain=DOMAIN,
            K=rows,
            N=columns,
            bits=bits_of(self.codes.dtype),
            block_size=self.block,
            accuracy_level=self.accuracy_level,
        )
        return [made]
