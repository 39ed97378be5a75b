"""Weights -> the data of their charts: extremes per output channel, and the quantized range."""

from collections.abc import Iterable, Iterator

import numpy as np

from oq.model.ops import facts, weight_axis
from oq.model.view import GraphView
from oq.numerics.values import Array
from oq.numerics.weights import channel_range
from oq.page.content import Weight
from oq.page.places import Place


def weights(places: Iterable[Place], view: GraphView) -> Iterator[Weight]:
    """The weights of ``places``, each once; ``view`` gives the axis of their output channels."""
    done: set[str] = set()
    for place in places:
        if place.role != "weight" or place.values is None or place.tensor in done:
            continue
        done.add(place.tensor)
        values, grid = place.values, place.grid
        lowest, highest = grid.lowest, grid.highest
        if grid.block is not None:  # of all blocks of an output channel
            lowest, highest = lowest.min(axis=grid.axis), highest.max(axis=grid.axis)
        own = grid.axis if grid.block is None else None
        axis = own if own is not None else _channels(place, view)
        if axis is not None and not -values.ndim <= axis < values.ndim:
            axis = None
        reach = channel_range(values, axis)
        yield Weight(
            place.tensor,
            str(grid.qtype),
            _row(reach.lo),
            _row(reach.hi),
            _row(lowest),
            _row(highest),
        )


def _channels(place: Place, view: GraphView) -> int | None:
    """The output-channel axis of a weight with one grid for all, by the op that reads it."""
    rank = 0 if place.values is None else place.values.ndim
    names = {n.name: n for n in view.nodes}
    for reader in (names[c] for c in place.consumers if c in names):
        if rank > 1 and facts(reader.op) is not None:
            return weight_axis(reader.op, reader.attributes, rank)
    return None


def _row(values: Array) -> tuple[float, ...]:
    return tuple(float(f"{v:.6g}") for v in np.atleast_1d(values).astype(np.float64))
