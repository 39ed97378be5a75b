"""The tables of docs/targets/ort.md: a sentence transformer, with weights alone or all in int8.

    python -m benchmarks.transformer MODEL.onnx CALIB.npz EVAL.npz

The model takes ``input_ids``, ``attention_mask`` and ``token_type_ids``, axes (sentence, token),
and gives one vector per token first.  Every row is a file, its size, and on EVAL.npz the SQNR over
the tokens that are there and *nearest*: the share of sentences whose nearest other sentence, by the
cosine of mean vectors, is that of the float model.  Times are the least of :data:`RUNS` runs on one
thread, all files in turn.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import oq
from oq.numerics.values import Array

RUNS = 15
SHAPES = ((1, 16), (4, 64))
"""Sentences and tokens that are timed."""

Make = Callable[[Path, Mapping[str, Array], Path], None]
"""(float model, calibration samples, file to write)"""


def ours(*, data: bool = False, refine: str | None = None, **settings: object) -> Make:
    """A row of oq with these ``settings``."""

    def make(model: Path, samples: Mapping[str, Array], output: Path) -> None:
        given = dict(samples) if data else None
        oq.quantize(model, "ort", given, settings=settings, refine=refine, verify=False).save(
            output
        )

    return make


def blocks(bits: int, block: int, level: int | None) -> Make:
    """A row of onnxruntime's ``matmul_nbits_quantizer``."""

    def make(model: Path, samples: Mapping[str, Array], output: Path) -> None:
        from onnxruntime.quantization import matmul_nbits_quantizer as tool

        shape = {"bits": bits, "block_size": block, "is_symmetric": False, "accuracy_level": level}
        config = tool.DefaultWeightOnlyQuantConfig(**shape)
        work = tool.MatMulNBitsQuantizer(onnx.load(model), algo_config=config, **shape)
        work.process()
        onnx.save(work.model.model, output)

    return make


def run_time(model: Path, samples: Mapping[str, Array], output: Path) -> None:
    """The row of onnxruntime's ``quantize_dynamic``."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(model, output, weight_type=QuantType.QInt8, per_channel=True)


ROWS: Mapping[str, Make] = {
    "oq, weights=int4, block 32": ours(weights="int4"),
    "oq, weights=int4, block 32, GPTQ": ours(data=True, weights="int4"),
    "other tool, 4 bits, block 32": blocks(4, 32, None),
    "other tool, 4 bits, block 32, level 4": blocks(4, 32, 4),
    "oq, weights=int8, block 32": ours(weights="int8"),
    "other tool, 8 bits, block 32": blocks(8, 32, None),
    "other tool, 8 bits, block 32, level 4": blocks(8, 32, 4),
    "oq, weights=int8, block 128": ours(weights="int8", block=128),
    "other tool, 8 bits, block 128, level 4": blocks(8, 128, 4),
    "oq, dynamic=on": ours(dynamic="on"),
    "oq, ranges from data, no refinement": ours(data=True, refine="none"),
    "oq, ranges from data, refined": ours(data=True),
    "other tool, quantize_dynamic": run_time,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One file, loaded."""

    name: str
    megabytes: float
    session: onnxruntime.InferenceSession


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transformer")
    for name in ("model", "calib", "eval"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    calib, seen = (_read(path) for path in (given.calib, given.eval))
    with tempfile.TemporaryDirectory() as folder:
        rows = [_open("float", given.model)]
        for i, (name, make) in enumerate(ROWS.items()):
            path = Path(folder) / f"{i}.onnx"
            make(given.model, calib, path)
            rows.append(_open(name, path))
        heads = " | ".join(f"{a} x {b} tokens, ms" for a, b in SHAPES)
        print(f"| file | size MB | SQNR dB | nearest | {heads} |\n|---|---|---|---|---|---|")
        times = _measure(rows, seen)
        exact = _vectors(rows[0], seen)
        for row in rows:
            words = [f"{row.megabytes:.1f}", *_quality(exact, _vectors(row, seen), seen)]
            words += [f"{t:.1f}" for t in times[row.name]]
            print(f"| {row.name} | {' | '.join(words)} |", flush=True)


def _read(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _open(name: str, path: Path) -> Row:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return Row(name, path.stat().st_size / 1e6, session)


def _measure(rows: list[Row], seen: Mapping[str, Array]) -> dict[str, list[float]]:
    """Row -> the least milliseconds for each of :data:`SHAPES`."""
    least = {row.name: [np.inf] * len(SHAPES) for row in rows}
    for _ in range(RUNS):
        for row in rows:
            for i, (sentences, tokens) in enumerate(SHAPES):
                feeds = {k: v[:sentences, :tokens] for k, v in seen.items()}
                start = time.perf_counter()
                row.session.run(None, feeds)
                spent = 1e3 * (time.perf_counter() - start)
                least[row.name][i] = min(least[row.name][i], spent)
    return least


def _vectors(row: Row, seen: Mapping[str, Array], batch: int = 64) -> Array:
    """The vectors of all tokens, axes (sentence, token, feature)."""
    count = len(next(iter(seen.values())))
    parts = [
        row.session.run(None, {k: v[i : i + batch] for k, v in seen.items()})[0]
        for i in range(0, count, batch)
    ]
    return np.concatenate(parts)


def _quality(exact: Array, found: Array, seen: Mapping[str, Array]) -> tuple[str, str]:
    there = seen["attention_mask"][..., None]
    noise = float((((exact - found) ** 2) * there).sum())
    if noise == 0:
        return "", ""
    decibels = 10 * np.log10(float((exact**2 * there).sum()) / noise)
    same = _nearest(exact, there) == _nearest(found, there)
    return f"{decibels:.2f}", f"{same.mean():.3f}"


def _nearest(vectors: Array, there: Array) -> Array:
    """Of each sentence, the number of the one with the nearest mean vector."""
    means = (vectors * there).sum(axis=1) / there.sum(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    alike = means @ means.T
    np.fill_diagonal(alike, -1.0)
    return np.asarray(alike.argmax(axis=1))


if __name__ == "__main__":
    main()
