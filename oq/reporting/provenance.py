"""The ``metadata_props`` of a quantized file: version, target, and what it was made from."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import onnx

import oq
from oq.calibration.job import Measured
from oq.calibration.packing import digest
from oq.comparison.compare import Verification
from oq.numerics.calibrator import Methods
from oq.planning.setup import Planned
from oq.refine.order import NONE, STEPS
from oq.refine.outcome import Outcome

USUAL = "hybrid"
"""The mode that is not worth an entry."""


def provenance(
    planned: Planned, methods: Methods, measured: Measured, found: Verification | None
) -> dict[str, str]:
    """The entries for a run; none depends on time, path or machine."""
    entries = {
        "oq.version": oq.__version__,
        "oq.target": planned.target.name,
        "oq.calibrator": repr(methods.default),
        "oq.data.source": f"statistics sha256:{digest(measured.statistics)}",
        "oq.samples": str(measured.samples),
    }
    if found is not None:
        sqnr = ", ".join(f"{e.name} {e.sqnr_db:.1f} dB" for e in found.literal.outputs)
        entries["oq.error"] = sqnr
    return entries


def choices(
    outcomes: Sequence[Outcome],
    keep_float: Sequence[str],
    mode: str,
    settings: Mapping[str, Any],
) -> dict[str, str]:
    """What else decided the file: ``oq.refine``, the steps that were kept; ``oq.ranges``, the
    calibrator of the final ranges; ``oq.keep_float``, ``oq.mode`` and ``oq.settings``, where the
    user said something, as JSON."""
    entries = {"oq.refine": ",".join(o.step for o in outcomes if o.kept) or NONE}
    ranges = final_ranges(outcomes)
    if ranges is not None:
        entries["oq.ranges"] = ranges
    said = {
        "oq.keep_float": list(keep_float),
        "oq.mode": "" if mode == USUAL else mode,
        "oq.settings": dict(settings),
    }
    found = {k: json.dumps(v, sort_keys=True, default=str) for k, v in said.items() if v}
    return entries | found


def final_ranges(outcomes: Sequence[Outcome]) -> str | None:
    """The calibrator of the ranges that refinement has put in place of the first ones, if any."""
    kept = [STEPS[o.step].calibrator for o in outcomes if o.kept and o.step in STEPS]
    return next((name for name in reversed(kept) if name is not None), None)


def stamp(model: onnx.ModelProto, entries: Mapping[str, str]) -> None:
    """Write ``entries`` into ``model``, replacing those of an earlier run."""
    kept = [p for p in model.metadata_props if not p.key.startswith("oq.")]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    for name, value in entries.items():
        model.metadata_props.add(key=name, value=value)
