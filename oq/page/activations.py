"""Statistics -> the charts of an activation: its histogram, and the range of every calibrator."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from oq.calibration.reader_weights import error_gains
from oq.model.view import GraphView
from oq.numerics.calibrator import Calibrator, ErrorGains, Methods
from oq.numerics.grid import Grid, fit
from oq.numerics.histogram import Histogram, merge_small_buckets, quantization_error, to_histogram
from oq.numerics.statistics import Statistics
from oq.numerics.values import Array, Range
from oq.page.content import Activation, Choice
from oq.page.places import Place
from oq.planning import registry
from oq.planning.spec import Own, Site

BINS = 108
"""Bars of a histogram: two units of a chart's width each."""

FINEST = 2.0**-12
"""Fraction of the range below which histogram buckets are merged to compute errors: 1/16 of an
8-bit step."""

UNSEEN = frozenset({"fixed"})
"""Calibrators that do not depend on data."""


def calibrators(methods: Methods | None, default: str) -> dict[str, Calibrator]:
    """Every calibrator by name: those of the run with their settings, the others with defaults."""
    used = {} if methods is None else {**methods.named, default: methods.default}
    names = [n for n in registry.names("calibrators") if n not in UNSEEN or n in used]
    return {n: used[n] if n in used else registry.calibrator(n) for n in names}


def activations(
    places: Iterable[Place],
    statistics: Mapping[str, Statistics],
    view: GraphView,
    methods: Mapping[str, Calibrator],
) -> Iterator[Activation]:
    """The measured tensors of ``places`` that have a histogram, each once; ``view`` is the float
    model, whose layers weight the errors (calibrator ``auto``)."""
    done: set[str] = set()
    for place in places:
        seen = statistics.get(place.source)
        usable = seen is not None and seen.histogram is not None and place.grid.scale.ndim == 0
        if seen is None or not usable or place.role != "activation" or place.tensor in done:
            continue
        done.add(place.tensor)
        producer = view.producer(place.source)
        site = Site(place.source, Own(place.grid.qtype), "activation", "", ())
        readers = error_gains(view, site)
        node = "" if producer is None else producer.name
        yield _activation(place, seen, node, methods, readers)


def _activation(
    place: Place,
    seen: Statistics,
    node: str,
    methods: Mapping[str, Calibrator],
    readers: ErrorGains,
) -> Activation:
    grid = place.grid
    start, end = min(seen.lo, 0.0), max(seen.hi, 0.0)
    end = end if end > start else start + 1.0
    values = to_histogram(seen)
    return Activation(
        tensor=place.tensor,
        node=node,
        dtype=str(grid.qtype),
        scale=_short(float(grid.scale)),
        zero_point=int(grid.zero_point),
        grid_lo=_short(float(grid.lowest)),
        grid_hi=_short(float(grid.highest)),
        calibrator=place.calibrator,
        count=seen.count,
        lo=_short(seen.lo),
        hi=_short(seen.hi),
        start=_short(start),
        end=_short(end),
        bins=tuple(round(float(c), 1) for c in binned(values, np.linspace(start, end, BINS + 1))),
        choices=tuple(_choices(values, seen, grid, methods, readers)),
    )


def binned(values: Histogram, edges: Array) -> Array:
    """Counts (bin,) between ``edges``; a bucket that straddles one is split by length."""
    wide = values.high > values.low
    inner = np.clip(np.searchsorted(edges, values.low[~wide], side="right") - 1, 0, len(edges) - 2)
    found = np.bincount(inner, values.counts[~wide], minlength=len(edges) - 1)
    if wide.any():
        ends = np.stack([values.low[wide], values.high[wide]], axis=1).reshape(-1)
        below = np.concatenate([[0.0], np.cumsum(values.counts[wide])])
        found = found + np.diff(np.interp(edges, ends, np.repeat(below, 2)[1:-1]))
    return np.asarray(found)


def _choices(
    values: Histogram,
    seen: Statistics,
    grid: Grid,
    methods: Mapping[str, Calibrator],
    readers: ErrorGains,
) -> Iterator[Choice]:
    reach = max(-seen.lo, seen.hi, 0.0)
    total = float(values.counts.sum())
    few = merge_small_buckets(values, reach * FINEST) if total and reach else values
    square = (few.low**2 + few.low * few.high + few.high**2) / 3
    power = float(few.counts @ square) / total if total else 0.0
    for name, method in methods.items():
        chosen = method.range(seen, grid.qtype, readers)
        error = None
        if grid.qtype.uniform and total:
            noise = quantization_error(few, fit(chosen, grid.qtype)).square
            error = _short(10 * float(np.log10(power / noise))) if noise > 0 < power else None
        yield Choice(
            name,
            _short(float(chosen.lo)),
            _short(float(chosen.hi)),
            _short(_clipped(values, chosen)),
            error,
        )


def _clipped(values: Histogram, kept: Range) -> float:
    """Percent of ``values`` outside ``kept``."""
    total = float(values.counts.sum())
    if not total:
        return 0.0
    lo, hi = float(kept.lo), float(kept.hi)
    edges = np.array([min(float(values.low[0]), lo), lo, hi, max(float(values.high[-1]), hi)])
    below, _, above = _between(values, edges)
    return max(0.0, 100 * (below + above) / total)


def _between(values: Histogram, edges: Array) -> Sequence[float]:
    """Counts below, inside (inclusive) and above the two middle ``edges``."""
    width = values.high - values.low
    safe = np.where(width > 0, width, 1.0)
    below = np.where(
        width > 0, np.clip((edges[1] - values.low) / safe, 0, 1), values.low < edges[1]
    )
    above = np.where(
        width > 0, np.clip((values.high - edges[2]) / safe, 0, 1), values.low > edges[2]
    )
    outside = float(values.counts @ below), float(values.counts @ above)
    return outside[0], float(values.counts.sum()) - sum(outside), outside[1]


def _short(value: float) -> float:
    """Six significant digits, enough for a chart."""
    return float(f"{value:.6g}")
