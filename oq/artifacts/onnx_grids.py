"""The grids of an ONNX graph and of its bodies, in whichever form a tool has written them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor

from oq.artifacts.artifact import GridUse
from oq.artifacts.onnx_slots import (
    ATTRIBUTES,
    GRIDS,
    OUTPUT,
    PACKED,
    QUANTIZERS,
    SAME_VALUES,
    WRITTEN,
    Slots,
)
from oq.model.bodies import bodies_of
from oq.model.nbits import WIDTHS, unpack_zero_points
from oq.numerics.values import Array


@dataclass(frozen=True, slots=True)
class _Scope:
    """What the nodes of a graph see: constants, the nodes that compute tensors, types, and
    (``told``) the codes whose grid is known already."""

    constants: Mapping[str, onnx.TensorProto] = field(default_factory=dict)
    producers: Mapping[str, onnx.NodeProto] = field(default_factory=dict)
    types: Mapping[str, int] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def inside(self, graph: onnx.GraphProto) -> "_Scope":
        """What the nodes of ``graph``, a body in this scope, see."""
        values = (*graph.input, *graph.value_info, *graph.output)
        written = {n.output[0]: _written(n) for n in graph.node if n.op_type in WRITTEN}
        held = {t.name: t for t in graph.initializer}
        return _Scope(
            {**self.constants, **held, **{k: t for k, t in written.items() if t is not None}},
            {**self.producers, **{t: n for n in graph.node for t in n.output if t}},
            {**self.types, **{v.name: v.type.tensor_type.elem_type for v in values}},
            set(self.told),
        )

    def constant(self, name: str) -> onnx.TensorProto | None:
        """The constant called ``name``, or whose values ``name`` has."""
        while name not in self.constants:
            node = self.producers.get(name)
            if node is None or node.op_type not in SAME_VALUES:
                return None
            name = node.input[0]
        return self.constants[name]

    def stored(self, name: str) -> onnx.TensorProto | None:
        """The constant that codes ``name`` are, or that a quantizer rounds to them."""
        node = self.producers.get(name)
        if node is not None and node.op_type in QUANTIZERS:
            name = node.input[0]
        return self.constant(name)


def _written(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The value of a Constant; None of a sparse one, of text, or of one that a call gives."""
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            continue
        if attribute.name == "value":
            tensor: onnx.TensorProto = attribute.t
            return tensor
        if attribute.name in ATTRIBUTES:
            values = np.asarray(helper.get_attribute_value(attribute), ATTRIBUTES[attribute.name])
            return numpy_helper.from_array(values)
    return None


@dataclass(frozen=True, slots=True)
class GridReader:
    """Reads grids; external scales and zero points lie in ``folder``."""

    folder: Path
    activations: list[GridUse] = field(default_factory=list)
    weights: list[GridUse] = field(default_factory=list)

    def read(self, graph: onnx.GraphProto, outer: _Scope | None = None) -> None:
        """Add the grids of ``graph`` and of its bodies, each tensor of codes once."""
        scope = (outer or _Scope()).inside(graph)
        for node in graph.node:
            if node.op_type in QUANTIZERS:
                self._add(scope, node, QUANTIZERS[node.op_type], node.output[0])
            for row in GRIDS.get(node.op_type, ()):
                for slots in row.repeated(len(node.input)):
                    at = slots.codes
                    codes = node.output[0] if at == OUTPUT else _input(node, at)
                    self._add(scope, node, slots, codes)
            for _, body in bodies_of(node):
                self.read(body, scope)

    def _add(self, scope: _Scope, node: onnx.NodeProto, slots: Slots, codes: str) -> None:
        if not codes or codes in scope.told:
            return
        scope.told.add(codes)
        stored = scope.stored(codes)
        name = _input(node, slots.codes) if node.op_type in QUANTIZERS else codes
        known = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        scale = self._values(scope, node, slots.scale)
        zero = self._values(scope, node, slots.zero)
        if node.op_type in PACKED:
            dtype, points = _packed(known, scale, zero)
        else:
            dtype, points = _dtype(scope, codes, node, slots, known), _points(node, slots, zero)
        use = GridUse(
            stored.name or name if stored is not None else name,
            dtype,
            None if scale is None else (float(scale.min()), float(scale.max())),
            points,
            1 if scale is None else scale.size,
            int(known.get("block_size", 0)) or None,
        )
        (self.activations if stored is None else self.weights).append(use)

    def _values(self, scope: _Scope, node: onnx.NodeProto, slot: int | None) -> Array | None:
        """The constant at input ``slot``; None if there is none, or no value in it."""
        tensor = None if slot is None else scope.constant(_input(node, slot))
        if tensor is None or 0 in tensor.dims:
            return None
        if tensor.data_location == TensorProto.EXTERNAL:
            kept, tensor = tensor, TensorProto()
            tensor.CopyFrom(kept)
            load_external_data_for_tensor(tensor, str(self.folder))
        values: Array = numpy_helper.to_array(tensor)
        return values if values.dtype == np.uint8 else values.astype(np.float64)


def _input(node: onnx.NodeProto, slot: int) -> str:
    return node.input[slot] if slot < len(node.input) else ""


def _points(node: onnx.NodeProto, slots: Slots, zero: Array | None) -> tuple[int, int] | None:
    """The smallest and the largest zero point: 0 where the operator is given none, None where it
    is computed."""
    if zero is not None:
        return int(zero.min()), int(zero.max())
    given = slots.zero is not None and _input(node, slots.zero)
    return None if given or slots.zero is None else (0, 0)


def _packed(
    known: Mapping[str, Any], scale: Array | None, zero: Array | None
) -> tuple[str, tuple[int, int] | None]:
    """Type and zero points of weights in blocks (:mod:`oq.model.nbits`)."""
    bits = int(known.get("bits", 4))
    dtype = f"uint{bits}"
    middle = 2 ** (bits - 1)
    if zero is None:
        return dtype, (middle, middle)
    columns = int(known.get("N", 0))
    if zero.dtype != np.uint8 or bits not in WIDTHS or scale is None or not columns:
        return dtype, None
    points = unpack_zero_points(zero, (scale.size // columns, columns), bits)
    return dtype, (int(points.min()), int(points.max()))


def _dtype(
    scope: _Scope, codes: str, node: onnx.NodeProto, slots: Slots, known: Mapping[str, Any]
) -> str:
    """The type of ``codes``: of the zero point, of the constant, the declared one, else uint8."""
    zero = None if slots.zero is None else scope.constant(_input(node, slots.zero))
    held = scope.constants.get(codes)
    said = (
        0 if zero is None else zero.data_type,
        0 if held is None else held.data_type,
        scope.types.get(codes, 0),
        int(known.get("output_dtype", 0)),
    )
    number = next((n for n in said if n), TensorProto.UINT8)
    return str(helper.tensor_dtype_to_np_dtype(number).name)
