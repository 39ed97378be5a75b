"""Limits of the DPU's convolution engine; the compiler leaves nodes beyond them to the CPU.

Figures of one configuration each, from AMD's tables (UG1414 3.5, PG367, PG403); the ``arch.json``
of the exact release is authoritative.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """One device.  ``channels``: processed in parallel; ``bank``: depth of a weight bank; None: not
    specified.  ``kernel``, ``stride``: maxima of a convolution, transposed ones included;
    ``depthwise``: largest kernel of a depthwise convolution, 0 if unsupported."""

    kernel: int
    stride: int
    depthwise: int
    channels: int | None = None
    bank: int | None = None


DEVICES: Mapping[str, Limits] = {
    "DPUCZDX8G": Limits(kernel=16, stride=8, depthwise=256, channels=16, bank=2048),
    "DPUCVDX8H": Limits(kernel=16, stride=4, depthwise=5, channels=64, bank=256),
    "DPUCAHX8H": Limits(kernel=16, stride=8, depthwise=0),
}
"""Device -> its limits; DPUCZDX8G is the B4096 of the ZCU102, ZCU104 and KV260 boards."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A convolution: sizes by spatial axis, and channels of the whole layer."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    inputs: int
    outputs: int
    group: int


def beyond(shape: Shape, limits: Limits) -> str | None:
    """Why a convolution of ``shape`` does not fit, or None."""
    depthwise = shape.group > 1 and shape.group == shape.inputs == shape.outputs
    if shape.group > 1 and not depthwise:
        return f"has {shape.group} groups; the DPU supports 1 group or depthwise"
    if len(shape.kernel) != 2:
        return f"has {len(shape.kernel)} spatial axes, not 2"
    largest = limits.depthwise if depthwise else limits.kernel
    if max(shape.kernel) > largest:
        kind = "depthwise kernel" if depthwise else "kernel"
        return f"has a {kind} of {max(shape.kernel)}; the limit is {largest}"
    if max(shape.strides) > limits.stride:
        return f"has a stride of {max(shape.strides)}; the limit is {limits.stride}"
    if depthwise or limits.channels is None or limits.bank is None:
        return None
    reach, width = 256 * limits.channels, max(shape.dilations) * shape.inputs
    if width > reach:
        return f"has dilation * input channels = {width}; the limit is {reach}"
    if shape.outputs > reach:
        return f"has {shape.outputs} output channels; the limit is {reach}"
    depth = math.prod(shape.kernel) * math.ceil(shape.inputs / limits.channels)
    if depth > limits.bank:
        return f"needs {depth} rows of a weight bank, which has {limits.bank}"
    return None
