"""NonMaxSuppression: the boxes that no better one covers."""

from typing import Any

import numpy as np

from oq.deployment.coreml.net import Net, is_size, refusal
from oq.model.view import NodeView


def suppress(net: Net, node: NodeView) -> None:
    """NonMaxSuppression, by MIL's operator with a row for each pair of sample and class.

    MIL's gives as many places as it is asked for, -1 behind the last box that is kept (source:
    coremltools 9.0, ``frontend/torch/ops.py``, ``torchvision_nms``).  What is kept and scores above
    the threshold is listed; boxes below it have suppressed none above.
    """
    boxes, scores = net.shape(node.inputs[0]), net.shape(node.inputs[1])
    if not all(map(is_size, (*boxes, *scores))):
        raise refusal(node, "its boxes or scores have a free axis")
    samples, classes, count = scores
    most = _number(net, node, 2, 0.0)
    if most < 1:
        raise refusal(node, "it names no largest number of boxes, so that it gives none")
    output, rows = node.outputs[0], samples * classes
    centred = _centred(net, node)
    if classes > 1:
        spread = net.step(output, "expand_dims", x=centred, axes=[1])
        spread = net.step(output, "tile", x=spread, reps=[1, classes, 1, 1])
        centred = net.step(output, "reshape", x=spread, shape=[rows, 4, count])
    _, found, places = net.mb.non_maximum_suppression(
        boxes=centred,
        scores=net.step(output, "reshape", x=net.var(node.inputs[1]), shape=[rows, 1, count]),
        iou_threshold=np.float32(_number(net, node, 3, 0.0)),
        max_boxes=min(int(most), count),
        name=net.name(f"{output}_nms"),
    )
    kept = net.step(output, "greater", x=places, y=np.int32(-1))
    if node.input(4):
        found = net.step(output, "squeeze", x=found, axes=[1])
        least = np.float32(_number(net, node, 4, 0.0))
        high = net.step(output, "greater", x=found, y=least)
        kept = net.step(output, "logical_and", x=kept, y=high)
    _listed(net, output, places, kept, classes)


def _number(net: Net, node: NodeView, slot: int, default: float) -> float:
    """The constant at input ``slot``, or the default of an input that is not given."""
    if not node.input(slot):
        return default
    return float(net.required(node, slot, "its limits").reshape(-1)[0])


def _centred(net: Net, node: NodeView) -> Any:
    """The boxes as (sample, (x, y, width, height), box), x and y of their centres."""
    output, x = node.outputs[0], net.var(node.inputs[0])
    if not int(node.attributes.get("center_point_box", 0)):
        top, left, bottom, right = net.mb.split(
            x=x, num_splits=4, axis=-1, name=net.name(f"{output}_split")
        )
        parts = []
        for first, last in ((left, right), (top, bottom)):
            size = net.step(output, "abs", x=net.step(output, "sub", x=last, y=first))
            total = net.step(output, "add", x=first, y=last)
            parts.append((net.step(output, "mul", x=total, y=np.float32(0.5)), size))
        (across, width), (down, height) = parts
        x = net.step(output, "concat", values=[across, down, width, height], axis=-1)
    return net.step(output, "transpose", x=x, perm=[0, 2, 1])


def _listed(net: Net, output: str, places: Any, kept: Any, classes: int) -> None:
    """(sample, class, box) of all ``places`` that are ``kept``, in ONNX's order."""
    where = net.step(output, "non_zero", x=kept)
    box = net.step(output, "gather_nd", x=places, indices=where, batch_dims=0,
                   validate_indices=False)  # fmt: skip
    row = net.step(output, "slice_by_index", x=where, begin=[0, 0], end=[0, 1],
                   end_mask=[True, False])  # fmt: skip
    sample = net.step(output, "floor_div", x=row, y=np.int32(classes))
    kind = net.step(output, "mod", x=row, y=np.int32(classes))
    box = net.step(output, "expand_dims", x=box, axes=[1])
    net.put(output, "concat", values=[sample, kind, box], axis=1)
