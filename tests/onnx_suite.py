"""ONNX's own backend suite as models to quantize: every operator, in its odd corners.

The node tests are built by the onnx package itself; the models of ``simple`` lie in it as files.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.loader import load_model_tests

Feeds = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A model of the suite and one sample of its inputs."""

    name: str
    model: onnx.ModelProto
    feeds: Feeds


def node_cases(every: int = 1) -> Iterator[Case]:
    """Each ``every``-th of the tests of single operators, those that are written as functions
    included."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, of casts that overflow on purpose
        found = collect_testcases(None)
    for test in found[::every]:
        if test.model is None or not test.data_sets:
            continue
        values = [np.asarray(v) if isinstance(v, np.generic) else v for v in test.data_sets[0][0]]
        names = [i.name for i in test.model.graph.input]
        yield Case(test.name, test.model, dict(zip(names, values, strict=False)))


def file_cases() -> Iterator[Case]:
    """The models that lie in the onnx package with their data, where all inputs are tensors."""
    for kind in ("simple", "pytorch-converted", "pytorch-operator"):
        for test in load_model_tests(kind=kind):
            folder = Path(test.model_dir or "")
            model = onnx.load(folder / "model.onnx")
            inputs = [i for i in model.graph.input if i.type.HasField("tensor_type")]
            files = [folder / "test_data_set_0" / f"input_{i}.pb" for i in range(len(inputs))]
            if len(inputs) == len(model.graph.input) and all(f.is_file() for f in files):
                arrays = [numpy_helper.to_array(onnx.load_tensor(f)) for f in files]
                named = zip((i.name for i in inputs), arrays, strict=True)
                yield Case(test.name, model, dict(named))


def with_constants(case: Case) -> Case | None:
    """``case`` with all inputs but the first as constants, as weights are in real models; None
    where it has one input only, or others than tensors."""
    first, rest = case.model.graph.input[:1], case.model.graph.input[1:]
    values = [v for i in rest if isinstance(v := case.feeds.get(i.name), np.ndarray)]
    if not rest or len(values) < len(rest) or any(v.dtype == object for v in values):
        return None
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for value, array in zip(rest, values, strict=True):
        model.graph.initializer.append(numpy_helper.from_array(array, value.name))
        model.graph.input.remove(value)
    return Case(f"{case.name} with constants", model, {i.name: case.feeds[i.name] for i in first})
