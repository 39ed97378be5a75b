"""How many samples run at a time: what a stage wants, within a limit of memory.

What counts are the bytes of a model's tensors at the samples' real shapes
(:mod:`oq.model.footprint`), also where the model leaves height and width free.  The choice depends
on the model, the samples and the limit alone, not on the machine.
"""

from dataclasses import dataclass

from oq.model.footprint import MAX_MEMORY, Footprint
from oq.numerics.values import Batch

CACHE_BYTES = 12 * 10**6
"""Tensors of a batch; measured best for the statistics of all activations: with less, calls
dominate, with more, they no longer fit in the processor's cache."""

BATCHES_FROM, BATCHES_TO = 2, 16

LARGE = 64 * 10**6
"""Bytes of one sample beyond which it runs alone: two at a time gain nothing."""

ALONE = 4 * 10**6
"""That limit where batches are no part of the statistics: the tensors of one sample are folded
while they are still in the cache, and the next sample gets their memory."""

SESSIONS = 4
"""The memory of how many sessions a comparison of two models holds at its peak: both in both
readings, or two whose latency is measured, which reserve theirs twice."""

DECIDES = (
    "an If or Loop of the model looks at values, so samples run one at a time, whatever the batch "
    "size: one sample of a batch would decide for all"
)

SINGLE = "the model takes one sample at a time only, so they run that way, whatever the batch size"


@dataclass(slots=True)
class Sizing:
    """The size of batches of a model whose tensors take ``footprint``, within ``limit`` bytes.

    ``wanted``: samples at a time, None for what fits the processor's cache.  ``kept``: the tensors
    that stay until the model has run; None: each goes after its last reader.  ``models`` are loaded
    at a time, each of which keeps the memory it has had.  ``shares``: batches that run side by
    side, each of which gets its part of the limit.  ``least`` is the smallest size that the limit
    has led to so far, ``passes`` the passes over the data.  A sample of more than ``alone`` bytes
    gets no second one beside it, nor does any of a model that decides by values what it computes or
    takes one sample at a time.
    """

    footprint: Footprint
    limit: int = MAX_MEMORY * 10**6
    wanted: int | None = None
    kept: frozenset[str] | None = None
    models: int = 1
    shares: int = 1
    passes: int = 1
    least: int | None = None
    alone: int = LARGE

    def __call__(self, batch: Batch) -> int:
        """How many samples like those of ``batch`` run at a time, 1 or more."""
        if self.footprint.decides or self.footprint.takes_one(batch):
            return 1
        found = self.footprint.of(batch)
        samples = max(batch.samples, 1)
        wish = self.wanted or _fitting(self._kept(found) // samples, self.alone)
        size = wish
        while size > 1 and self.shares * size * self.cost(batch) > self.limit * samples:
            size //= 2
        if size < wish:
            self.least = size if self.least is None else min(size, self.least)
        return size

    def cost(self, batch: Batch) -> int:
        """Bytes while ``batch`` runs: what lives at a time, or what is kept and what one node reads
        and writes."""
        found = self.footprint.of(batch)
        if self.kept is None:
            return self.models * self.footprint.live(batch)
        return self._kept(found) + 2 * max(found.values(), default=0)

    def beside(self, batch: Batch, most: int) -> int:
        """How many batches like ``batch`` run side by side: 1 to ``most``."""
        return max(1, min(most, self.limit // max(self.cost(batch), 1)))

    def _kept(self, found: dict[str, int]) -> int:
        return sum(n for t, n in found.items() if self.kept is None or t in self.kept)


def _fitting(sample: int, alone: int) -> int:
    """A power of two, since kernels are faster on those."""
    if sample > alone:
        return 1
    least = BATCHES_FROM
    fitting = min(max(CACHE_BYTES // max(sample, 1), least), BATCHES_TO)
    return 1 << (fitting.bit_length() - 1)


def sizing_notes(calibration: Sizing, verification: Sizing) -> tuple[str, ...]:
    """What the limit and the model have led to in a run; nothing where they have not mattered."""
    said = []
    if calibration.passes > 1:
        said.append(f"calibrated in {calibration.passes} passes over the data")
    for what, sizing in (("calibrated", calibration), ("verified", verification)):
        if sizing.least is not None:
            said.append(f"{what} in batches of {sizing.least}")
    limit = f"tensors take {calibration.limit / 1e6:g} MB at most (--max-memory)"
    limited = (f"{', '.join(said)}: {limit}",) if said else ()
    footprint = calibration.footprint
    alone = (DECIDES,) if footprint.decides else (SINGLE,) if footprint.single else ()
    return (*limited, *alone)
