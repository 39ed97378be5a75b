"""Quantization-aware training: the module for the user's own loop, and the way back to the file."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from torch.nn import Parameter

from oq.checks.legal import check
from oq.emission.solve import apply_steps
from oq.emission.write import Written
from oq.errors import OptionError
from oq.model.graph import Graph
from oq.model.proto_fields import put_constants
from oq.model.view import GraphView
from oq.numerics.grid import Grid, quantize
from oq.numerics.values import Array
from oq.pipeline import Result, Started, conclude
from oq.planning.spec import Product, SiteKey, key
from oq.training.convert import to_torch
from oq.training.latents import Trained, make_trained
from oq.training.module import OnnxModule
from oq.training.qat_module import QatModule
from oq.training.sidecar import read_state, write_state
from oq.wording import counted

SCALES = ("frozen", "learned")

SCALE_STEP = 0.1
"""The part of a trained scale that counts as one step of it."""


@dataclass(frozen=True, slots=True)
class Change:
    """What training has changed so far: weight codes of all of them, and scales."""

    codes: int
    of: int
    scales: int

    def __str__(self) -> str:
        share = 100 * self.codes / max(self.of, 1)
        return (
            f"training changed {self.codes:,} of {self.of:,} codes of constants ({share:.1f} %) "
            f"and {counted(self.scales, 'scale')}"
        )


class Qat:
    """A quantized model that is being trained (:func:`oq.prepare_qat`).

    ``module`` is for the loop: ``optimizer.step()``, then :meth:`step`.  The switches are those of
    coremltools and torch; a milestone moves each at its step.
    """

    def __init__(
        self,
        started: Started,
        written: Written,
        scales: str,
        milestones: Sequence[int] | None,
    ) -> None:
        if scales not in SCALES:
            raise OptionError(f"scales {scales!r}: expected {' or '.join(SCALES)}")
        self._milestones = _checked(milestones)
        self.started, self._written = started, written
        subject = started.run.refined.subject
        view = Graph(written.model).view()
        floats = {s.tensor: subject.view.constants[s.tensor] for s in written.plan.sites
                  if subject.view.is_constant(s.tensor)}  # fmt: skip
        learned = scales == "learned"
        self._trained: Trained = make_trained(
            *(view, written.plan, written.grids, written.placed, floats, learned)
        )
        self._steps = 0
        self.module = QatModule(self._trained)
        if milestones is not None:
            self.module.rounds = False

    @property
    def prepared_view(self) -> GraphView:
        """The float graph that was refined; the trained one has its tensors too."""
        return self.started.run.refined.subject.view

    @cached_property
    def float_view(self) -> GraphView:
        """The graph of :attr:`teacher`."""
        return Graph(self.started.given.model).view()

    @cached_property
    def teacher(self) -> OnnxModule:
        """The float model, to be distilled from; its parameters take no gradients."""
        module = to_torch(self.started.given.model)
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        return module

    def groups(self, lr: float, scale_lr: float | None = None) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer: weights and biases at rate ``lr``, scales at
        ``scale_lr`` (default: ``lr``) and without weight decay."""
        learned = {self.module.names[s.learned] for s in self._trained.slots if s.learned}
        named = list(self.module.named_parameters())
        plain = [p for n, p in named if n not in learned]
        scales = [p for n, p in named if n in learned]
        made: list[dict[str, Any]] = [{"params": plain, "lr": lr}]
        if scales:
            rate = lr if scale_lr is None else scale_lr
            made.append({"params": scales, "lr": rate, "weight_decay": 0.0})
        return made

    def steps(self) -> list[tuple[Parameter, float]]:
        """Each parameter with what is one step of it: the scale of a weight's grid, the mean of
        them where channels have their own; of biases and float constants the scale that they would
        have in int8; of trained scales :data:`SCALE_STEP` of themselves, an octave where they are
        powers of two."""
        grids = {s.latent: s.grid for s in self._trained.slots if s.latent is not None
                 and not isinstance(s.site.spec, Product)}  # fmt: skip
        learned = {s.learned: s.grid.qtype.scale for s in self._trained.slots if s.learned}
        found = []
        for tensor, role in self.module.program.roles.items():
            if role != "parameter":
                continue
            parameter = self.module.get_parameter(self.module.names[tensor])
            if tensor in learned:
                step = 1.0 if learned[tensor] == "power_of_two" else SCALE_STEP
            elif tensor in grids:
                step = float(grids[tensor].scale.mean())
            else:
                step = float(parameter.detach().abs().max()) / 127
            found.append((parameter, step))
        return found

    def step(self) -> None:
        """Behind each step of the optimizer: holds the target's constraints between scales, and
        acts on milestones.

        Milestone m acts where m steps have been counted, before this one is, so that it is in force
        from batch m + 1 on, as in coremltools.
        """
        acts = (
            self.enable_observers,
            self.enable_fake_quant,
            self.disable_observers,
            self.freeze_bn,
        )
        for milestone, act in zip(self._milestones or (), acts, strict=False):
            if milestone == self._steps:
                act()
        self._steps += 1
        self._settle()

    def enable_observers(self) -> None:
        """Ranges of activations follow moving averages from now on."""
        self.module.observes = True

    def disable_observers(self) -> None:
        """Ranges of activations stay, or are learned."""
        self.module.observes = False

    def enable_fake_quant(self) -> None:
        """Quantizers round from now on."""
        self.module.rounds = True

    def disable_fake_quant(self) -> None:
        """Quantizers only hold values to their ranges."""
        self.module.rounds = False

    def freeze_bn(self) -> None:
        """Statistics of BatchNormalization stay: they always do, since oq folds what can be folded
        into weights and the rest runs with the statistics of the file."""

    def finish(self) -> Result:
        """The trained file: the graph that :func:`oq.quantize` writes with other values in its
        initializers, checked, verified and reported like that one.

        A pure function of the present state; the module can be trained on.
        """
        return conclude(self.started, self.write())

    def model(self) -> onnx.ModelProto:
        """The Q/DQ graph with what has been learned so far."""
        model = onnx.ModelProto()
        model.CopyFrom(self._written.model)
        put_constants(model, self._values())
        return model

    def write(self) -> Written:
        """:meth:`model`, checked, with what training has changed among its notes."""
        model = self.model()
        findings = check(Graph(model).view(), self.started.chosen.target)
        for finding in findings:
            if finding.severity == "error":
                raise RuntimeError(f"training made an illegal graph: {finding.message}")
        notes = (*self._written.notes, str(self.change()))
        return replace(self._written, model=model, findings=findings, notes=notes)

    def change(self) -> Change:
        """What training has changed so far."""
        values, first = self._values(), self._trained
        view = Graph(self._written.model).view()
        codes = {s.place.codes for s in first.slots if s.latent is not None}
        off = sum(int(np.count_nonzero(values[n] != view.constants[n])) for n in codes)
        scales = {s.place.scale for s in first.slots}
        moved = sum(not np.array_equal(values[n], view.constants[n]) for n in scales)
        return Change(off, sum(values[n].size for n in codes), moved)

    def save(self, path: str | Path) -> None:
        """Write the float latents, scales and the number of steps (safetensors); what is not in the
        file is the model and the options of the run."""
        write_state(path, self.module.state_dict(), self.signature, {"steps": self._steps})

    def load(self, path: str | Path) -> None:
        """Go on from what :meth:`save` wrote of the same run.

        Raises:
            DataError: it belongs to another model, target or options.
        """
        state, told = read_state(path, self.signature, self.module.state_dict())
        self.module.load_state_dict(state)
        self._steps = int(told["steps"])
        self._replay()

    def _replay(self) -> None:
        """The switches as the milestones up to now have left them."""
        for milestone, act in sorted(
            zip(
                self._milestones or (),
                (self.enable_observers, self.enable_fake_quant, self.disable_observers),
                strict=False,
            ),
            key=lambda pair: pair[0],
        ):
            if 0 <= milestone < self._steps:
                act()

    @property
    def signature(self) -> str:
        """The target and a fingerprint of the untrained file: which run a state belongs to."""
        graph = self._written.model.graph.SerializeToString(deterministic=True)
        return f"{self.started.target} {hashlib.sha256(graph).hexdigest()}"

    def _values(self) -> dict[str, Array]:
        """Initializer -> its present values, as the file stores them."""
        view = Graph(self._written.model).view()
        found: dict[str, Array] = {}
        for slot in self._trained.slots:
            place, grid = slot.place, self.module.grid(slot.place.scale)
            found[place.scale] = grid.scale.astype(view.constants[place.scale].dtype)
            found[place.zero] = grid.zero_point
            if slot.latent is not None:
                own = replace(slot.grid, scale=grid.scale, zero_point=grid.zero_point)
                found[place.codes] = quantize(self.module.value(slot.latent), own)
        latents = {s.latent for s in self._trained.slots} | {s.learned for s in self._trained.slots}
        for tensor, role in self.module.program.roles.items():
            if role == "parameter" and tensor not in latents:
                found[tensor] = self.module.value(tensor).astype(view.constants[tensor].dtype)
        return found

    def _settle(self) -> None:
        """Let the target's steps on grids act on the present ones, where these can change."""
        self.module.hold_scales()
        legalize = self.started.chosen.target.legalize
        moves = self.module.observes or any(s.learned for s in self._trained.slots)
        if not legalize or not moves:
            return
        grids: dict[SiteKey, Grid] = dict(self._written.grids)
        for slot in self._trained.slots:
            grids[key(slot.site)] = self.module.grid(slot.place.scale)
        view = self.started.run.refined.subject.view
        legal = apply_steps(self._written.plan, view, grids, legalize).grids
        for slot in self._trained.slots:
            wished = legal[key(slot.site)].scale
            fixed = isinstance(slot.site.spec, Product)
            if not fixed and not np.array_equal(wished, grids[key(slot.site)].scale):
                self.module.put_scale(slot.place.scale, wished)


def _checked(milestones: Sequence[int] | None) -> tuple[int, ...] | None:
    if milestones is None:
        return None
    if len(milestones) != 4 or any(type(m) is not int or m < -1 for m in milestones):
        raise OptionError(
            f"milestones {list(milestones)}: expected four step numbers, [observers on, fake "
            "quantization on, observers off, statistics frozen], -1 for never"
        )
    return tuple(milestones)
