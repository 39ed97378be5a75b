"""The module that is trained: fake quantization that can be switched, and observers."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oq.model.qdq import Q
from oq.numerics.grid import Grid, fit
from oq.numerics.values import Array, Range
from oq.training import ops, ops_learned
from oq.training.latents import Slot, Trained, free_scales
from oq.training.module import OnnxModule
from oq.training.ops_learned import HOLD, REACH, as_parameter, as_scale
from oq.training.program import Step, compile_view
from oq.training.row import Value

QUANTIZERS = frozenset({Q})

SPEED = 0.01
"""Share of a new batch in the moving averages of observers, as torch and coremltools have it."""


class QatModule(OnnxModule):
    """:class:`OnnxModule` with latents in place of codes.

    ``rounds``: whether quantizers round; without it they hold values to their range.  ``observes``:
    whether, in training mode, the ranges of activations follow moving averages of the least and the
    greatest value.
    """

    def __init__(self, trained: Trained) -> None:
        view = trained.view
        super().__init__(view, compile_view(view, {**ops.ROWS, **ops_learned.ROWS}))
        self.rounds, self.observes = True, False
        self._products = dict(trained.products)
        self._slots: dict[str, Slot] = {s.place.scale: s for s in reversed(trained.slots)}
        self._ranges: dict[str, tuple[float, float]] = {}
        stored = {s.place.scale for s in trained.slots if s.latent is not None}
        watched = free_scales(trained.slots) - stored
        self._watched = {
            step.node.name: step.inputs[1]
            for step in self.program.steps
            if step.node.op in QUANTIZERS and step.inputs[1] in watched
        }

    def _run(self, step: Step, values: dict[str, Any], device: torch.device) -> tuple[Value, ...]:
        if step.node.op in QUANTIZERS:
            scale = self._watched.get(step.node.name)
            if self.observes and self.training and scale is not None:
                self._observe(scale, self._value(step.inputs[0], values))
                values[scale] = self._scale_tensor(scale)
            if not self.rounds:
                step = replace(step, row=HOLD)
        return super()._run(step, values, device)

    def _observe(self, scale: str, seen: Value) -> None:
        """Let the grid of ``scale`` follow what a quantizer has ``seen``."""
        slot, grid = self._slots[scale], self.grid(scale)
        low, high = (float(v) for v in torch.as_tensor(seen).detach().aminmax())
        before = self._ranges.get(scale, (float(grid.lowest), float(grid.highest)))
        now = tuple(
            b + SPEED * (n - b) for b, n in zip(before, (min(low, 0), max(high, 0)), strict=True)
        )
        self._ranges[scale] = (now[0], now[1])
        found = fit(Range(np.asarray(now[0]), np.asarray(now[1])), grid.qtype)
        self.put_scale(scale, found.scale)
        self._put(slot.place.zero, found.zero_point.astype(np.int32))

    def grid(self, scale: str) -> Grid:
        """The present grid at the scale ``scale``, as the file will hold it."""
        slot = self._slots[scale]
        grid, place = slot.grid, slot.place
        zero = self._read(place.zero).reshape(grid.zero_point.shape)
        return replace(grid, scale=self._scale(scale), zero_point=zero.astype(grid.qtype.dtype))

    def _scale(self, scale: str) -> Array:
        slot = self._slots[scale]
        if scale in self._products:
            data, weight = (self._scale(name) for name in self._products[scale])
            return np.asarray(data * weight, np.float32)
        if slot.learned is not None:
            found = as_scale(self._read(slot.learned), slot.grid.qtype.scale, slot.grid.scale)
        else:
            found = self._read(scale).astype(np.float32)
        return np.asarray(found.reshape(slot.grid.scale.shape), np.float32)

    def _scale_tensor(self, scale: str) -> Tensor:
        return torch.as_tensor(self._scale(scale), device=self.device)

    def put_scale(self, scale: str, values: Array) -> None:
        """Set the scale ``scale``, trained or not."""
        slot = self._slots[scale]
        if slot.learned is None:
            self._put(scale, values)
        else:
            self._put(slot.learned, as_parameter(values, slot.grid.qtype.scale, slot.grid.scale))

    def hold_scales(self) -> None:
        """Keep trained scales within :data:`~oq.training.ops_learned.REACH` of the calibrated."""
        for slot in self._slots.values():
            if slot.learned is not None and slot.grid.qtype.scale != "power_of_two":
                owner, leaf = self._places[slot.learned]
                getattr(owner, leaf).data.clamp_(1 / REACH, REACH)

    def _read(self, tensor: str) -> Array:
        owner, leaf = self._places[tensor]
        held: Tensor = getattr(owner, leaf)
        found: Array = held.detach().cpu().numpy()
        return found

    def _put(self, tensor: str, values: Array) -> None:
        owner, leaf = self._places[tensor]
        held: Tensor = getattr(owner, leaf)
        found = torch.tensor(values).reshape(held.shape)
        held.data = found.to(held)  # a new tensor: a pass that is under way keeps the old one

    def value(self, tensor: str) -> Array:
        """The present values of a parameter or buffer, by its name in the graph."""
        return self._read(tensor).copy()
