"""The ``metadata_props`` of a quantized file: version, target, and what it was made from."""

from collections.abc import Mapping
from pathlib import Path

import onnx

import oq
from oq.calibration.job import Measured
from oq.calibration.packing import digest
from oq.comparison.compare import Verification
from oq.numerics.calibrator import Methods
from oq.planning.setup import Planned


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


def stamp(model: onnx.ModelProto, entries: Mapping[str, str]) -> None:
    """Write ``entries`` into ``model``, replacing those of an earlier run."""
    kept = [p for p in model.metadata_props if not p.key.startswith("oq.")]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    for name, value in entries.items():
        model.metadata_props.add(key=name, value=value)


def target_of(model: onnx.ModelProto | Path) -> str | None:
    """The target in the metadata of a model or of the file at a path; None if oq did not write
    it."""
    if isinstance(model, Path):
        model = onnx.load(model, load_external_data=False)
    return {p.key: p.value for p in model.metadata_props}.get("oq.target")
