"""The quantizers that are compared: one row each, all given the same arrays in memory.

A tool quantizes every layer it can to int8 with per-channel weights, by its own defaults
otherwise, without refinement or verification.  ``package`` is what must be importable for the row
to run; the rows of modelopt run in the interpreter given by ``--modelopt``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from oq.numerics.values import Array

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

        found = oq.quantize(
            model,
            target,
            {"input": samples},
            calibrator=calibrator,
            refine="none",
            verify=False,
        )
        found.save(output)

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


def _onnxsim(method: str) -> Quantize:
    def quantize(model: Path, samples: Array, batch: int, output: Path) -> None:
        import onnx
        from onnxsim.accuracy import QuantizationConfig
        from onnxsim.accuracy import quantize as run

        config = QuantizationConfig(
            scheme="static",
            calibration_data=list(_batches(samples, batch)),
            calibration_method=method,
        )
        onnx.save(run(str(model), config), output)

    return quantize


def _nncf(model: Path, samples: Array, batch: int, output: Path) -> None:
    import nncf
    import onnx

    batches = list(_batches(samples, batch))
    onnx.save(
        nncf.quantize(onnx.load(model), nncf.Dataset(batches), subset_size=len(batches)), output
    )


def _modelopt(method: str) -> Quantize:
    def quantize(model: Path, samples: Array, batch: int, output: Path) -> None:
        from modelopt.onnx.quantization import quantize as run

        run(
            str(model),
            quantize_mode="int8",
            calibration_data={"input": samples},
            calibration_method=method,
            output_path=str(output),
            calibration_eps=["cpu"],
            high_precision_dtype="fp32",
            log_level="ERROR",
        )

    return quantize


def _batches(samples: Array, size: int) -> Iterator[Mapping[str, Array]]:
    for start in range(0, len(samples), size):
        yield {"input": samples[start : start + size]}


TOOLS: Mapping[str, Tool] = {
    t.name: t
    for t in (
        Tool("oq minmax", "oq", _oq("ort", "minmax")),
        Tool("onnxruntime minmax", "onnxruntime", _onnxruntime("MinMax")),
        Tool("onnxsim minmax", "onnxsim", _onnxsim("minmax")),
        Tool("nncf", "nncf", _nncf),
        Tool("modelopt max", "modelopt", _modelopt("max")),
        Tool("oq percentile", "oq", _oq("ort", "percentile")),
        Tool("oq entropy", "oq", _oq("ort", "entropy")),
        Tool("oq mse", "oq", _oq("ort", "mse")),
        Tool("oq auto", "oq", _oq("ort", "auto")),
        Tool("oq trt entropy", "oq", _oq("trt", "entropy")),
        Tool("onnxruntime percentile", "onnxruntime", _onnxruntime("Percentile")),
        Tool("onnxruntime entropy", "onnxruntime", _onnxruntime("Entropy")),
        Tool("onnxsim entropy", "onnxsim", _onnxsim("entropy")),
        Tool("modelopt entropy", "modelopt", _modelopt("entropy")),
    )
}
