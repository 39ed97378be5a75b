"""What OpenVINO's files hold beside the Q/DQ file: scales, zero points, constants."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from oq.artifacts.artifact import GridUse
from oq.artifacts.onnx_file import model_contents
from oq.artifacts.openvino_xml import CONSTANT, File
from oq.deployment.formats import Proof
from oq.wording import counted


def prove_stored(model: onnx.ModelProto, file: File) -> tuple[Proof, ...]:
    """The proofs that ``file`` holds the scales, zero points and constants of ``model``."""
    mine, theirs = model_contents(model), file.contents()
    known = {_key(use) for use in (*theirs.activations, *theirs.weights)}
    uses = [u for u in (*mine.activations, *mine.weights) if u.scale and u.dtype in COMPARED]
    lost = [use.tensor for use in uses if known.isdisjoint(_keys(use))]
    what = f"scales and zero points of {counted(len(uses), 'tensor')}"
    grids = f"{len(lost)} differ, {lost[0]!r} first" if lost else "all equal"
    values = _constants(model, file)
    wrong = [name for name, equal in values.items() if not equal]
    said = f"{wrong[0]!r} differs" if wrong else "all equal"
    proofs = (
        Proof(what, grids, not lost),
        Proof(f"values of {counted(len(values), 'constant')}", said, not wrong),
    )
    return tuple(p for p, some in zip(proofs, (uses, values), strict=True) if some)


COMPARED = frozenset({"int4", "uint4", "int8", "uint8", "int32"})


def _keys(use: GridUse) -> tuple[tuple[object, ...], ...]:
    """What may stand for ``use`` there: its grid; without the zero point, which OpenVINO works out;
    that of codes which count from 0, as a FakeQuantize alone has."""
    point = use.zero_point
    least = int(np.iinfo(use.dtype).min) if use.dtype in LEVELS else 0
    counted_from_0 = None if point is None else (point[0] - least, point[1] - least)
    found = replace(use, dtype=LEVELS.get(use.dtype, use.dtype), zero_point=counted_from_0)
    return _key(use), _key(replace(use, zero_point=None)), _key(found)


LEVELS: Mapping[str, str] = {"int8": "256 levels", "uint8": "256 levels"}
"""Types of 8 bits -> what the reader calls codes that have no type."""


def _key(use: GridUse) -> tuple[object, ...]:
    ends = () if use.scale is None else (f"{use.scale[0]:.5g}", f"{use.scale[1]:.5g}")
    return use.dtype, *ends, use.zero_point


STORED = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.INT8, onnx.TensorProto.UINT8})
"""Types of constants that OpenVINO stores as they are."""


def _constants(model: onnx.ModelProto, file: File) -> Mapping[str, bool]:
    """Constant of 8 bits or float32 that both have by one name and of one size -> whether it is
    equal."""
    layers = [layer for network in file.networks for layer in network.layers.values()]
    held = {layer.name: layer for layer in layers if layer.kind in CONSTANT}
    found = {}
    for tensor in model.graph.initializer:
        if tensor.data_type in STORED:
            mine = numpy_helper.to_array(tensor).tobytes()
            layer = held.get(tensor.name)
            if layer is not None and len(file.bytes_of(layer)) == len(mine):
                found[tensor.name] = bytes(file.bytes_of(layer)) == mine
    return found
