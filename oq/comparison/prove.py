"""What oq made is tried once, whatever the user verifies: the prepared model means the same as the
float one, and onnxruntime loads and runs the file.

A failure is a bug in oq, not in the model, so it is no :class:`~oq.errors.OqError`.
"""

from collections.abc import Mapping

import numpy as np
import onnx

from oq.comparison.deviation import Noise, sqnr_db
from oq.comparison.shared_tensors import ONCE
from oq.errors import ModelError, OqError
from oq.model.bodies import SIZES
from oq.model.ops import RANDOM_OPS
from oq.model.paths import value_sized
from oq.model.session import Session, Settings
from oq.model.stored import holds_stored, is_stored
from oq.model.view import GraphView
from oq.numerics.values import FLOAT_DTYPES, Array

LEAST_DB = 20.0
"""SQNR of an output of the prepared model.  Folding in another order of operations leaves 100 dB in
float32 and 50 in float16; another operator leaves none."""

APPROXIMATE = frozenset({"harden_sigmoid", "round_edge_slope", "round_slopes"})
"""Prepare passes that change values, because the device computes others."""


def prove_prepared(
    model: onnx.ModelProto, prepared: onnx.ModelProto, view: GraphView, feeds: Mapping[str, Array]
) -> None:
    """Compare the float ``model`` with the ``prepared`` one (``view``) on one batch.

    Numbers with a fraction have an SQNR; integers, truth values and texts are the same, but for a
    few (:data:`FEW`) that follow from such numbers: the largest of two that are nearly equal.
    Outputs whose size depends on values are not compared, nor are models with random operators.

    Raises:
        RuntimeError: an output differs.
    """
    if any(node.op in RANDOM_OPS for node in view.nodes):
        return
    try:
        reference, sized = Session(model, ONCE), value_sized(view)
    except ModelError:
        return  # only what oq made of it loads: there is nothing to compare with
    names = [o.name for o in reference.outputs if o.dtype is not None and o.name not in sized]
    if not names:
        return
    values = reference.run(feeds, names)
    del reference  # one model in memory at a time
    found = Session(prepared, ONCE).run(feeds, names)
    whole = any(v.dtype.name not in FLOAT_DTYPES for v in values)
    rounded = _follow_from_floats(view) if whole else set()
    for name, exact, other in zip(names, values, found, strict=True):
        said = _differ(exact, other, name in rounded)
        if said is not None and not _moves_as_far(model, feeds, name, exact, other):
            raise RuntimeError(
                f"preparing the model changed its output {name!r}: {said} on the first sample"
            )


FEW = 0.01
"""Share of such values, or one, that may differ."""


def _differ(exact: Array, found: Array, rounded: bool) -> str | None:
    """How ``found`` differs from ``exact``; None where it does not.  ``rounded``: values without a
    fraction follow from some with one."""
    if exact.shape != found.shape:
        return f"shape {found.shape} for {exact.shape}"
    if exact.dtype.name in FLOAT_DTYPES:
        sums = Noise()
        sums.add(exact, found)
        differs = sums.noise > 0 and sqnr_db(sums.signal, sums.noise) < LEAST_DB
        return f"SQNR {sqnr_db(sums.signal, sums.noise):.1f} dB" if differs else None
    count = int(np.count_nonzero(exact != found))
    differs = count > (max(1, FEW * exact.size) if rounded else 0)
    return f"{count} of {exact.size} values" if differs else None


NEAR = 100.0
"""How many times as much energy a difference may have as that of the smallest change of inputs."""


def _moves_as_far(
    model: onnx.ModelProto, feeds: Mapping[str, Array], name: str, exact: Array, found: Array
) -> bool:
    """Whether the output ``name`` of the float ``model`` differs from ``exact`` about as much as
    ``found`` does, once every input has moved to the next number: a difference of rounding, which
    models enlarge where an output is a millionth of what it is computed from."""
    if exact.dtype.name not in FLOAT_DTYPES or exact.shape != found.shape:
        return False
    moved = {
        n: np.nextafter(v, np.inf, dtype=v.dtype) if v.dtype in (np.float32, np.float64) else v
        for n, v in feeds.items()
    }
    (nudged,) = Session(model, ONCE).run(moved, [name])
    if nudged.shape != exact.shape:
        return True
    own, other = Noise(), Noise()
    own.add(exact, nudged)
    other.add(exact, found)
    return bool(other.noise <= NEAR * own.noise)


def _follow_from_floats(view: GraphView) -> set[str]:
    """The tensors of ``view`` that are computed from floats: their values, not their shapes."""
    found = set[str]()
    for node in view.nodes:
        if node.op in SIZES:
            continue
        made = [t for t in node.outputs if t]
        reads = (*node.inputs, *node.captured)
        if any(t in found or view.is_float(t) for t in (*reads, *made) if t):
            found.update(made)
    return found


def prove_written(
    model: onnx.ModelProto, written: onnx.ModelProto, feeds: Mapping[str, Array] | None
) -> None:
    """Load ``written`` in onnxruntime as users do, and run it on ``feeds``, if there are any.

    Raises:
        RuntimeError: that fails, and the float ``model`` does not.
    """
    if feeds is None and holds_stored(written) and _try(_without_values(written), None) is None:
        return
    error = _try(written, feeds)
    if error is not None and _try(model, feeds) is None:
        raise RuntimeError(f"oq wrote a file that fails where the float model runs: {error}")


def _without_values(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with inputs in place of its weights in files: what onnxruntime says of its nodes
    depends on their types and shapes, and to load them takes as much memory again."""
    light = onnx.ModelProto()
    light.CopyFrom(model)
    kept = [t for t in model.graph.initializer if not is_stored(t)]
    light.graph.input.extend(
        onnx.helper.make_tensor_value_info(t.name, t.data_type, t.dims)
        for t in model.graph.initializer
        if is_stored(t)
    )
    light.graph.ClearField("initializer")
    light.graph.initializer.extend(kept)
    return light


def _try(model: onnx.ModelProto, feeds: Mapping[str, Array] | None) -> OqError | None:
    try:
        session = Session(model, Settings(frozen=False))
        if feeds is not None:
            session.run(feeds)
    except OqError as error:
        return error
    return None
