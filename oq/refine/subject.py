"""What a refinement step works on: a float model, its plan and grids, and some samples."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import onnx

from oq.emit import emit
from oq.graph import Graph
from oq.solve import Solution
from oq.spec import Array, Plan
from oq.view import GraphView

Feeds = Mapping[str, Array]
"""Input name -> values of one batch, axes (sample, ...)."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model between solve and emit.

    ``model`` is the prepared float model and ``view`` its picture; neither ever changes.
    ``constants`` are the weights and biases that steps have replaced so far.  ``samples`` are the
    batches a step may learn from.
    """

    model: onnx.ModelProto
    view: GraphView
    plan: Plan
    solution: Solution
    samples: tuple[Feeds, ...]
    constants: Mapping[str, Array] = field(default_factory=dict)

    def constant(self, tensor: str) -> Array:
        """The values of a constant, as they are now."""
        found = self.constants.get(tensor)
        return self.view.constants[tensor] if found is None else found

    def put(self, constants: Mapping[str, Array]) -> "Subject":
        """With ``constants`` in place of those of the same names."""
        return replace(self, constants={**self.constants, **constants})

    def simulated(self) -> onnx.ModelProto:
        """The model with Q/DQ on its activations only; every constant is as in ``model``."""
        graph = Graph(self.model)
        sites = tuple(s for s in self.plan.sites if not self.view.is_constant(s.tensor))
        emit(graph, replace(self.plan, sites=sites), self.solution)
        return graph.to_model()

    def quantized(self) -> onnx.ModelProto:
        """The model as it would be written now."""
        graph = Graph(self.model)
        for tensor, values in self.constants.items():
            graph.set_constant(tensor, values)
        emit(graph, self.plan, self.solution)
        return graph.to_model()
