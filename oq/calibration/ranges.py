"""Range files: TensorRT's calibration table, and JSON.

A calibration table is text: a header line ``TRT-<version>-<calibrator>``, then one line ``<tensor>:
<hex>`` per tensor, the hex digits being the float32 scale, most significant byte first, and the
range ``[-127 scale, 127 scale]`` (NVIDIA TensorRT samples, "calibration cache"). JSON is
``{"ranges": {"<tensor>": [lo, hi]}}``.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from oq.errors import DataError
from oq.model.files import check_writable, write_text
from oq.model.ops import only_moves
from oq.model.view import GraphView
from oq.numerics.values import Range
from oq.planning.setup import Planned, all_to_calibrate

HEADER = "TRT-0000-EntropyCalibration2"


def write_ranges(ranges: Mapping[str, Range], path: str | Path) -> None:
    """JSON for a ``.json`` name, else a TensorRT calibration table."""
    path = Path(path)
    check_writable(path)
    text = _to_json(ranges) if path.suffix == ".json" else _to_table(ranges)
    write_text(path, text)


def read_ranges(path: str | Path) -> dict[str, Range]:
    """The ranges in a file of either format.

    Raises:
        DataError: there is no such file, or a line of it is not of its format.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no ranges file at {str(path)!r}")
    try:
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise DataError(f"{str(path)!r} is neither JSON nor a calibration table") from error
    return _from_json(text, path) if text.lstrip().startswith("{") else _from_table(text, path)


def _to_json(ranges: Mapping[str, Range]) -> str:
    plain = {t: [float(r.lo), float(r.hi)] for t, r in sorted(ranges.items())}
    return json.dumps({"ranges": plain}, indent=1) + "\n"


def _to_table(ranges: Mapping[str, Range]) -> str:
    lines = [HEADER]
    for tensor, found in sorted(ranges.items()):
        scale = max(-float(found.lo), float(found.hi)) / 127
        lines.append(f"{tensor}: {struct.pack('>f', scale).hex()}")
    return "\n".join(lines) + "\n"


def _from_json(text: str, path: Path) -> dict[str, Range]:
    try:
        found = json.loads(text)["ranges"]
        return {t: _range(float(lo), float(hi)) for t, (lo, hi) in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f'{str(path)!r}: expected {{"ranges": {{"tensor": [lo, hi]}}}} with lo <= 0 <= hi'
        ) from error


def _from_table(text: str, path: Path) -> dict[str, Range]:
    first, *lines = text.splitlines() or [""]
    if not first.startswith("TRT-"):
        raise DataError(f"{str(path)!r} is neither JSON nor a calibration table (no TRT- header)")
    ranges: dict[str, Range] = {}
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        tensor, colon, digits = line.rpartition(":")
        try:
            (scale,) = struct.unpack(">f", bytes.fromhex(digits.strip()))
            ranges[tensor] = _range(-127 * scale, 127 * scale)
        except (ValueError, struct.error) as error:
            raise DataError(
                f"{str(path)!r} line {number}: expected 'tensor: <8 hex digits>', found {line!r}"
            ) from error
        if not colon:
            raise DataError(f"{str(path)!r} line {number}: no colon in {line!r}")
    return ranges


def _range(lo: float, hi: float) -> Range:
    return Range(np.asarray(lo), np.asarray(hi))


def known_ranges(planned: Planned, path: str | Path) -> dict[str, Range]:
    """The ranges of a file for the tensors that the plan calibrates.

    A tensor that is not in the file gets the range of one whose values it only moves (Reshape,
    MaxPool), since another target may quantize on the other side of such an op.
    """
    wanted = all_to_calibrate(planned)
    given = read_ranges(path)
    found = {t: r for t in wanted if (r := _range_of(planned.view, t, given)) is not None}
    if not found:
        raise DataError(
            f"{str(path)!r} holds no tensor that is calibrated; the plan asks for "
            f"{', '.join(map(repr, wanted[:3]))}, ..."
        )
    return found


def _range_of(view: GraphView, tensor: str, given: Mapping[str, Range]) -> Range | None:
    """The range of ``tensor``, or of what it is a copy of, or of a copy of it."""
    source: str | None = tensor
    while source is not None and source not in given:
        producer = view.producer(source)
        source = producer.inputs[0] if producer is not None and only_moves(producer.op) else None
    if source is not None:
        return given[source]
    return _copy_below(view, tensor, given)


def _copy_below(view: GraphView, tensor: str, given: Mapping[str, Range]) -> Range | None:
    if tensor in given:
        return given[tensor]
    copies = [n.outputs[0] for n in view.consumers(tensor) if only_moves(n.op)]
    return next((r for t in copies if (r := _copy_below(view, t, given)) is not None), None)
