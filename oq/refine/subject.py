"""The input of a refinement step: a float model, its plan and grids, and some samples."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import onnx

from oq.data.sizing import Sizing
from oq.data.source import Fitted
from oq.emission.emit import emit
from oq.emission.keep_float import keep_loadable
from oq.emission.solve import Solution, apply_steps
from oq.engines.engine import DEFAULT, Walk, find_engine
from oq.model.graph import Graph
from oq.model.stored import spill_of
from oq.model.stored_arrays import StoredArrays, held
from oq.model.view import GraphView
from oq.numerics.grid import Grid, fake_quantize
from oq.numerics.statistics import Statistics
from oq.numerics.values import Array, Range
from oq.planning.spec import Plan, SiteKey, key
from oq.planning.target import Legalizer
from oq.progress import Counter, Watch
from oq.refine import layerwise

Item = TypeVar("Item")

Feeds = Mapping[str, Array]
"""Input name -> values of one batch, axes (sample, ...)."""


@dataclass(frozen=True, slots=True)
class Change:
    """New values for constants of the float model, by name, and a note for the report.

    ``grids`` are new grids of biases that no longer fit theirs.  Of an early step: ``ranges`` are
    those it knows exactly, ``sized`` the tensors whose channels it has scaled, ``moved`` those
    whose values have changed (None: any may have), ``seen`` the statistics of some of them.
    """

    constants: Mapping[str, Array]
    note: str = ""
    grids: Mapping[SiteKey, Grid] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    sized: frozenset[str] = frozenset()
    moved: frozenset[str] | None = None
    seen: Mapping[str, Statistics] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subject:
    """A model between solve and emit.

    ``model`` is the float model and ``view`` its view.  ``early`` are the constants in which it
    differs from the prepared model; the function is the same.  ``constants`` are all constants that
    steps have replaced so far, including those.  ``samples`` are the batches for the steps,
    ``source`` all calibration samples.  ``seen`` are the statistics of the float model's tensors,
    ``means`` those of its layers' outputs (node -> (channels,)), as far as they have been measured.
    Early steps have ``sized`` the channels of some tensors; ranges that follow from that are
    ``known``.  ``legalize`` are the target's steps on solved grids, ``engine`` what computes as
    the target does, ``sizing`` that of batches of ``source``.  ``watch`` is told of the ``stage``.
    """

    model: onnx.ModelProto
    view: GraphView
    plan: Plan
    solution: Solution
    samples: tuple[Feeds, ...]
    source: Fitted | None = None
    constants: StoredArrays = field(default_factory=StoredArrays)
    early: StoredArrays = field(default_factory=StoredArrays)
    seen: Mapping[str, Statistics] = field(default_factory=dict)
    means: Mapping[str, Array] = field(default_factory=dict)
    sized: frozenset[str] = frozenset()
    known: Mapping[str, Range] = field(default_factory=dict)
    legalize: Sequence[Legalizer] = ()
    sizing: Sizing | None = None
    engine: str = DEFAULT
    watch: Watch | None = None
    stage: str = "refine"

    def tell(self) -> None:
        """That the step begins, to whoever watches."""
        if self.watch is not None:
            self.watch(self.stage, 0, None)

    def each(self, layers: Sequence[Item]) -> Iterable[Item]:
        """``layers``, told one by one as they are done."""
        return Counter(self.stage, len(layers), self.watch).each(layers)

    def constant(self, tensor: str, changed: Mapping[str, Array] | None = None) -> Array:
        """The current values of a constant, or those in ``changed``."""
        for values in (changed or {}, self.constants, self.view.constants):
            if tensor in values:
                return values[tensor]
        raise KeyError(tensor)

    def changes(self) -> StoredArrays:
        """For new values of constants: none yet, in files where those of the model are."""
        return StoredArrays(spill_of(self.model))

    def put(
        self, constants: Mapping[str, Array], grids: Mapping[SiteKey, Grid] | None = None
    ) -> "Subject":
        """With ``constants`` and ``grids`` replaced; if a grid changed, the target's constraints
        between grids are applied again."""
        solution, put = self.solution, grids or {}
        if any(grid is not solution.grids[site] for site, grid in put.items()):
            grids_now = {**solution.grids, **put}
            legal = apply_steps(self.plan, self.view, grids_now, self.legalize)
            solution = replace(solution, grids=legal.grids)
        together = self.changes() | self.constants | constants
        return replace(self, constants=together, solution=solution)

    def remade(self, change: Change) -> "Subject":
        """With the float model of an early ``change``, without the changes of later steps and the
        statistics of tensors that may have changed."""
        if not change.constants:
            return replace(self, constants=self.early)
        graph = Graph(self.model)
        early = self.changes() | change.constants
        for tensor, values in held(early):
            graph.set_constant(tensor, values)
        early = self.early | early
        moved = self.seen if change.moved is None else change.moved
        return replace(
            self,
            model=graph.to_model(),
            view=graph.view(),
            constants=early,
            early=early,
            seen={t: s for t, s in self.seen.items() if t not in moved} | {**change.seen},
            means={},
            sized=self.sized | change.sized,
            known={**self.known, **change.ranges},
        )

    def exact(self) -> onnx.ModelProto:
        """The float model, clipped at ``known`` ranges: values beyond do not matter, so clipping
        them is not an error to compensate."""
        if not self.known:
            return self.model
        graph = Graph(self.model)
        for tensor, kept in self.known.items():
            ends = [
                graph.add_constant(f"{tensor}_{name}", end.astype(np.float32))
                for name, end in (("least", kept.lo), ("most", kept.hi))
            ]
            readers = self.view.consumers(tensor)
            cut = graph.add_node(
                *("Clip", (tensor, *ends), f"{tensor}_cut"),
                name=f"{tensor}_Clip",
                like=tensor,
                dtype="float32",
            )
            for reader in readers:
                graph.replace_reads(reader.name, tensor, cut)
        return graph.to_model()

    def simulated(self) -> onnx.ModelProto:
        """The model with Q/DQ on its activations only; every constant is as in ``model``."""
        graph = Graph(self.model)
        sites = tuple(s for s in self.plan.sites if not self.view.is_constant(s.tensor))
        emit(graph, replace(self.plan, sites=sites), self.solution)
        keep_loadable(graph)
        return graph.to_model()

    @property
    def rounds(self) -> bool:
        """Whether the engine has a rounding of its own."""
        return find_engine(self.engine).rounds

    def walk(self, changed: Mapping[str, Array] | None = None) -> Walk:
        """A pass over the samples through :meth:`simulated` with ``changed`` constants, in the
        rounding of the engine if that has one of its own: then all constants with a grid are on it
        too."""
        begin = find_engine(self.engine).walk or layerwise.Walk
        walk, values = begin(self.simulated(), self.samples), changed or {}
        for tensor, found in values.items():
            walk.set_constant(tensor, found)
        if self.rounds:
            for site in self.plan.sites:
                if self.view.is_constant(site.tensor):
                    grid = self.solution.grids[key(site)]
                    exact = values.get(site.tensor, self.view.constants[site.tensor])
                    walk.set_constant(site.tensor, fake_quantize(exact, grid), grid)
        return walk

    def quantized(self) -> onnx.ModelProto:
        """The model as it would be written now."""
        graph = Graph(self.model)
        for tensor, values in held(self.constants):
            graph.set_constant(tensor, values)
        emit(graph, self.plan, self.solution)
        keep_loadable(graph)
        return graph.to_model()
