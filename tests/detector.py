"""A detector as exporters write it: two scales, decoded boxes and, if asked for, their choice."""

import numpy as np
import onnx

from oq.numerics.values import Array
from tests.small import small

CLASSES, FINE, COARSE = 3, 8, 4
BOXES = FINE**2 + COARSE**2
SHAPE = (1, 3, 4 * FINE, 4 * FINE)


def detector(*, suppress: bool = False) -> onnx.ModelProto:
    """(image) -> (boxes [1, 80, (x, y, width, height)], scores [1, 3, 80]); with ``suppress`` the
    places of those that NonMaxSuppression leaves as well."""
    random = np.random.default_rng(0)
    constants: dict[str, Array] = {
        "two": np.array([1, 1, 2, 2], np.float32),
        "fine": np.array([1, 4 + CLASSES, FINE**2]),
        "coarse": np.array([1, 4 + CLASSES, COARSE**2]),
        "parts": np.array([2, 2, CLASSES]),
        "grid": np.concatenate([grid(FINE), grid(COARSE)], 2),
        "stride": np.concatenate([np.full(FINE**2, 4.0), np.full(COARSE**2, 8.0)]).astype("f4"),
        "half": np.array(0.5, np.float32),
        "most": np.array([10]),
        "overlap": np.array([0.4], np.float32),
        "least": np.array([0.3], np.float32),
    }
    body = ""
    for name, source, inside, outside, size, stride, acts in LAYERS:
        constants |= {
            f"w_{name}": weight(random, outside, inside, size),
            f"b_{name}": random.normal(0, 0.2, outside).astype(np.float32),
        }
        made = f"{name}_sum" if acts else name
        pad = size // 2
        body += f"""
        {made} = Conv <kernel_shape = [{size}, {size}], pads = [{pad}, {pad}, {pad}, {pad}],
            strides = [{stride}, {stride}]> ({source}, w_{name}, b_{name})"""
        body += f"\n{name} = Relu({made})" if acts else ""
        body += BEHIND.get(name, "")
    body += DECODED + (CHOSEN if suppress else "")
    chosen = ", int64[k,3] chosen" if suppress else ""
    axes = ",".join(map(str, SHAPE))
    return small(
        f"net (float[{axes}] image) => (float[1,{BOXES},4] boxes,"
        f" float[1,{CLASSES},{BOXES}] scores{chosen}) {{ {body} }}",
        constants,
    )


LAYERS = (
    ("stem", "image", 3, 8, 3, 2, True),
    ("c1", "stem", 8, 16, 3, 2, True),
    ("c2", "pooled", 16, 16, 3, 1, True),
    ("p1", "joined", 32, 16, 3, 1, True),
    ("head1", "p1", 16, 4 + CLASSES, 1, 1, False),
    ("head2", "c2", 16, 4 + CLASSES, 1, 1, False),
)
"""Name, what it reads, channels in and out, kernel, stride, whether a Relu follows."""

BEHIND = {
    "c1": "\npooled = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c1)",
    "c2": """
        up = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric",
            nearest_mode = "floor"> (c2, , two)
        joined = Concat <axis = 1> (c1, up)""",
}

DECODED = """
        flat1 = Reshape(head1, fine)
        flat2 = Reshape(head2, coarse)
        all = Concat <axis = 2> (flat1, flat2)
        xy, wh, logits = Split <axis = 1> (all, parts)
        scores = Sigmoid(logits)
        place = Sigmoid(xy)
        offset = Add(place, grid)
        centre = Mul(offset, stride)
        log_size = Mul(wh, half)
        size = Exp(log_size)
        wide = Mul(size, stride)
        box = Concat <axis = 1> (centre, wide)
        boxes = Transpose <perm = [0, 2, 1]> (box)"""

CHOSEN = """
        chosen = NonMaxSuppression <center_point_box = 1> (boxes, scores, most, overlap, least)"""


def grid(size: int) -> Array:
    """(1, (x, y), place): the corner of each place of a square map."""
    rows, columns = np.mgrid[:size, :size]
    return np.stack([columns, rows]).reshape(1, 2, -1).astype(np.float32)


def weight(random: np.random.Generator, outside: int, inside: int, size: int) -> Array:
    spread = (inside * size**2) ** -0.5
    return random.normal(0, spread, (outside, inside, size, size)).astype(np.float32)
