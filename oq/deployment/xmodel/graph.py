"""An XIR graph under construction: ops with unique names, in order, and its bytes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oq.deployment.xmodel.schema import message_class
from oq.model.names import claim_name
from oq.numerics.values import Array

Dims = tuple[int, ...]
Attribute = bool | int | float | str | bytes | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
"""Every int is written as int32, every float as float32, tuples as vectors of them."""

FLOAT, FLOAT_BITS = 4, 32
"""XIR's number of FLOAT.  All tensors of a graph that is not compiled are float32."""

ROOT = "root"
BATCH = 1


@dataclass(frozen=True, slots=True)
class Made:
    """An op: its name, its type, its attributes, argument -> the ops it reads, its shape."""

    name: str
    type: str
    attributes: Mapping[str, Attribute]
    arguments: Mapping[str, tuple[str, ...]]
    dims: Dims


@dataclass(slots=True)
class XirBuilder:
    """The ops so far, in an order in which each stands behind what it reads."""

    ops: list[Made] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)

    def add(
        self,
        kind: str,
        wish: str,
        dims: Sequence[int],
        arguments: Mapping[str, Sequence[str]],
        attributes: Mapping[str, Attribute],
    ) -> str:
        """A new op of type ``kind``, and its name: ``wish`` in letters, digits and ``_``."""
        given = {a: tuple(names) for a, names in arguments.items()}
        name = self._fresh(wish)
        self.ops.append(Made(name, kind, attributes, given, tuple(map(int, dims))))
        return name

    def const(self, wish: str, values: Array) -> str:
        """A ``const`` op of float32 ``values``, of at least one axis."""
        held = np.ascontiguousarray(values, "<f4").reshape(values.shape or (1,))
        dims = tuple(map(int, held.shape))
        found: dict[str, Attribute] = {
            "shape": dims,
            "data_type": "float32",
            "data": held.tobytes(),
        }
        return self.add("const", wish, dims, {}, found)

    def fix(self, wish: str, source: str, dims: Sequence[int], position: int) -> str:
        """A ``fix`` op: 8 bits, signed, rounded as the DPU does."""
        attributes: dict[str, Attribute] = {
            "fix_point": position,
            "bit_width": 8,
            "if_signed": True,
            "round_mode": "DPU_ROUND",
        }
        return self.add("fix", wish, dims, {"input": (source,)}, attributes)

    def to_bytes(self, name: str, attributes: Mapping[str, Any]) -> bytes:
        """The file; maps lie in the order of their keys, so that equal graphs are equal bytes."""
        graph = message_class("Graph")(graph_name=name)
        for op in self.ops:
            node = graph.op_node.add(op_name=op.name, op_type=op.type)
            for key, value in op.attributes.items():
                _put(node.op_attr[key], value)
            for argument, names in op.arguments.items():
                node.args.add(arg_name=argument, arg_ops=names)
            node.output_tensor.tensor_name = op.name
            node.output_tensor.tensor_dim.extend(op.dims)
            node.output_tensor.data_type = FLOAT
            node.output_tensor.tensor_bit_width = FLOAT_BITS
        graph.subg_root.subgraph_name = ROOT
        graph.subg_root.op_name.extend(op.name for op in self.ops)
        for key, value in attributes.items():
            _put(graph.graph_attr[key], value)
        found: bytes = graph.SerializeToString(deterministic=True)
        return found

    def _fresh(self, wish: str) -> str:
        plain = re.sub("[^0-9A-Za-z]", "_", wish) or "op"
        return claim_name(plain, self._names)


def _put(slot: Any, value: Any) -> None:
    """Set the field of an AttrValue that goes with the type of ``value``."""
    if isinstance(value, Mapping):
        _put_map(slot, value)
    elif isinstance(value, tuple):
        kind = next(name for name, types in VECTORS if all(type(v) in types for v in value))
        getattr(slot, kind).value.extend(value)
    elif isinstance(value, bytes):
        slot.bytes_value.value = value
    else:
        setattr(slot, SCALARS[type(value)], value)


def _put_map(slot: Any, value: Mapping[str, Any]) -> None:
    for key, item in value.items():
        if isinstance(item, str):
            slot.map_string_2_string_value.value[key] = item
        else:
            slot.map_string_2_int32_vec_value.value[key].value.extend(item)


SCALARS: Mapping[type, str] = {
    bool: "bool_value",
    int: "int32_value",
    float: "float_value",
    str: "string_value",
}
VECTORS = (
    ("int32_vec_value", (int,)),
    ("float_vec_value", (float,)),
    ("string_vec_value", (str,)),
)
