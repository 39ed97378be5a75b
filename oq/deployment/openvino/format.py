"""Writes OpenVINO's IR of a Q/DQ file, and proves it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from oq.artifacts.artifact import Contents
from oq.deployment.formats import Format, Given, Made
from oq.deployment.openvino.prove import prove_outputs
from oq.deployment.openvino.prove_stored import prove_stored
from oq.engines.engine import Kernels, is_installed
from oq.engines.openvino import count_kernels, write_ir
from oq.engines.openvino_ir import open_file
from oq.errors import MissingExtra, ModelError
from oq.model.graph import Graph
from oq.model.metadata import target_of
from oq.model.operands import bias_input
from oq.model.qdq import constant, dequantized_by
from oq.numerics.values import Array
from oq.wording import counted

NAMED = 5
"""Layers in float that are named."""


def write(given: Given, path: Path) -> Made:
    """Write the IR and prove it."""
    given = replace(given, model=with_float_biases(given.model))
    try:
        write_ir(given.model, path)
    except MissingExtra as error:
        raise MissingExtra("openvino", "--to openvino") from error
    except ModelError as error:
        raise ModelError(f"{error}{_remedy(given.model)}") from error
    opened = open_file(path)
    outputs = prove_outputs(given, opened)
    if not outputs.passed:
        outputs = replace(outputs, figures=f"{outputs.figures}{_remedy(given.model)}")
    kernels = count_kernels(given.model, path)
    return Made(
        (*prove_stored(given.model, opened.file), outputs),
        dict(_facts(kernels, opened.contents())),
        tuple(_notes(kernels)),
        'openvino.Core().compile_model("{output}", "CPU")',
    )


def check(options: Mapping[str, object]) -> None:
    """Insist on openvino.

    Raises:
        MissingExtra: it is not installed.
    """
    if not is_installed("openvino"):
        raise MissingExtra("openvino", "--to openvino")


def _facts(kernels: Kernels, contents: Contents) -> Iterator[tuple[str, str]]:
    total = kernels.integer + kernels.floating
    yield "int8", f"{kernels.integer} of {counted(total, 'heavy op')} in int8 on this processor"
    yield "OpenVINO", contents.facts.get("OpenVINO", "")


def _notes(kernels: Kernels) -> Iterator[str]:
    if kernels.left:
        more = len(kernels.left) - NAMED
        rest = f", and {more} more" if more > 0 else ""
        yield f"in float: {', '.join(kernels.left[:NAMED])}{rest}"


def _remedy(model: onnx.ModelProto) -> str:
    """What to do about ``model``, where it was made for something else."""
    if target_of(model) == FORMAT.target:
        return ""
    return f"; oq quantize FLOAT.onnx -t {FORMAT.target} makes a file for OpenVINO"


def with_float_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with each bias of 8-bit codes as floats, which are the same values.

    OpenVINO 2026.4 takes such a bias for an operand of its own where the layer gives one pixel, and
    computes something else."""
    graph = Graph(model)
    view, found = graph.view(), dict[str, Array]()
    for node in view.nodes:
        bias = bias_input(node)
        dq = None if bias is None else dequantized_by(view, bias)
        if bias is None or dq is None:
            continue
        codes, scale, zero = (constant(view, dq, slot) for slot in (0, 1, 2))
        if codes is None or codes.dtype not in (np.int8, np.uint8) or scale is None:
            continue
        wide = codes.astype(np.float32)
        found[bias] = np.asarray((wide if zero is None else wide - zero) * scale, np.float32)
    if not found:
        return model
    for bias, values in found.items():
        graph.make_constant(bias, values)
    graph.cleanup()
    return graph.to_model()


FORMAT = Format(
    "openvino",
    "OpenVINO's IR (.xml and .bin), for Intel processors and GPUs; Q/DQ files of any target",
    ".xml",
    "openvino",
    write,
    beside=(".bin",),
    any_target=True,
    check=check,
)
