"""Embedding tables: float rows that a Gather picks, stored as integers.

A table (rows, columns) gets a scale and a zero point per column, since columns differ more than
rows do (word embeddings of MiniLM: 39.7 dB, against 30.0 with one scale).  The Gather moves the
codes, and what it has picked is dequantized: ``Gather(table)[..., c] = (code[..., c] - zero[c]) *
scale[c]``.  These predicates say which Gathers read a table, and which tables lose too much.
"""

import numpy as np

from oq.model.operands import weight_input
from oq.model.view import GraphView
from oq.numerics.grid import fake_quantize, fit
from oq.numerics.values import UINT8
from oq.numerics.weights import weight_range
from oq.planning.target import Match

SMALLEST = 2**16
"""Values below which a table is not worth a node: 192 kB less."""

LEAST_DB, WORST = 20.0, 0.01
"""At most this share of the rows may keep less than so many decibels."""

SEEN = 4096
"""Rows that are looked at, evenly spaced."""


def picks_no_rows(view: GraphView, match: Match) -> str | None:
    """A table is a float32 matrix of which a Gather picks rows."""
    gather = match.anchor
    table = gather.inputs[0]
    if not view.is_constant(table):
        return f"{table!r} is not a constant table"
    info = view.tensors[table]
    sizes = [s for s in info.shape or () if isinstance(s, int)]
    if info.dtype != "float32" or len(sizes) != 2 or gather.attributes.get("axis", 0) != 0:
        return f"{table!r} is not a table of float32 rows"
    if sizes[0] * sizes[1] < SMALLEST:
        return f"its {sizes[0]}x{sizes[1]} table is small"
    return None


def table_is_read_in_float(view: GraphView, match: Match) -> str | None:
    """The float table leaves the file only if all its readers are Gathers, or layers whose weight
    it is."""
    gather = match.anchor
    table = gather.inputs[0]
    readers = view.consumers(table)
    others = [n for n in readers if n.op != gather.op and weight_input(n) != table]
    if table in view.outputs:
        return f"its table {table!r} is a graph output"
    if others:
        return f"{others[0].name!r} reads its table {table!r} in float"
    return None


def rows_lose_too_much(view: GraphView, match: Match) -> str | None:
    """A few rows of large values may leave no steps for the others."""
    table = view.constants[match.anchor.inputs[0]]
    if not np.isfinite(table).all():
        return None  # told by another predicate
    grid = fit(weight_range(table, UINT8, 1), UINT8, 1)
    rows = table[:: max(1, len(table) // SEEN)]
    signal = (rows.astype(np.float64) ** 2).sum(axis=1)
    noise = ((rows.astype(np.float64) - fake_quantize(rows, grid)) ** 2).sum(axis=1)
    share = float((signal < noise * 10 ** (LEAST_DB / 10)).mean())
    if share <= WORST:
        return None
    return f"{100 * share:.0f} % of the rows of its table would keep less than {LEAST_DB:g} dB"
