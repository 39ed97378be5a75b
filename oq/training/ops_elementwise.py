"""Rows of operators that compute each value by itself: arithmetic, activations, comparisons."""

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor

from oq.numerics.values import Array
from oq.training.row import TORCH, Node, Row, Value


def _unary(function: Callable[[Tensor], Tensor], on_host: Callable[..., Any] | None = None) -> Row:
    host = None if on_host is None else (lambda node, x: on_host(x))
    return Row(lambda node, x: function(x), on_host=host)


def _pair(
    function: Callable[[Tensor, Tensor], Tensor], on_host: Callable[..., Any] | None = None
) -> Row:
    host = None if on_host is None else (lambda node, a, b: np.asarray(on_host(a, b)))
    return Row(lambda node, a, b: function(a, b), on_host=host)


def _fold(
    function: Callable[[Tensor, Tensor], Tensor], on_host: Callable[..., Any] | None = None
) -> Row:
    """An operator of any number of inputs."""
    host = None if on_host is None else (lambda node, *xs: np.asarray(reduce(on_host, xs)))
    return Row(lambda node, *xs: reduce(function, xs), on_host=host)


def _divide(a: Tensor, b: Tensor) -> Tensor:
    """Integers are cut towards zero."""
    if a.is_floating_point():
        return a / b
    return torch.div(a, b, rounding_mode="trunc")


