"""The error that each layer adds, and its share of the output error.

With q the quantized model's values and g = layer(q of its inputs), computed by the float model's
layer, ``d = q - g`` is the error of the layer's weights and of the quantization of its output.
E(t) is the error power of the outputs, relative to their own power and averaged over outputs, when
the float model's tensor t is f + d instead of f; the share of t is E(t) over the sum of E over all
tensors.

To first order the output error is the sum of these contributions, and their powers add if they are
uncorrelated (the usual noise model: Widrow and Kollar 2008, "Quantization Noise").
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from oq.comparison.deviation import error_power, power, sqnr_db
from oq.comparison.shared_tensors import LITERAL, Shared, run_both
from oq.model.cut import cut
from oq.model.session import Session
from oq.model.view import GraphView
from oq.numerics.values import Array, Batch

SHARE_SAMPLES = 16
"""The estimate uses this many samples, fewer if their activations are larger."""

EXACT_DB = 90.0
"""A layer with a smaller error is computed in float in both models."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A float model, its ``view``, an array ``like`` each of its tensors (the dtype alone where the
    number of axes is unknown), and the quantized one."""

    exact: onnx.ModelProto
    rounded: onnx.ModelProto
    view: GraphView
    like: Mapping[str, Array | np.dtype[Any]]


@dataclass(slots=True)
class _Disturbance:
    """What one tensor's layer adds, and the float model's tensor with that added, per batch:
    ``values`` maps the name under which readers are given it to arrays."""

    signal: float = 0.0
    noise: float = 0.0
    values: dict[str, list[Array]] = field(default_factory=dict)

    def add(self, exact: Array, fresh: Array, given: Mapping[str, Array]) -> None:
        """``fresh`` is what the float layer makes of the quantized model's values, ``given`` what
        the quantized model's layer made, the copy first."""
        self.signal += power(exact)
        for i, (name, value) in enumerate(given.items()):
            d = np.zeros(exact.shape)
            if value.shape == exact.shape == fresh.shape:
                with np.errstate(invalid="ignore"):
                    d = value.astype(np.float64) - fresh
                d = np.where(np.isfinite(d), d, 0.0)
            if i == 0:
                self.noise += power(d)
            self.values.setdefault(name, []).append(np.asarray(exact + d, exact.dtype))


def take_few(batches: Iterable[Batch], most: int) -> list[Batch]:
    """The first :data:`SHARE_SAMPLES` samples, ``most`` at most, in whole batches or parts of
    these; one batch at least."""
    kept: list[Batch] = []
    wanted = min(SHARE_SAMPLES, max(most, 1))
    for batch in batches:
        if batch.divisible and batch.samples > wanted:
            batch = batch.part(0, wanted)
        kept.append(batch)
        wanted -= batch.samples
        if wanted <= 0:
            break
    return kept


def estimate_shares(
    models: Pair,
    shared: Sequence[Shared],
    groups: Iterable[Sequence[Shared]],
    batches: Sequence[Batch],
) -> tuple[dict[str, float], dict[str, float]]:
    """(SQNR in dB of the error that each of ``shared`` adds, error power that this causes at the
    outputs).

    Worked out for one of ``groups`` at a time: what one batch takes in memory are the values of a
    group and of what its layers read, in both models, and not those of all tensors."""
    captured = {t for n in models.view.nodes for t in n.captured}
    given = {t.name: t for t in shared if t.name not in captured}
    decibels = dict.fromkeys((t.name for t in shared), float("inf"))
    errors = dict.fromkeys(decibels, 0.0)
    exact = _outputs(models.exact, batches)
    for group in groups:
        here = [t for t in group if t.name in given]
        added = _disturb(models, given, here, batches)
        found = {n: sqnr_db(a.signal, a.noise) for n, a in added.items()}
        guilty = [t for t in here if found[t.name] < EXACT_DB]
        decibels |= found
        errors |= _at_the_outputs(models.exact, guilty, batches, added, exact)
    return decibels, errors


