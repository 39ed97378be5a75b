"""What oq made is tried once, whatever the user verifies: the prepared model means the same as the
float one, and onnxruntime loads and runs the file.

A failure is a bug in oq, not in the model, so it is no :class:`~oq.errors.OqError`.
"""

from collections.abc import Mapping

import onnx

from oq.comparison.deviation import Noise, sqnr_db
from oq.comparison.shared_tensors import ONCE
from oq.errors import ModelError, OqError
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
    names = [o.name for o in reference.outputs if o.dtype in FLOAT_DTYPES and o.name not in sized]
    if not names:
        return
    values = reference.run(feeds, names)
    del reference  # one model in memory at a time
    found = Session(prepared, ONCE).run(feeds, names)
    for name, exact, other in zip(names, values, found, strict=True):
        sums = Noise()
        sums.add(exact, other)
        if sums.noise > 0 and sqnr_db(sums.signal, sums.noise) < LEAST_DB:
            raise RuntimeError(
                f"preparing the model changed its output {name!r}: SQNR "
                f"{sqnr_db(sums.signal, sums.noise):.1f} dB on the first sample"
            )


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
