"""What a file of torch may call: functions of aten that compute tensors from tensors, and nothing
else."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

_ATEN = """
    _convolution abs acos adaptive_avg_pool1d adaptive_avg_pool2d add addmm all amax amin any arange
    argmax argmin asin atan avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bitwise_and
    bitwise_not bitwise_or bmm broadcast_to cat ceil celu chunk clamp clamp_max clamp_min clone
    concat constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d convolution cos cosh cumsum detach detach_ div einsum elu empty eq erf exp
    expand expm1 expand_as fill flatten flip floor floor_divide fmod full full_like gather ge gelu
    group_norm gt hardsigmoid hardswish index index_put index_select instance_norm isinf isnan
    isneginf isposinf layer_norm le leaky_relu lift_fresh_copy linear log log_softmax logical_and
    logical_not logical_or logical_xor logsumexp lt masked_fill matmul max max_pool1d max_pool2d
    max_pool3d maximum mean min minimum mish mm mul narrow native_layer_norm ne neg new_ones
    new_zeros norm one_hot ones ones_like pad permute pow prelu prod reciprocal relu relu6 remainder
    repeat repeat_interleave reshape rms_norm round rsqrt rsub scalar_tensor scatter select selu
    sigmoid sign silu sin sinh size slice softmax softplus softsign sort split split_with_sizes sqrt
    squeeze stack sub sum t tan tanh tensor tile to topk transpose tril triu unbind unflatten unfold
    unsqueeze upsample_bilinear2d upsample_nearest2d view where zeros zeros_like __and__ __or__
    __rshift__ __lshift__ bitwise_right_shift bitwise_left_shift Bool Float Int IntImplicit
    ScalarImplicit FloatImplicit
"""

ATEN = frozenset(_ATEN.split())
"""Functions of aten, without their overloads."""

_PRIM = """
    NumToTensor device dtype layout max min unchecked_cast unchecked_unwrap_optional
"""

PRIM = frozenset(_PRIM.split())
"""Functions of TorchScript's own that handle numbers."""

WORDS = frozenset({"annotate", "bool", "float", "getattr", "int", "len", "torch.device"})
"""What else TorchScript's text calls."""

SIZES: Mapping[str, Callable[..., Any]] = {
    "_operator.add": operator.add,
    "_operator.eq": operator.eq,
    "_operator.floordiv": operator.floordiv,
    "_operator.ge": operator.ge,
    "_operator.gt": operator.gt,
    "_operator.le": operator.le,
    "_operator.lt": operator.lt,
    "_operator.mod": operator.mod,
    "_operator.mul": operator.mul,
    "_operator.ne": operator.ne,
    "_operator.neg": operator.neg,
    "_operator.sub": operator.sub,
    "_operator.truediv": operator.truediv,
    "torch.ops.aten.sym_numel.default": lambda x: x.numel(),
    "torch.ops.aten.sym_size.int": lambda x, axis: x.shape[axis],
    "torch.sym_float": float,
    "torch.sym_max": max,
    "torch.sym_min": min,
}
"""What computes sizes in a graph of ``torch.export``."""

ASSERTIONS = frozenset({
    "torch.ops.aten._assert_scalar.default",
    "torch.ops.aten._assert_tensor_metadata.default",
    "torch.ops.aten.sym_constrain_range.default",
    "torch.ops.aten.sym_constrain_range_for_size.default",
})  # fmt: skip
"""Nodes that compute nothing."""
