"""What statistics cost on their way: bytes per tensor, and a tree that joins a thousand shards.

    python -m benchmarks.merging

Statistics are made up: values of a thousand tensors of several kinds (behind a Relu, on both sides
of zero, with a long tail), a thousand shards of a thousand samples each, in batches of 16.  Every
shard is one of a few that differ, since making them is not what is measured.  A node of the tree
joins four parts, as :mod:`oq.distributed` has it.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import reduce

import numpy as np

from oq.calibration.packing import from_bytes, to_bytes
from oq.calibration.parts import Part, join_parts
from oq.numerics.statistics import Accumulator, Need, Statistics
from oq.numerics.values import Array

TENSORS, SHARDS, SAMPLES, BATCH, JOINED = 1000, 1000, 1000, 16, 4
VALUES = 4096
"""Values of a tensor per batch."""

DIFFERENT = 4
"""Shards that are made; the others are these with other samples."""

KINDS: tuple[Callable[[Array], Array], ...] = (
    lambda x: np.maximum(x, 0),
    lambda x: x,
    lambda x: x**3,
    lambda x: 1 / (1 + np.exp(-x)),
)

NEEDS: dict[str, frozenset[Need]] = {
    "extremes": frozenset(),
    "histogram": frozenset({Need.HISTOGRAM}),
    "all": frozenset({Need.HISTOGRAM, Need.BATCHES}),
}
"""What minmax and max read; what percentile, entropy, mse and auto read; ``oq calibrate``."""


def shard(number: int, needs: frozenset[Need], tensors: int = TENSORS) -> dict[str, Statistics]:
    """The statistics of shard ``number``."""
    random = np.random.default_rng(number % DIFFERENT)
    values: Array = random.normal(size=(tensors % 97 + 64, VALUES)).astype(np.float32)
    found = {}
    for i in range(tensors):
        one = Accumulator(needs)
        shape, scale = KINDS[i % len(KINDS)], np.float32(1 + i % 13)
        for at in range(0, SAMPLES, BATCH):
            batch = values[(i + at // BATCH) % len(values)]
            one.add(shape(batch * scale).astype(np.float32), number * SAMPLES + at)
        found[f"/layer{i}/output_0"] = one.statistics()
    return found


def moved(found: dict[str, Statistics], number: int) -> dict[str, Statistics]:
    """``found`` of the samples of shard ``number``."""
    made = {}
    for name, one in found.items():
        batches = one.batches
        if batches is not None:
            batches = batches.copy()
            batches[:, 0] += number * SAMPLES - batches[0, 0]
        made[name] = Statistics(
            one.count, one.nonfinite, one.lo, one.hi, one.masked, one.histogram, batches
        )
    return made


def parts(needs: frozenset[Need]) -> Iterator[Part]:
    """All shards, packed, one after the other."""
    made = [shard(i, needs) for i in range(DIFFERENT)]
    for number in range(SHARDS):
        found = moved(made[number % DIFFERENT], number)
        yield Part(SAMPLES, to_bytes(found), None, 1)


def measure(name: str) -> None:
    """One row: bytes of a shard and of the whole per tensor; seconds and memory of a node."""
    needs = NEEDS[name]
    one = shard(0, needs)
    begun = time.perf_counter()
    packed = to_bytes(one)
    packing = time.perf_counter() - begun
    assert from_bytes(packed) == one
    levels: list[list[Part]] = [[]]
    joins: list[tuple[float, int]] = []
    del one

    def add(part: Part, level: int) -> None:
        while len(levels) <= level:
            levels.append([])
        levels[level].append(part)
        if len(levels[level]) == JOINED:
            four, levels[level] = levels[level], []
            add(join(four, level), level + 1)

    def join(several: list[Part], level: int) -> Part:
        begun = time.perf_counter()
        made = reduce(join_parts, several)
        joins.append((time.perf_counter() - begun, level))
        return made

    for part in parts(needs):
        add(part, 0)
    left = [part for level in levels for part in level]
    whole = join(left, len(levels)) if len(left) > 1 else left[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    low = [s for s, level in joins if level == 0]
    print(
        f"{name:<10} shard {len(packed) / TENSORS:7,.0f} B/tensor, whole "
        f"{len(whole.packed) / TENSORS:7,.0f}; packed in {packing:.2f} s; a node joins four in "
        f"{np.median(low):.2f} s ({joins[-1][0]:.2f} s at the root), {len(joins)} nodes "
        f"{sum(s for s, _ in joins):.0f} s; peak {peak / 1024:,.0f} MB"
    )


def main() -> None:
    """A process for each row, for its peak."""
    if len(sys.argv) > 1:
        measure(sys.argv[1])
        return
    for name in NEEDS:
        subprocess.run([sys.executable, "-m", "benchmarks.merging", name], check=True)


if __name__ == "__main__":
    main()
