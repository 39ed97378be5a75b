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

import numpy as np
import onnx

from oq.comparison.deviation import error_power, power, sqnr_db
from oq.comparison.shared_tensors import LITERAL, Shared, run_both
from oq.model.session import Session, cut
from oq.model.view import GraphView
from oq.numerics.values import Array, Batch

SHARE_SAMPLES = 16
SHARE_BYTES = 256 * 10**6
"""The estimate uses this many samples, fewer if their activations are larger."""

EXACT_DB = 90.0
"""A layer with a smaller error is computed in float in both models."""


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
                d[~np.isfinite(d)] = 0.0
            if i == 0:
                self.noise += power(d)
            self.values.setdefault(name, []).append((exact + d).astype(exact.dtype))


def take_few(batches: Iterable[Batch], most: int) -> list[Batch]:
    """The first :data:`SHARE_SAMPLES` samples, in whole batches, or in parts of ``most`` samples
    where these are larger."""
    kept: list[Batch] = []
    samples = 0
    for batch in batches:
        size = max(most, 1)
        if batch.divisible and batch.samples > size:
            starts = range(0, min(batch.samples, SHARE_SAMPLES), size)
            kept += [batch.part(at, at + size) for at in starts]
        else:
            kept.append(batch)
        samples += batch.samples
        if samples >= SHARE_SAMPLES:
            break
    return kept


def estimate_shares(
    float_model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    shared: Sequence[Shared],
    batches: Sequence[Batch],
    view: GraphView,
) -> tuple[dict[str, float], dict[str, float]]:
    """(SQNR in dB of the error that each tensor adds, error power that this causes at the
    outputs)."""
    captured = {t for n in view.nodes for t in n.captured}
    given = {t.name: t for t in shared if t.name not in captured}
    computed = [t.name for t in shared if t.node]
    added = {t.name: _Disturbance() for t in shared}
    used: list[Batch] = []
    size, layers = 0, None
    for batch, exact, found in run_both(float_model, quantized, shared, batches):
        # what the quantized model gives each layer, for the float layers to compute from
        kinds = {n: exact[n].dtype for n in given}  # the float model may be float16
        feeds = {f"{n}:given": found[t.copy].astype(kinds[n]) for n, t in given.items()}
        feeds |= {f"{n}:raw": found[n].astype(kinds[n]) for n, t in given.items() if t.raw}
        if layers is None and computed:
            layers = Session(_cut(float_model, given, feeds, computed), LITERAL)
        fresh = dict(exact)
        if layers is not None:
            names = [o.name for o in layers.outputs]
            fresh |= zip(
                names, layers.run(_wanted(layers, {**batch.feeds, **feeds}), names), strict=True
            )
        for name in given:
            f, g = exact[name], fresh[name]
            added[name].add(f, g, {n: feeds[n] for n in _names(name) if n in feeds})
            size += f.nbytes
        used.append(batch)
        if size * (1 + 1 / len(used)) > SHARE_BYTES:
            break
    decibels = {n: sqnr_db(a.signal, a.noise) for n, a in added.items()}
    errors = dict.fromkeys(decibels, 0.0)
    guilty = [t for n, t in given.items() if decibels[n] < EXACT_DB]
    errors |= _at_the_outputs(float_model, guilty, used, added)
    return decibels, errors


def _at_the_outputs(
    model: onnx.ModelProto,
    shared: Sequence[Shared],
    batches: Sequence[Batch],
    added: Mapping[str, _Disturbance],
) -> dict[str, float]:
    """Mean over outputs of error power over signal power, with each of ``shared`` disturbed."""
    reference = Session(model, LITERAL)
    outputs = reference.arrays
    exact = [dict(zip(outputs, reference.run(b.feeds, outputs), strict=True)) for b in batches]
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
    values: Mapping[str, Array],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """``model`` computing ``outputs`` from ``values`` of the tensors ``given``."""

    def replaced(tensor: str, reader: str) -> str:
        return given[tensor].given(reader) if tensor in given else tensor

    return cut(model, {n: v.dtype for n, v in values.items()}, replaced, outputs)


def _names(tensor: str) -> tuple[str, str]:
    return f"{tensor}:given", f"{tensor}:raw"


def _wanted(session: Session, feeds: Mapping[str, Array]) -> dict[str, Array]:
    return {i.name: feeds[i.name] for i in session.inputs}
