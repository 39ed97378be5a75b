"""Compare all calibrators with one pass over the data: the cache has the statistics that each
needs.

python compare_calibrators.py MODEL.onnx TARGET CALIB.npz EVAL.npz
"""

import sys
import tempfile
from pathlib import Path

import oq
from oq.plugin import names


def main(model: str, target: str, calib: str, evaluation: str) -> None:
    """Print SQNR and top-1 of ``model`` with every calibrator, without refinement."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "oq.cache"
        oq.calibrate(model, target, calib, cache)
        print(f"{'calibrator':<16} {'SQNR dB':>8} {'top-1 %':>8} {'agree %':>8}")
        for name in names("calibrators"):
            if name == "fixed":  # for ranges known beforehand
                continue
            # No data: the statistics are all there.
            result = oq.quantize(model, target, cache=cache, calibrator=name, refine="none")
            found = oq.verify(model, result.model, evaluation, latency=False).literal
            top1 = found.classes[0].top1 if found.classes else None
            agree = f"{found.classes[0].agreement:.2f}" if found.classes else ""
            said = "" if top1 is None else f"{top1:.2f}"
            print(f"{name:<16} {found.outputs[0].sqnr_db:>8.1f} {said:>8} {agree:>8}")


if __name__ == "__main__":
    main(*sys.argv[1:])
