"""The quantizers that are compared: one row each, all given the same arrays in memory.

A tool quantizes every layer it can to int8 with per-channel weights, by its own defaults
otherwise.  ``package`` is what must be importable for the row to run.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from oq.spec import Array

Quantize = Callable[[Path, Array, int, Path], None]
"""(model, input with axes (sample, ...), batch size, output file)"""


@dataclass(frozen=True, slots=True)
class Tool:
    """One row: what the table calls it, what must be installed, and a whole quantize call."""

    name: str
    package: str
    quantize: Quantize


def _oq(target: str, calibrator: str) -> Quantize:
    def quantize(model: Path, samples: Array, batch: int, output: Path) -> None:
        import oq

        result = oq.quantize(
            model,
            target,
            {"input": samples},
            calibrator=calibrator,
            batch_size=batch,
            verify=False,
        )
        result.save(output)

    return quantize


def _onnxruntime(method: str) -> Quantize:
    def quantize(model: Path, samples: Array, batch: int, output: Path) -> None:
        from onnxruntime import quantization as tool

        class Reader(tool.CalibrationDataReader):  # type: ignore[misc]  # untyped base
            def __init__(self) -> None:
                self.batches = _batches(samples, batch)

            def get_next(self) -> Mapping[str, Array] | None:
                return next(self.batches, None)

        tool.quantize_static(
            str(model),
            str(output),
            Reader(),
            per_channel=True,
            activation_type=tool.QuantType.QUInt8,
            weight_type=tool.QuantType.QInt8,
            calibrate_method=getattr(tool.CalibrationMethod, method),
        )

    return quantize


def _batches(samples: Array, size: int) -> Iterator[Mapping[str, Array]]:
    for start in range(0, len(samples), size):
        yield {"input": samples[start : start + size]}


TOOLS: Mapping[str, Tool] = {
    t.name: t
    for t in (
        Tool("oq ort minmax", "oq", _oq("ort", "minmax")),
        Tool("oq trt minmax", "oq", _oq("trt", "minmax")),
        Tool("onnxruntime minmax", "onnxruntime", _onnxruntime("MinMax")),
    )
}
