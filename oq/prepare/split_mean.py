"""``GlobalAveragePool(x)`` over more than 512 values -> ``GlobalAveragePool(AveragePool(x))``.

A mean of means over windows of equal size that tile the image equals the mean.  AMD's DPU averages
at most 512 values in one pass (Quark splits at the same number).  The first window is the smallest
square one that leaves 512 values or fewer, since the rounding after it is averaged out by the
second pool.
"""

from oq.model.graph import Graph
from oq.model.view import GraphView, NodeView
from oq.prepare.outcome import Outcome

LARGEST = 512
"""Maximum number of values in a window."""


def split_mean(graph: Graph) -> Outcome:
    """Insert an AveragePool before every GlobalAveragePool over more than 512 values."""
    view = graph.view()
    changed, refusals = 0, []
    for pool in view.nodes:
        sides = _sides(view, pool)
        if sides is None or sides[0] * sides[1] <= LARGEST:
            continue
        window = first_window(*sides)
        if window is None:
            size = f"{sides[0]} x {sides[1]}"
            refusals.append(f"{pool.op} {pool.name!r} is kept: no square window tiles {size}")
            continue
        side = [window, window]
        means = graph.add_node(
            "AveragePool",
            (pool.inputs[0],),
            f"{pool.outputs[0]}_means",
            name=f"{pool.name}_AveragePool",
            attributes={"kernel_shape": side, "strides": side},
            dtype="float32",
            before=pool.name,
        )
        graph.set_input(pool.name, 0, means)
        changed += 1
    return Outcome(changed, tuple(refusals))


def first_window(height: int, width: int) -> int | None:
    """The side of the smallest square window that tiles the image into at most 512 windows, with at
    most 512 values each; None if there is none.

    >>> first_window(32, 32), first_window(48, 96), first_window(23, 23)
    (2, 3, None)
    """
    sides = range(2, min(height, width) + 1)
    tiles = (s for s in sides if height % s == 0 == width % s)
    return next((s for s in tiles if s * s <= LARGEST >= (height // s) * (width // s)), None)


def _sides(view: GraphView, pool: NodeView) -> tuple[int, int] | None:
    """Height and width of what a GlobalAveragePool reads; None for other nodes or when unknown."""
    info = view.tensors.get(pool.inputs[0]) if pool.op == "GlobalAveragePool" else None
    shape = () if info is None or info.dtype != "float32" else info.shape or ()
    if len(shape) != 4 or not isinstance(shape[2], int) or not isinstance(shape[3], int):
        return None
    return shape[2], shape[3]
