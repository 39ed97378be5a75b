"""Resize and Upsample over height and width."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from oq.deployment.coreml.cubic import cubic
from oq.deployment.coreml.net import Net, is_size, refusal
from oq.model.view import NodeView
from oq.numerics.values import Array

SAMPLING = {
    "half_pixel": "UNALIGN_CORNERS",
    "pytorch_half_pixel": "UNALIGN_CORNERS",
    "align_corners": "STRICT_ALIGN_CORNERS",
    "asymmetric": "DEFAULT",
}
"""ONNX's coordinate modes -> MIL's sampling modes that read the same places.

Source: coremltools 9.0, ``ops/defs/iOS15/image_resizing.py`` (``resize_bilinear``).
"""


def resize(net: Net, node: NodeView) -> None:
    """Resize of the last two axes of four."""
    given = node.attributes
    mode = str(given.get("mode", "nearest"))
    outside = given.get("exclude_outside", 0) and mode != "cubic"
    if mode not in MODES or given.get("antialias", 0) or outside:
        raise refusal(node, f"mode {mode!r}, or antialias")
    shape = net.shape(node.inputs[0])
    scales, sizes = _scales(net, node, shape)
    if len(shape) != 4 or any(s != 1.0 for s in scales[:2]):
        raise refusal(node, "other axes than the last two of four")
    MODES[mode](net, node, scales[2:], sizes[2:])


def _scales(net: Net, node: NodeView, shape: Sequence[Any]) -> tuple[list[float], list[int | None]]:
    """Factor and size of every axis of the output; the size of a free axis is None."""
    axes = [int(a) % len(shape) for a in node.attributes.get("axes", range(len(shape)))]
    scales, sizes = [1.0] * len(shape), [s if is_size(s) else None for s in shape]
    if node.input(3) and (wanted := net.sizes(node.input(3))) != []:
        if wanted is None:
            raise refusal(node, "its sizes depend on the values of an input")
        if node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise refusal(node, "it keeps the ratio of height and width")
        for axis, size in zip(axes, wanted, strict=True):
            before = shape[axis]
            if not is_size(before) or not is_size(size):
                if size != before:
                    raise refusal(node, "it makes one size of another, and one of them is free")
                continue
            sizes[axis] = int(size)
            scales[axis] = float(int(size)) / float(before)
        return scales, sizes
    slot = 1 if len(node.inputs) == 2 else 2
    given = net.required(node, slot, "its scales").reshape(-1)
    for axis, scale in zip(axes, given, strict=True):
        scales[axis] = float(scale)
        before = sizes[axis]
        sizes[axis] = None if before is None else int(np.floor(before * float(scale)))
    return scales, sizes


def _nearest(
    net: Net, node: NodeView, scales: Sequence[float], sizes: Sequence[int | None]
) -> None:
    """Copies of whole pixels as MIL's ``upsample_nearest_neighbor``; else places that are
    gathered."""
    x, output = net.var(node.inputs[0]), node.outputs[0]
    before = net.shape(node.inputs[0])[2:]
    factors = [round(s) for s in scales]
    whole = all(
        f >= 1
        and f == s
        and np.array_equal(_places(node, n or 8, f, s), np.arange((n or 8) * f) // f)
        for f, s, n in zip(
            factors, scales, [b if is_size(b) else None for b in before], strict=True
        )
    )
    if whole:
        net.put(
            output,
            "upsample_nearest_neighbor",
            x=x,
            scale_factor_height=factors[0],
            scale_factor_width=factors[1],
        )
        return
    if None in sizes:
        raise refusal(node, "a free height or width, and a factor that copies no whole pixels")
    for axis, (size, scale) in enumerate(zip(sizes, scales, strict=True)):
        places = _places(node, int(before[axis]), scale, scale, size)
        x = net.step(output, "gather", x=x, indices=places, axis=axis + 2, validate_indices=False)
    net.put(output, "identity", x=x)


def _places(
    node: NodeView, before: int, factor: float, scale: float, after: int | None = None
) -> Array:
    """The place that each output along one axis copies: ONNX's coordinate and nearest modes."""
    given = node.attributes
    count = int(before * factor) if after is None else after
    i = np.arange(count, dtype=np.float64)
    mode = str(given.get("coordinate_transformation_mode", "half_pixel"))
    if mode == "asymmetric":
        at = i / scale
    elif mode == "align_corners":
        at = i * (before - 1) / max(count - 1, 1)
    elif mode in {"half_pixel", "pytorch_half_pixel"}:
        at = (i + 0.5) / scale - 0.5
        at = np.zeros(1) if mode == "pytorch_half_pixel" and count == 1 else at
    else:
        raise refusal(node, f"coordinates {mode!r}")
    rounding = str(given.get("nearest_mode", "round_prefer_floor"))
    places = ROUNDING[rounding](at)
    return np.clip(places, 0, before - 1).astype(np.int32)


ROUNDING: Mapping[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
"""ONNX's nearest modes."""


def _linear(net: Net, node: NodeView, scales: Sequence[float], sizes: Sequence[int | None]) -> None:
    x, output = net.var(node.inputs[0]), node.outputs[0]
    given = str(node.attributes.get("coordinate_transformation_mode", "half_pixel"))
    before = net.shape(node.inputs[0])[2:]
    if None in sizes:
        if given not in HALF_PIXEL:
            raise refusal(node, f"a free height or width, and coordinates {given!r}")
        net.put(
            output,
            "upsample_bilinear",
            x=x,
            scale_factor_height=np.float32(scales[0]),
            scale_factor_width=np.float32(scales[1]),
            align_corners=False,
            half_pixel_centers=True,
        )
        return
    exact = all(
        float(size or 0) == float(b) * s for size, b, s in zip(sizes, before, scales, strict=True)
    ) or bool(node.input(3))
    if given not in SAMPLING or (not exact and given != "align_corners"):
        raise refusal(node, f"coordinates {given!r}, and a size that the factor does not give")
    net.put(
        output,
        "resize_bilinear",
        x=x,
        target_size_height=sizes[0],
        target_size_width=sizes[1],
        sampling_mode=SAMPLING[given],
    )


def grid_sample(net: Net, node: NodeView) -> None:
    """GridSample of an image: MIL's ``resample`` has the same coordinates, x before y, -1 to 1."""
    given = node.attributes
    mode = str(given.get("mode", "bilinear"))
    outside = str(given.get("padding_mode", "zeros"))
    shape = net.shape(node.inputs[0])
    if mode not in GRID_MODES or outside not in OUTSIDE or len(shape) != 4:
        raise refusal(node, f"mode {mode!r} with {outside!r} outside, of {len(shape)} axes")
    net.put(
        node.outputs[0],
        "resample",
        x=net.var(node.inputs[0]),
        coordinates=net.var(node.inputs[1]),
        sampling_mode=GRID_MODES[mode],
        padding_mode=OUTSIDE[outside],
        padding_value=np.float32(0),
        coordinates_mode="normalized_minus_one_to_one",
        align_corners=bool(given.get("align_corners", 0)),
    )


GRID_MODES = {"bilinear": "bilinear", "linear": "bilinear", "nearest": "nearest"}
OUTSIDE = {"zeros": "constant", "border": "border"}
"""ONNX's ways to go on outside the image -> MIL's; which of two reflections MIL means by each word
depends on the corners."""

HALF_PIXEL = frozenset({"half_pixel", "pytorch_half_pixel"})
MODES = {"nearest": _nearest, "linear": _linear, "cubic": cubic}
"""ONNX's modes that programs have."""
