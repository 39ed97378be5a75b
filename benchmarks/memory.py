"""Resident peaks and times of processes by the size of a model: ``python -m benchmarks.memory --mb
3000``.

The model is a chain of products with a bias and a ReLU, its weights in external data.  Every figure
is of a process of its own: its peak, minus that of one that only imports oq, and its seconds, also
as a multiple of those that :mod:`benchmarks.floor` takes.  Times are the best of several.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import oq
from benchmarks.floor import ROUNDED

WIDTH = 1024

PEAK = "\nprint(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"

FLOOR = "from benchmarks.floor import floor; floor({what!r}, {model!r}, {data!r})"

QUANTIZE = "import oq; oq.quantize({model!r}, 'ort', {given}).save({output!r})"

RUNS: Mapping[str, str] = {
    "import": "import oq.cli, oq.pipeline",
    "onnxruntime": "import numpy as np, onnxruntime as ort; "
    "ort.InferenceSession({model!r}).run(None, {{'x': np.load({data!r})['x'][:1]}})",
    "int8": QUANTIZE.replace("{given}", "{data!r}, refine='none', verify=False"),
    "int8, verified": QUANTIZE.replace("{given}", "{data!r}, refine='none'"),
    "int8, refined": QUANTIZE.replace("{given}", "{data!r}"),
    "weights=int8": QUANTIZE.replace("{given}", "settings={{'weights': 'int8'}}"),
    "weights=int4": QUANTIZE.replace("{given}", "settings={{'weights': 'int4'}}"),
}
"""What a process does -> its code."""


@dataclass(frozen=True, slots=True)
class Peak:
    """Of a process: MB of resident memory, and seconds."""

    mb: float
    seconds: float


def make_model(folder: Path, mb: float, width: int = WIDTH) -> Path:
    """A model of ``mb`` MB at ``folder``/model.onnx, written layer by layer, and data.npz."""
    random, path = np.random.default_rng(0), folder / "model.onnx"
    nodes, weights, x = [], [], "x"
    with (folder / "model.onnx.data").open("wb") as file:
        for i in range(round(mb * 1e6 / (4 * width * width))):
            values = random.standard_normal((width, width), np.float32) * np.float32(width**-0.5)
            tensor = TensorProto(
                name=f"w{i}", data_type=1, dims=values.shape, data_location=TensorProto.EXTERNAL
            )
            place = {"location": "model.onnx.data", "offset": file.tell(), "length": values.nbytes}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
            file.write(values.data)
            bias = random.normal(0, 0.1, width).astype(np.float32)
            weights += [tensor, numpy_helper.from_array(bias, f"b{i}")]
            nodes += [
                helper.make_node("MatMul", [x, f"w{i}"], [f"m{i}"], f"MatMul{i}"),
                helper.make_node("Add", [f"m{i}", f"b{i}"], [f"a{i}"], f"Add{i}"),
                helper.make_node("Relu", [f"a{i}"], [f"r{i}"], f"Relu{i}"),
            ]
            x = f"r{i}"
    ends = [[helper.make_tensor_value_info(t, 1, ["n", width])] for t in ("x", x)]
    graph = helper.make_graph(nodes, "large", ends[0], ends[1], weights)
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    np.savez(folder / "data.npz", x=random.standard_normal((8, width), np.float32))
    return path


def peak(what: str, model: Path, code: str | None = None) -> Peak:
    """Of the run ``what`` of :data:`RUNS`, or of ``code``, in a process of its own."""
    folder = model.parent
    data, output = str(folder / "data.npz"), str(folder / "out.onnx")
    code = (code or RUNS[what]).format(what=what, model=str(model), data=data, output=output)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code + PEAK],
        env=os.environ | {"PYTHONPATH": str(Path(oq.__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Peak(int(done.stdout.split()[-1]) * 1024 / 1e6, time.perf_counter() - start)


def best(what: str, model: Path, times: int, code: str | None = None) -> Peak:
    """The fastest of several."""
    return min((peak(what, model, code) for _ in range(times)), key=lambda found: found.seconds)


def table(mb: float, runs: Sequence[str], times: int = 1) -> Iterator[str]:
    """One row per run, for a model of ``mb`` MB."""
    yield "| run | MB | of the model's size | s | floor, s | ratio |"
    yield "|---|---|---|---|---|---|"
    with tempfile.TemporaryDirectory(prefix="oq-memory-") as folder:
        model = make_model(Path(folder), mb)
        base = best("import", model, times)
        yield f"| import oq | 0 | 0 | {base.seconds:.1f} | | |"
        for what in runs:
            found, cells = best(what, model, times), "| |"
            more = found.mb - base.mb
            if what in ROUNDED:
                least = best(what, model, times, FLOOR).seconds
                cells = f"{least:.1f} | {found.seconds / least:.1f} |"
            yield f"| {what} | {more:,.0f} | {more / mb:.2f} | {found.seconds:.1f} | {cells}"


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--mb", type=float, default=200)
    arguments.add_argument("--without", nargs="*", default=[], help="runs to leave out")
    arguments.add_argument("--times", type=int, default=1, help="each, of which the best counts")
    asked = arguments.parse_args()
    runs = [w for w in RUNS if w not in ("import", *asked.without)]
    for line in table(asked.mb, runs, asked.times):
        print(line, flush=True)


if __name__ == "__main__":
    main()
