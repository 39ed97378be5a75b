"""What a file of torch is held to: the Q/DQ file in onnxruntime's literal mode.

Two comparisons make a chain.  The module that the file was made of is compared with onnxruntime
quantizer by quantizer, each fed with onnxruntime's codes, because float32 sums in another order
flip codes and depth multiplies them.  The file is compared with that module, bit for bit.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from oq.aten.edges import grids_of
from oq.aten.kind import Loaded, quiet
from oq.aten.module import AtenModule
from oq.aten.sizes import Axes, tensors, variants
from oq.comparison.deviation import Sums
from oq.deployment.formats import Proof
from oq.errors import ModelError
from oq.model.graph import Graph
from oq.model.session import Session, Settings, expose
from oq.numerics.values import FLOAT_DTYPES, Array, Batch
from oq.training.program import QUANTIZING
from oq.wording import counted, db

LITERAL = Settings(reading="literal")
SHARE = 1e-5
"""The share of codes that may be one step off where no sum lies half-way between the two
(docs/training.md)."""

FEW = 2
"""So many may be in any case."""

CLOSE: Mapping[str, float] = {"float16": 2e-2}
CLOSE_ELSE = 1e-4
"""The greatest difference of an output behind equal codes, as a share of its greatest value."""

LOOSE_DB = 20.0
"""Decibels that are needed where codes cannot be compared: float8 and 4-bit ones, which are no
arrays in onnxruntime, and weights in blocks, whose kernel rounds the data too."""

COMPARED = frozenset({"int8", "uint8", "int16", "uint16", "int32"})
PACKED = frozenset({"MatMulNBits"})
REPEATS = 3
"""Runs of a file on the same batch: TorchScript compiles what it has seen twice."""


class Arithmetic:
    """The module beside onnxruntime, batch by batch.  ``exact``: in whole runs, else with each
    quantizer fed with onnxruntime's codes."""

    def __init__(self, module: AtenModule, model: onnx.ModelProto, exact: bool) -> None:
        program = module.program
        quantizers = [s for s in program.steps if s.node.op in QUANTIZING]
        self.module, self.exact = module, exact
        self.names = [s.outputs[0] for s in quantizers if s.node.codes in COMPARED]
        ops = {s.node.op for s in program.steps}
        self.comparable = len(self.names) == len(quantizers) and PACKED.isdisjoint(ops)
        self.kinds = {o.name: o.dtype or "float32" for o in program.outputs}
        self.asked = list(dict.fromkeys((*self.names, *self.kinds)))
        self.session = Session(expose(model, self.asked), LITERAL)
        grids = {} if exact else grids_of(Graph(model).view())
        self.grids = {n: grids[n] for n in self.names if n in grids}
        self.codes, self.off, self.edge, self.steps = 0, 0, 0, 0.0
        self.worst: dict[str, float] = {}
        self.sums: dict[str, Sums] = {}

    def add(self, batch: Batch) -> None:
        """Compare one batch."""
        read = dict(zip(self.asked, self.session.run(batch.feeds, self.asked), strict=True))
        codes = {n: torch.from_numpy(read[n].astype(np.float32)) for n in self.names}
        inputs = self.module.program.inputs
        feeds = dict(zip((i.name for i in inputs), tensors(batch.feeds, inputs), strict=True))
        with quiet():
            data = {g.data for g in self.grids.values()}
            found = self.module.evaluate(feeds, {*self.asked, *data}, None if self.exact else codes)
        for name in self.names:
            gap = (found[name].to(torch.float32) - codes[name]).abs()
            self.codes, self.off = self.codes + gap.numel(), self.off + int((gap > 0).sum())
            self.steps = max(self.steps, float(gap.max()) if gap.numel() else 0.0)
            if name in self.grids and gap.any():
                grid = self.grids[name]
                near = grid.on_edge(_array(found[grid.data]), _array(found[name]))
                self.edge += int((near & (gap > 0).numpy()).sum())
        for name in self.kinds:
            self._output(name, read[name], _array(found[name]))

    def _output(self, name: str, exact: Array, found: Array) -> None:
        if self.kinds[name] not in FLOAT_DTYPES:
            return
        exact, found = exact.astype(np.float64), found.astype(np.float64)
        scale = float(np.abs(exact[np.isfinite(exact)]).max(initial=0.0)) or 1.0
        gap = np.abs(exact - found)[np.isfinite(exact)]
        self.worst[name] = max(self.worst.get(name, 0.0), float(gap.max(initial=0.0)) / scale)
        self.sums.setdefault(name, Sums()).add(exact, found)

    def proofs(self) -> list[Proof]:
        """The comparison of the codes and that of the outputs."""
        return [*self._codes(), *self._outputs()]

    def _codes(self) -> list[Proof]:
        if not self.names:
            return []
        what = f"{self.codes:,} codes of {counted(len(self.names), 'quantizer')}"
        if self.exact:
            return [Proof(f"{what}, beside onnxruntime", self._off, not self.off)]
        passed = self.steps <= 1 and self.off - self.edge <= max(FEW, SHARE * self.codes)
        return [Proof(f"{what}, each fed with onnxruntime's", self._off, passed)]

    @property
    def _off(self) -> str:
        if not self.off:
            return "all equal"
        edge = f", {self.edge} half-way between two codes" if self.edge else ""
        return f"{self.off} differ, by {self.steps:g} at most{edge}"

    def _outputs(self) -> list[Proof]:
        if not self.worst:
            return []
        if self.comparable:
            over = {n: gap / CLOSE.get(self.kinds[n], CLOSE_ELSE) for n, gap in self.worst.items()}
            name = max(over, key=lambda n: over[n])
            figures = f"{name!r} differs by {self.worst[name]:.1e} of its greatest value at most"
            return [Proof("outputs behind equal codes", figures, over[name] <= 1)]
        name = min(self.sums, key=lambda n: self.sums[n].result("").sqnr_db)
        passed = self.sums[name].result("").sqnr_db >= LOOSE_DB
        return [Proof("outputs", f"{name!r} {sqnr(self.sums[name])}", passed)]