def _divide_host(a: Array, b: Array) -> Array:
    whole = all(v.dtype.kind in "iuO" for v in (a, b))
    return np.asarray(a // b if whole else a / b)


def _mod(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if node.get("fmod", 0) else torch.remainder(a, b)


def _power(a: Tensor, b: Tensor) -> Tensor:
    return torch.pow(a, b).to(a.dtype)


def _bounds(node: Node, low: Array | None, high: Array | None) -> tuple[Any, Any]:
    """The bounds of a Clip: attributes before opset 11."""
    if node.opset < 11:
        return node.get("min"), node.get("max")
    least, most = (None if v is None else v.reshape(()).item() for v in (low, high))
    return least, most


def _clip(node: Node, x: Tensor, low: Array | None = None, high: Array | None = None) -> Tensor:
    least, most = _bounds(node, low, high)
    return x if least is None and most is None else torch.clamp(x, least, most)


def _cast_type(node: Node) -> str:
    return str(onnx.helper.tensor_dtype_to_np_dtype(node.get("to")).name)


def _cast_to(node: Node, x: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype == torch.float8_e4m3fn and node.get("saturate", 1):
        x = x.clamp(-448, 448)
    return x.to(dtype)


def _cast(node: Node, x: Tensor) -> Tensor:
    name = _cast_type(node)
    if name not in TORCH or name in {"int4", "uint4"}:
        raise node.refuse(f"a result of type {name}")
    return _cast_to(node, x, TORCH[name])


def _cast_host(node: Node, x: Array) -> Array:
    """Symbols stay: they are integers, and what reads them wants such."""
    return x if x.dtype == object else x.astype(_cast_type(node))


def _prelu(node: Node, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def _gelu(node: Node, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=node.get("approximate", "none"))


def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    return torch.clamp(x * node.get("alpha", 0.2) + node.get("beta", 0.5), 0, 1)


def _selu(node: Node, x: Tensor) -> Tensor:
    alpha, gamma = node.get("alpha", 1.6732632423543772), node.get("gamma", 1.0507009873554805)
    found: Tensor = gamma * torch.where(x > 0, x, alpha * torch.expm1(x))
    return found


def _swish(node: Node, x: Tensor) -> Tensor:
    return x * torch.sigmoid(x * node.get("alpha", 1.0))


def _softmax(function: Callable[..., Tensor]) -> Row:
    """Before opset 13 over all axes from ``axis`` on, taken as one."""

    def run(node: Node, x: Tensor) -> Tensor:
        if node.opset >= 13:
            return function(x, dim=node.get("axis", -1))
        axis = node.get("axis", 1) % x.ndim
        return function(x.flatten(axis), dim=axis).reshape(x.shape)

    return Row(run)


def _where(node: Node, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition, a, b)


def _is_inf(node: Node, x: Tensor) -> Tensor:
    high = torch.isposinf(x) & bool(node.get("detect_positive", 1))
    return high | (torch.isneginf(x) & bool(node.get("detect_negative", 1)))


def _dropout(node: Node, x: Tensor, ratio: Any = None, training: Array | None = None) -> Any:
    """Passes all values on, as in a file that is run."""
    if training is not None and training.reshape(()).item():
        raise node.refuse("training_mode")
    return (x, torch.ones_like(x, dtype=torch.bool)) if node.outputs > 1 else x


def _identity(node: Node, x: Value, *rest: Any) -> Value:
    return x


ROWS: Mapping[str, Row] = {
    "Abs": _unary(torch.abs, np.abs),
    "Acos": _unary(torch.acos),
    "Add": _pair(torch.add, lambda a, b: a + b),
    "And": _pair(torch.logical_and),
    "Asin": _unary(torch.asin),
    "Atan": _unary(torch.atan),
    "Cast": Row(_cast, on_host=_cast_host),
    "CastLike": Row(lambda node, x, like: _cast_to(node, x, like.dtype)),
    "Ceil": _unary(torch.ceil, np.ceil),
    "Celu": Row(lambda node, x: F.celu(x, node.get("alpha", 1.0))),
    "Clip": Row(_clip, host=(1, 2)),
    "Cos": _unary(torch.cos),
    "Cosh": _unary(torch.cosh),
    "Div": _pair(_divide, _divide_host),
    "Dropout": Row(_dropout, host=(1, 2)),
    "Elu": Row(lambda node, x: torch.where(x > 0, x, node.get("alpha", 1.0) * torch.expm1(x))),
    "Equal": _pair(torch.eq, lambda a, b: a == b),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Floor": _unary(torch.floor, np.floor),
    "Gelu": Row(_gelu),
    "Greater": _pair(torch.gt, lambda a, b: a > b),
    "GreaterOrEqual": _pair(torch.ge, lambda a, b: a >= b),
    "HardSigmoid": Row(_hard_sigmoid),
    "HardSwish": Row(lambda node, x: x * torch.clamp(x / 6 + 0.5, 0, 1)),
    "Identity": Row(_identity, on_host=_identity),
    "IsInf": Row(_is_inf),
    "IsNaN": _unary(torch.isnan),
    "LeakyRelu": Row(lambda node, x: F.leaky_relu(x, node.get("alpha", 0.01))),
    "Less": _pair(torch.lt, lambda a, b: a < b),
    "LessOrEqual": _pair(torch.le, lambda a, b: a <= b),
    "Log": _unary(torch.log),
    "LogSoftmax": _softmax(F.log_softmax),
    "Max": _fold(torch.maximum, np.maximum),
    "Mean": Row(lambda node, *xs: reduce(torch.add, xs) / len(xs)),
    "Min": _fold(torch.minimum, np.minimum),
    "Mish": Row(lambda node, x: x * torch.tanh(F.softplus(x))),
    "Mod": Row(_mod),
    "Mul": _pair(torch.mul, lambda a, b: a * b),
    "Neg": _unary(torch.neg, np.negative),
    "Not": _unary(torch.logical_not),
    "Or": _pair(torch.logical_or),
    "PRelu": Row(_prelu, learns=(1,)),
    "Pow": _pair(_power),
    "QuickGelu": Row(lambda node, x: x * torch.sigmoid(x * node.get("alpha", 1.702))),
    "Reciprocal": _unary(torch.reciprocal),
    "Relu": _unary(torch.relu),
    "Round": _unary(torch.round, np.rint),
    "Selu": Row(_selu),
    "Sigmoid": _unary(torch.sigmoid),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Sinh": _unary(torch.sinh),
    "Softmax": _softmax(F.softmax),
    "Softplus": _unary(F.softplus),
    "Softsign": _unary(F.softsign),
    "Sqrt": _unary(torch.sqrt),
    "Sub": _pair(torch.sub, lambda a, b: a - b),
    "Sum": _fold(torch.add),
    "Swish": Row(_swish),
    "Tan": _unary(torch.tan),
    "Tanh": _unary(torch.tanh),
    "ThresholdedRelu": Row(
        lambda node, x: torch.where(x > node.get("alpha", 1.0), x, torch.zeros_like(x))
    ),
    "Where": Row(_where, on_host=lambda node, c, a, b: np.where(c, a, b)),
    "Xor": _pair(torch.logical_xor),
}
