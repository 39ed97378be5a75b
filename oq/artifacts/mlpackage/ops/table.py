"""The operations that oq evaluates, and the strict call of a row."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import Any

from oq.artifacts.mlpackage.ops import (
    activation,
    boxes,
    convolution,
    elementwise,
    indexing,
    layout,
    linear,
    normalization,
    pooling,
    quantized,
    recurrent,
    reduction,
    resizing,
)
from oq.errors import ModelError
from oq.numerics.values import Array

Row = Callable[..., Any]
"""From the inputs by name to the output, or a tuple of outputs."""

TUPLES = frozenset({"values"})
"""Parameters that take several tensors."""

FAMILIES: Mapping[ModuleType, str] = {
    activation: "relu relu6 leaky_relu clamped_relu thresholded_relu prelu elu sigmoid "
    "sigmoid_hard silu tanh scaled_tanh linear_activation softplus softsign softmax gelu",
    boxes: "non_maximum_suppression",
    convolution: "conv conv_transpose",
    elementwise: "add sub mul real_div floor_div mod maximum minimum equal not_equal less "
    "less_equal greater greater_equal logical_and logical_or logical_xor logical_not select ceil "
    "floor sign sqrt rsqrt inverse log square exp exp2 sin cos atan erf clip threshold identity "
    "cast",
    indexing: "gather gather_along_axis gather_nd scatter_nd scatter_along_axis one_hot argsort "
    "topk cumsum non_zero classify",
    layout: "reshape transpose expand_dims squeeze flatten2d concat stack split slice_by_index "
    "slice_by_size tile reverse pad depth_to_space space_to_depth pixel_shuffle pixel_unshuffle "
    "shape fill fill_like range_1d",
    linear: "linear matmul einsum scaled_dot_product_attention",
    normalization: "batch_norm instance_norm layer_norm l2_norm local_response_norm",
    pooling: "max_pool avg_pool",
    quantized: "quantize dequantize constexpr_affine_dequantize constexpr_blockwise_shift_scale "
    "constexpr_lut_to_dense constexpr_sparse_to_dense constexpr_cast",
    recurrent: "lstm",
    reduction: "reduce_sum reduce_mean reduce_max reduce_min reduce_prod reduce_sum_square "
    "reduce_l1_norm reduce_l2_norm reduce_log_sum_exp reduce_argmax reduce_argmin",
    resizing: "resize_bilinear upsample_bilinear resize_nearest_neighbor upsample_nearest_neighbor "
    "resize crop resample",
}
"""File -> the operations whose functions have MIL's name there."""

ROWS: Mapping[str, Row] = {
    "abs": elementwise.absolute,
    "pow": elementwise.power,
    "round": elementwise.rounded,
    **{name: getattr(file, name) for file, names in FAMILIES.items() for name in names.split()},
}
"""MIL's name of an operation -> what it computes."""


@cache
def _parameters(kind: str) -> tuple[frozenset[str], frozenset[str]]:
    """All inputs of an operation, and those that it needs."""
    found = inspect.signature(ROWS[kind]).parameters
    needed = (name for name, p in found.items() if p.default is inspect.Parameter.empty)
    return frozenset(found), frozenset(needed)


def call(kind: str, inputs: Mapping[str, tuple[Array, ...]]) -> tuple[Array, ...]:
    """The outputs of one operation.

    Raises:
        ModelError: no row has this name, an input is missing, or one is not consumed.
    """
    if kind not in ROWS:
        raise ModelError(f"operation {kind!r} is none that oq evaluates")
    known, needed = _parameters(kind)
    if spare := sorted(set(inputs) - known):
        raise ModelError(f"input {spare[0]!r} of {kind!r} is none that oq knows")
    if missing := sorted(needed - set(inputs)):
        raise ModelError(f"{kind!r} has no input {missing[0]!r}")
    given: dict[str, Any] = {}
    for name, arrays in inputs.items():
        if name not in TUPLES and len(arrays) != 1:
            raise ModelError(f"input {name!r} of {kind!r} has {len(arrays)} values; it takes one")
        given[name] = arrays if name in TUPLES else arrays[0]
    made = ROWS[kind](**given)
    return made if isinstance(made, tuple) else (made,)
