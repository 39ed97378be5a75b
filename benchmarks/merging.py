"""What statistics cost on their way: bytes per tensor, and a tree that joins a thousand shards.

    python -m benchmarks.merging

Statistics are made up: values of a thousand tensors of several kinds (behind a Relu, on both sides
of zero, with a long tail), a thousand shards of a thousand samples each, in batches of 16.  A node
of the tree joins four parts, as :mod:`oq.distributed` has it; of each level one node is run, and
its time counts for all of them.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from oq.calibration.packing import from_bytes, join_bytes, to_bytes
from oq.numerics.statistics import Accumulator, Need, Statistics
from oq.numerics.values import Array

TENSORS, SHARDS, SAMPLES, BATCH, JOINED = 1000, 1000, 1000, 16, 4
VALUES = 4096
"""Values of a tensor per batch."""

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
    """The statistics of a shard, its samples counted from 0."""
    random = np.random.default_rng(number)
    values: Array = random.normal(size=(tensors % 97 + 64, VALUES)).astype(np.float32)
    found = {}
    for i in range(tensors):
        one = Accumulator(needs)
        shape, scale = KINDS[i % len(KINDS)], np.float32(1 + i % 13)
        for at in range(0, SAMPLES, BATCH):
            batch = values[(i + at // BATCH) % len(values)]
            one.add(shape(batch * scale).astype(np.float32), at)
        found[f"/layer{i}/output_0"] = one.statistics()
    return found


def moved(found: dict[str, Statistics], number: int) -> dict[str, Statistics]:
    """``found`` of samples that come ``number`` shards later."""
    made = {}
    for name, one in found.items():
        batches = one.batches
        if batches is not None:
            batches = batches.copy()
            batches[:, 0] += number * SAMPLES
        made[name] = Statistics(
            one.count, one.nonfinite, one.lo, one.hi, one.masked, one.histogram, batches
        )
    return made


def measure(name: str) -> None:
    """A line per level of the tree: one of its nodes is run, on parts that all differ in their
    samples."""
    needs = NEEDS[name]
    with tempfile.TemporaryDirectory(prefix="oq-") as folder:
        files = [Path(folder) / f"{i}" for i in range(JOINED)]
        for i, file in enumerate(files):
            file.write_bytes(to_bytes(moved(shard(i, needs), i)))
        tell(name, "shard", SHARDS, files[0], 0.0, 0.0)
        many, span, total = SHARDS, 1, 0.0
        while many > 1:
            many, span = -(-many // JOINED), span * JOINED
            node = Path(folder) / f"join of {min(span, SHARDS)}"
            seconds, peak = join_apart(files, node)
            total += seconds * many
            tell(name, node.name, many, node, seconds, peak)
            for i, file in enumerate(files if many > 1 else ()):
                file.write_bytes(later(node.read_bytes(), i * span, needs))
    print(f"{name}: all joins take {total:,.0f} s of one core")


def join_apart(files: Sequence[Path], node: Path) -> tuple[float, float]:
    """(seconds, peak in MB) of a process that joins ``files`` to ``node``."""
    words = [sys.executable, "-m", "benchmarks.merging", "join", *map(str, files), str(node)]
    seconds, peak = subprocess.run(words, check=True, capture_output=True).stdout.split()
    return float(seconds), float(peak)


def join(*words: str) -> None:
    """The last of ``words`` made of the other files."""
    parts = [Path(w).read_bytes() for w in words[:-1]]
    begun = time.perf_counter()
    joined = join_bytes(parts)
    seconds = time.perf_counter() - begun
    Path(words[-1]).write_bytes(joined)
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def later(packed: bytes, shards: int, needs: frozenset[Need]) -> bytes:
    """``packed`` of samples that come ``shards`` later."""
    if Need.BATCHES not in needs or not shards:
        return packed
    return to_bytes(moved(from_bytes(packed), shards))


def tell(name: str, what: str, many: int, file: Path, seconds: float, peak: float) -> None:
    """One line."""
    print(
        f"{name:<10} {what:<14} x {many:>4}  {file.stat().st_size / TENSORS:>9,.0f} B/tensor "
        f"{seconds:>7.2f} s  peak {peak:>6,.0f} MB",
        flush=True,
    )


def main() -> None:
    """A process for each kind."""
    if len(sys.argv) > 2:
        join(*sys.argv[2:])
    elif len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        for name in NEEDS:
            subprocess.run([sys.executable, "-m", "benchmarks.merging", name], check=True)


if __name__ == "__main__":
    main()
