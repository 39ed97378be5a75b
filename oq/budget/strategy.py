"""Chooses which layers to keep in float next, from their ranking and the trials so far.

Pure: a generator that is sent the trial of each set it yields.  Layers are sorted in two orders, by
the error each causes alone, and by that error per multiply-accumulate (MAC) that float would cost.
Of each order, prefixes of 1, 2, 4, ... layers are tried until one meets the budget, then the
shortest that does is found by bisection.  Accuracy is not monotone in the length of the prefix, so
the result is good but not necessarily the best.  Starting from the cheapest set found, layers are
then returned to int8 one at a time, those with most MACs first.  A set with all layers that have
MACs is never tried: that is the float model.
"""

import math
from collections import deque
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from oq.budget.trial import Trial

RETRIED_LAYERS = 16
"""Maximum number of layers that are returned to int8 at the end; each takes a complete
evaluation."""

Keep = frozenset[str]
"""Names of the layers to keep in float."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A layer: the output ``error`` when only it is quantized (noise over signal), and its MACs per
    sample."""

    node: str
    error: float
    macs: int


def propose(layers: Sequence[Ranked], max_drop: float) -> Generator[Keep, Trial, None]:
    """Sets to try, given that the drop of everything in int8 exceeds ``max_drop``."""
    best: tuple[Ranked, ...] = ()
    for order in orders(layers):
        top = _longest(order, sum(one.macs for one in best or layers))
        low, size = 0, 1
        while low < top:
            size = min(size, top)
            trial = yield _names(order[:size])
            if trial.meets(max_drop):
                best = tuple((yield from _bisect(order, low, size, max_drop)))
                break
            low, size = size, 2 * size
    for layer in sorted(best, key=lambda one: -one.macs)[:RETRIED_LAYERS]:
        rest = tuple(one for one in best if one is not layer)
        if rest and (yield _names(rest)).meets(max_drop):
            best = rest


def foresee(
    layers: Sequence[Ranked], max_drop: float, known: Mapping[Keep, Trial], count: int
) -> list[Keep]:
    """The next ``count`` sets, or fewer, that :func:`propose` may ask for and that are not
    ``known``, the next one first: it is asked again with every outcome of those before."""
    found: list[Keep] = []
    waiting: deque[tuple[bool, ...]] = deque([()])
    for _ in range(REPLAYS):
        if not waiting or len(found) >= count:
            break
        outcomes = waiting.popleft()
        wish = _wish(layers, max_drop, outcomes)
        if wish is None:
            continue
        if wish in known:
            waiting.append((*outcomes, known[wish].meets(max_drop)))
            continue
        if wish not in found:
            found.append(wish)
        waiting.extend([(*outcomes, False), (*outcomes, True)])
    return found


REPLAYS = 500
"""How often :func:`foresee` asks again."""


def _wish(layers: Sequence[Ranked], max_drop: float, outcomes: Sequence[bool]) -> Keep | None:
    """What is proposed after ``outcomes`` (met or not); None where that is the end."""
    proposals = propose(layers, max_drop)
    wish = next(proposals, None)
    for met in outcomes:
        try:
            wish = proposals.send(Trial((), max_drop if met else math.inf, 0.0))
        except StopIteration:
            return None
    return wish


def orders(layers: Sequence[Ranked]) -> tuple[tuple[Ranked, ...], ...]:
    """``layers`` by error, and by error per MAC; worst first, ties in the given order.

    A tenth of the mean is added to the MACs of each layer, since float also costs conversions.
    """
    fixed = sum(one.macs for one in layers) / max(len(layers), 1) / 10 + 1
    by_error = tuple(sorted(layers, key=lambda one: -one.error))
    per_mac = tuple(sorted(by_error, key=lambda one: -one.error / (fixed + one.macs)))
    return (by_error,) if per_mac == by_error else (by_error, per_mac)


def _bisect(
    order: Sequence[Ranked], low: int, high: int, max_drop: float
) -> Generator[Keep, Trial, Sequence[Ranked]]:
    """The shortest prefix found to meet the budget: ``high`` does, ``low`` does not."""
    while high - low > 1:
        middle = (low + high) // 2
        if (yield _names(order[:middle])).meets(max_drop):
            high = middle
        else:
            low = middle
    return order[:high]


def _longest(order: Sequence[Ranked], limit: int) -> int:
    """Layers in the longest prefix with fewer MACs than ``limit``."""
    totals = accumulate(one.macs for one in order)
    return sum(total < limit for total in totals)


def _names(layers: Collection[Ranked]) -> Keep:
    return frozenset(one.node for one in layers)