def sqnr(sums: Sums) -> str:
    """The SQNR in words."""
    found = sums.result("").sqnr_db
    return f"SQNR {db(found)}{' dB' * isfinite(found)}"


def _array(values: Any) -> Array:
    found: Array = values.numpy() if isinstance(values, Tensor) else np.asarray(values)
    return found


def same_constants(module: AtenModule, held: Mapping[str, Tensor]) -> Proof:
    """Every integer constant of the file, byte by byte."""
    mine = {n: t for n, t in module.named_buffers() if not t.dtype.is_floating_point}
    wrong = [n for n, t in mine.items() if n not in held or not _equal(t, held[n])]
    figures = f"{len(wrong)} differ, {wrong[0]!r} first" if wrong else "all equal"
    return Proof(f"codes of {counted(len(mine), 'constant')}", figures, not wrong)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def same_outputs(
    module: AtenModule, loaded: Loaded, given: Sequence[Tensor], axes: Axes, fixed: Axes
) -> Proof:
    """The outputs of the file and of the module, at every size that both must take.

    Raises:
        ModelError: the file takes one size of an axis that the model leaves free, by name.
    """
    wrong = 0 if _agree(module, loaded, given) else 1
    tried = 1
    for name, other in variants(given, axes):
        if name in fixed.groups or not _takes(module, other):
            continue
        tried += 1
        if not _agree(module, loaded, other):
            place = axes.say(axes.groups[name][0])
            raise ModelError(
                f"written as it is, the file would take {place} at the size it was made with "
                f"alone ({name!r} is free in the model); --shape fixes a size"
            )
    what = f"outputs of the file at {counted(tried, 'size')}, beside the graph's"
    return Proof(what, "differ" if wrong else "all equal", not wrong)


def _takes(module: AtenModule, given: Sequence[Tensor]) -> bool:
    try:
        with quiet():
            module(*given)
    except (RuntimeError, ValueError, IndexError):
        return False
    return True


def _agree(module: AtenModule, loaded: Loaded, given: Sequence[Tensor]) -> bool:
    with quiet():
        exact = _listed(module(*given))
        try:
            found = [_listed(loaded.called(*given)) for _ in range(REPEATS)]
        except (RuntimeError, ValueError, AssertionError):
            return False
    return all(
        len(run) == len(exact) and all(_alike(*pair) for pair in zip(exact, run, strict=True))
        for run in found
    )


def _alike(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    both = torch.nan_to_num(one) if one.is_floating_point() else one
    return torch.equal(both, torch.nan_to_num(other) if one.is_floating_point() else other)


def _listed(found: Any) -> list[Tensor]:
    return list(found) if isinstance(found, tuple | list) else [found]