def _disturb(
    models: Pair,
    given: Mapping[str, Shared],
    group: Sequence[Shared],
    batches: Sequence[Batch],
) -> dict[str, _Disturbance]:
    """What the layers of ``group`` add, from what the quantized model gives them."""
    added = {t.name: _Disturbance() for t in group}
    computed = [t.name for t in group if t.node]
    like = {n: models.like[n] for n in given}
    kinds = {n: v.dtype if isinstance(v, np.ndarray) else v for n, v in like.items()}  # float16 too
    layers = None
    if computed:
        feeds = {f"{n}:given": v for n, v in like.items()}
        feeds |= {f"{n}:raw": like[n] for n, t in given.items() if t.raw}
        layers = Session(_cut(models.exact, given, feeds, computed), LITERAL)
    read = {i.name.rpartition(":")[0] for i in layers.inputs} if layers is not None else set()
    needed = [t for t in given.values() if t.name in read or t.name in added]
    for batch, exact, found in run_both(models.exact, models.rounded, needed, batches):
        values = {f"{t.name}:given": found[t.copy].astype(kinds[t.name]) for t in needed}
        values |= {f"{t.name}:raw": found[t.name].astype(kinds[t.name]) for t in needed if t.raw}
        fresh = dict(exact)
        if layers is not None:
            names = [o.name for o in layers.outputs]
            ran = layers.run(_wanted(layers, {**batch.feeds, **values}), names)
            fresh |= zip(names, ran, strict=True)
        for name, disturbance in added.items():
            mine = {n: values[n] for n in _names(name) if n in values}
            disturbance.add(exact[name], fresh[name], mine)
    return added


def _outputs(model: onnx.ModelProto, batches: Sequence[Batch]) -> list[dict[str, Array]]:
    """The float model's outputs, per batch."""
    reference = Session(model, LITERAL)
    names = reference.arrays
    return [dict(zip(names, reference.run(b.feeds, names), strict=True)) for b in batches]


def _at_the_outputs(
    model: onnx.ModelProto,
    shared: Sequence[Shared],
    batches: Sequence[Batch],
    added: Mapping[str, _Disturbance],
    exact: Sequence[Mapping[str, Array]],
) -> dict[str, float]:
    """Mean over outputs of error power over signal power, with each of ``shared`` disturbed.
    ``exact``: the float model's outputs, per batch."""
    outputs = list(exact[0])
    signal = {o: sum(power(e[o]) for e in exact) for o in outputs}
    found: dict[str, float] = {}
    for tensor in shared:
        values = added[tensor.name].values
        reached = [o for o in outputs if o != tensor.name]
        first = {n: v[0] for n, v in values.items()}
        part = _cut(model, {tensor.name: tensor}, first, reached)
        rest = Session(part, LITERAL) if reached else None
        noise = dict.fromkeys(outputs, 0.0)
        for i, (batch, e) in enumerate(zip(batches, exact, strict=True)):
            given = {n: v[i] for n, v in values.items()}
            changed = {tensor.name: given[f"{tensor.name}:given"]}
            if rest is not None:
                feeds = _wanted(rest, {**batch.feeds, **given})
                changed |= zip(reached, rest.run(feeds, reached), strict=True)
            for o in outputs:
                noise[o] += error_power(e[o], changed[o])
        ratios = [noise[o] / signal[o] for o in outputs if signal[o]]
        found[tensor.name] = sum(ratios) / len(outputs)
    return found


def _cut(
    model: onnx.ModelProto,
    given: Mapping[str, Shared],
    values: Mapping[str, Any],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """``model`` computing ``outputs`` from ``values`` (name -> dtype or an array like it) of the
    tensors ``given``."""

    def replaced(tensor: str, reader: str) -> str:
        return given[tensor].given(reader) if tensor in given else tensor

    return cut(model, values, replaced, outputs)


def _names(tensor: str) -> tuple[str, str]:
    return f"{tensor}:given", f"{tensor}:raw"


def _wanted(session: Session, feeds: Mapping[str, Array]) -> dict[str, Array]:
    return {i.name: feeds[i.name] for i in session.inputs}
