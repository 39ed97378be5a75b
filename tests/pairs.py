"""Q/DQ graphs written by hand: pairs and stored codes on top of :class:`tests.graphs.Net`."""

from typing import Any

import numpy as np

from tests.graphs import Net

ZERO: dict[str, Any] = {
    "uint8": np.uint8(0),
    "uint8 at 128": np.uint8(128),
    "int8": np.int8(0),
    "int8 at -128": np.int8(-128),
    "uint16": np.uint16(0),
}
"""Grids by name: their zero points."""


def pair(net: Net, data: str, name: str, grid: str = "uint8", scale: float = 0.05) -> str:
    """``data -> q_name -> d_name``; returns the dequantized tensor."""
    return dequantize(net, quantize(net, data, name, grid, scale), name)


def quantize(net: Net, data: str, name: str, grid: str = "uint8", scale: float = 0.05) -> str:
    net.constant(f"s_{name}", scale)
    net.constants[f"z_{name}"] = np.asarray(ZERO[grid])
    return net.node("QuantizeLinear", [data, f"s_{name}", f"z_{name}"], f"q_{name}")


def dequantize(net: Net, codes: str, name: str, output: str | None = None) -> str:
    """A DequantizeLinear on the grid of ``name``."""
    grid = [codes, f"s_{name}", f"z_{name}"]
    return net.node("DequantizeLinear", grid, f"d_{name}" if output is None else output)


def stored(net: Net, name: str, *shape: int, dtype: Any = np.int8) -> str:
    """Codes in the file and their DequantizeLinear."""
    net.constants[f"c_{name}"] = np.ones(shape, dtype)
    net.constant(f"s_{name}", 0.02)
    net.constants[f"z_{name}"] = np.asarray(0, dtype)
    return dequantize(net, f"c_{name}", name, name)


def conv(net: Net, data: str, output: str, *, dtype: Any = np.int8) -> str:
    """A 3x3 convolution of 4 channels with stored weight ``w_*`` and no bias."""
    weight = stored(net, f"w_{output}", 4, 4, 3, 3, dtype=dtype)
    return net.node("Conv", [data, weight], output, pads=[1, 1, 1, 1])
