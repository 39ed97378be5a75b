"""``weight_bits=4``: weights of 16 codes, -8..7, in the int8 that integer kernels read.

No runtime of these targets multiplies 4-bit weights with 8-bit data: they would dequantize int4 in
front of a convolution in float.  So the codes stay int8, of which a file compressor, or a device
with 4-bit storage, makes use.  Ranges are chosen for the least squared error, since the largest
weight alone wastes most of 16 codes.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from oq.errors import OptionError
from oq.planning.target import Target, as_is


def four_bits(target: Target) -> Target:
    """``target`` with weights of 4 bits.

    Raises:
        OptionError: its weights are in blocks or no integers, or its ranges are found at run time.
    """
    if target.block is not None or target.at_run_time or not target.weights.uniform:
        raise OptionError(
            "--set weight_bits=4 is for int8 weights and activations: it cannot be combined with "
            "weights=int4, weights=int8, dynamic=on or dtype=fp8"
        )
    return replace(
        target,
        summary=f"{target.summary}; weights of 4 bits",
        weights=replace(target.weights, qmin=-8, qmax=7),
        weight_range="mse",
    )


WEIGHT_BITS: Mapping[str, Callable[[Target], Target]] = {"8": as_is, "4": four_bits}
"""The values of the option."""
