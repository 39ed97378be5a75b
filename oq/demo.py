"""Quantizes and verifies the bundled models, one table row each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from oq import pipeline
from oq.comparison.compare import Verification
from oq.errors import OptionError
from oq.model.files import check_writable, replacing
from oq.planning import registry

CALIBRATION, EVALUATION = "digits_calib.npz", "digits_eval.npz"


@dataclass(frozen=True, slots=True)
class DemoRow:
    """One bundled model on one target."""

    model: str
    target: str
    verification: Verification
    bytes_before: int
    bytes_after: int
    output: str


def run_demo(folder: Path, watch: Callable[[str], None]) -> Iterable[DemoRow]:
    """Quantize every bundled model for every target into ``folder`` and evaluate it."""
    folder.mkdir(parents=True, exist_ok=True)
    with as_file(files("oq.bundled")) as bundled:
        for model in sorted(bundled.glob("*.onnx")):
            for target in registry.names("targets"):
                watch(f"{model.stem} for {target}")
                output = folder / f"{model.stem}.{target}.onnx"
                check_writable(output)
                result = pipeline.quantize(model, target, str(bundled / CALIBRATION), verify=False)
                result.save(output)
                found = pipeline.verify(model, output, str(bundled / EVALUATION))
                yield DemoRow(
                    model.stem,
                    target,
                    found,
                    result.report.bytes_before,
                    result.report.bytes_after,
                    str(output),
                )


DOCUMENTED = {
    "model.onnx": "residual.onnx",
    "calib.npz": CALIBRATION,
    "eval.npz": EVALUATION,
}
"""Name in the documentation -> bundled file."""


def copy_files(folder: Path) -> list[Path]:
    """Write the model and the data of the documentation's examples into ``folder``.

    Raises:
        OptionError: one of them is there already, or cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / name for name in DOCUMENTED]
    for path in written:
        if path.exists():
            raise OptionError(f"{str(path)!r} exists; give another folder with -o")
        check_writable(path)
    for path, name in zip(written, DOCUMENTED.values(), strict=True):
        with replacing(path) as beside:
            beside.write_bytes(files("oq.bundled").joinpath(name).read_bytes())
    return written


def demo_lines(rows: Iterable[DemoRow]) -> Iterable[str]:
    """The result table, 80 columns."""
    yield (
        f"{'model':<12} {'target':<8} {'float %':>7} {'int8 %':>7} {'agree %':>7} {'SQNR dB':>8} "
        f"{'integer':>7} {'latency':>7} {'size':>5}"
    )
    for row in rows:
        found = row.verification
        errors, votes = found.judged, found.judged.classes[0]
        share = f"{found.kernels.share:.0f}%" if found.mode == "deployed" else ""
        ratio = "" if found.latency is None else f"{found.latency.ratio:.2f}x"
        before, after = votes.top1_float or 0, votes.top1 or 0
        yield (
            f"{row.model:<12} {row.target:<8} {before:>7.2f} {after:>7.2f} "
            f"{votes.agreement:>7.2f} {errors.outputs[0].sqnr_db:>8.1f} {share:>7} "
            f"{ratio:>7} {100 * row.bytes_after / row.bytes_before:>4.0f}%"
        )
    yield ""
    yield "integer, latency: share of integer kernels, and time relative to float, of files"
    yield "that run here: onnxruntime's, OpenVINO's where it is installed, and the DPU's"
    yield "in a simulator, which is not timed."
