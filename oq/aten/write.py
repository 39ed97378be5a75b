"""Both formats: the module is made, written, loaded again and held to onnxruntime."""

import json
from collections import Counter as Counts
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

import oq
from oq.aten.kind import Kind, Loaded, quiet
from oq.aten.module import AtenModule, aten_module, identifiers
from oq.aten.prove import LITERAL, Arithmetic, same_constants, same_outputs, sqnr
from oq.aten.sizes import Axes, example, free_axes, takes, tensors
from oq.comparison.deviation import Sums
from oq.deployment.formats import Given, Made, Proof
from oq.errors import ModelError, one_line
from oq.model.graph import Graph
from oq.model.metadata import target_of
from oq.model.session import Session
from oq.numerics.values import FLOAT_DTYPES, TensorInfo
from oq.progress import Counter
from oq.wording import counted

BATCH = 2
"""Samples at a time where every code is kept."""

EXTRA = "oq.json"
"""The file inside the archive that says what a graph of torch does not: names, types, target."""

PLAIN = ("aten::", "prim::", "<built-in function")
"""What names of ops begin with: aten, and numbers and lists of numbers for sizes."""

UNFOLLOWED = (
    *(RuntimeError, TypeError, ValueError, AttributeError, AssertionError, NotImplementedError),
)
"""What torch raises where it cannot follow a graph."""


def write(given: Given, path: Path, kind: Kind) -> Made:
    """Write the file and prove it."""
    module = aten_module(Graph(given.model).view())
    axes = free_axes(module.program.inputs)
    try:
        on, free = _make(given, module, axes, kind, path)
    except UNFOLLOWED as error:
        raise ModelError(
            f"torch cannot follow the graph for --to {kind.name}: {one_line(error)[:300]}; where "
            "it leaves sizes free, --shape fixes them"
        ) from error
    loaded = kind.load(path)
    fixed = axes.without(free.groups)
    proofs = [
        *_arithmetic(given, module),
        same_constants(module, loaded.tensors),
        same_outputs(module, loaded, on, axes, fixed),
        _plain(loaded.ops),
    ]
    facts = {
        "free axes": ", ".join(axes.say(group[0]) for group in free.groups.values()) or "none",
        "constants": _constants(loaded.tensors),
        "whole run": _whole_run(given, module, loaded, on, free),
    }
    return Made(tuple(proofs), facts, tuple(_notes(module, fixed, on)), kind.next_step)


def _make(
    given: Given, module: AtenModule, axes: Axes, kind: Kind, path: Path
) -> tuple[list[Tensor], Axes]:
    """Write the file; what it was made on, and the axes that are free in it.  Where torch fixes
    one, it is made again with the sample's own size there, not with one that was made up to keep
    it free."""
    extra, free = {EXTRA: _extra(given, module)}, axes
    while True:
        on = example(given.samples, free)
        fixed = set(kind.write(module, on, free, extra, path))
        kept = free.without(n for n, group in free.groups.items() if not fixed.isdisjoint(group))
        if len(kept.groups) == len(free.groups):
            return on, free
        free = kept


def _extra(given: Given, module: AtenModule) -> str:
    """What the file says of itself."""

    def told(infos: Sequence[TensorInfo]) -> list[dict[str, Any]]:
        return [
            {"name": i.name, "dtype": i.dtype, "shape": None if i.shape is None else list(i.shape)}
            for i in infos
        ]

    program = module.program
    said = {
        "oq": oq.__version__,
        "target": target_of(given.model) or "",
        "inputs": told(program.inputs),
        "outputs": told(program.outputs),
    }
    return json.dumps(said, indent=1) + "\n"


def _arithmetic(given: Given, module: AtenModule) -> list[Proof]:
    """Code for code where all scales are powers of two, whose products and sums are exact; if not
    all are equal there, and elsewhere, quantizer by quantizer."""
    for exact in (True, False) if target_of(given.model) == EXACT else (False,):
        found = Arithmetic(module, given.model, exact)
        count = Counter("compare", given.samples.count, given.watch)
        for batch in given.samples.batches(BATCH):
            found.add(batch)
            count(count.done + batch.samples)
        if not exact or not found.off:
            break
    return found.proofs()


EXACT = "dpu"
"""The target whose scales are powers of two."""


def _plain(ops: Sequence[str]) -> Proof:
    strange = sorted({op for op in ops if not op.startswith(PLAIN)})
    kinds = len({op for op in ops if op.startswith("aten::")})
    figures = f"{strange[0]} is not" if strange else f"{counted(kinds, 'kind')}"
    return Proof("ops, all of aten", figures, not strange)


def _constants(held: Mapping[str, Tensor]) -> str:
    """Bytes by type, most first."""
    sizes: Counts[str] = Counts()
    for tensor in held.values():
        sizes[str(tensor.dtype).removeprefix("torch.")] += tensor.numel() * tensor.element_size()
    return ", ".join(f"{size:,} bytes of {name}" for name, size in sizes.most_common())


def _whole_run(
    given: Given, module: AtenModule, loaded: Loaded, on: Sequence[Tensor], free: Axes
) -> str:
    """How far the whole run is from onnxruntime's, of the samples that the file takes: codes that
    flip flip others behind them."""
    session, program = Session(given.model, LITERAL), module.program
    names = [o.name for o in program.outputs]
    sums, same, classes = {n: Sums() for n in names}, 0, 0
    for batch in given.samples.batches(BATCH if free.batch else 1):
        fed = tensors(batch.feeds, program.inputs)
        if not takes(on, fed, free):
            continue
        read = session.run(batch.feeds, names)
        with quiet():
            found = loaded.called(*fed)
        found = found if isinstance(found, tuple | list) else (found,)
        for out, exact, made in zip(program.outputs, read, found, strict=True):
            mine = made.numpy()
            sums[out.name].add(exact, mine)
            if out.dtype in FLOAT_DTYPES and exact.ndim == 2 and exact.shape[1] > 1:
                same += int((exact.argmax(1) == mine.argmax(1)).sum())
                classes += len(exact)
    worst = min(sums, key=lambda n: sums[n].result("").sqnr_db)
    said = f"{worst!r} {sqnr(sums[worst])}"
    top = f", same top-1 in {same} of {counted(classes, 'sample')}" if classes else ""
    return f"{said}{top}, beside onnxruntime"


def _notes(module: AtenModule, fixed: Axes, on: Sequence[Tensor]) -> Iterator[str]:
    for at, axis in (place for group in fixed.groups.values() for place in group):
        yield (
            f"torch had to fix {fixed.say((at, axis))}, which the model leaves free: the file "
            f"takes size {on[at].shape[axis]}, that of the first sample; --shape chooses another"
        )
    names = [i.name for i in module.program.inputs]
    for name, said in zip(names, identifiers(names, set()), strict=True):
        if name != said:
            yield f"input {name!r} is called {said!r} in the file"
