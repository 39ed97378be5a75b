"""``oq deploy FILE.int8.onnx --to qoperator``: the format."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from oq.checks.int32 import steps_overflow
from oq.deployment.formats import Format, Given, Made
from oq.deployment.qoperator.convert import OPERATORS, PLATFORMS, Converted, convert
from oq.deployment.qoperator.prove import prove
from oq.errors import ModelError, OptionError
from oq.model.files import PROTOBUF_LIMIT, model_bytes
from oq.model.graph import Graph
from oq.model.ops import has_weight
from oq.model.qdq import dequantized_by
from oq.model.qoperators import BY_NAME, COMPUTING, MICROSOFT, qoperator
from oq.wording import counted

NO_KERNELS = (
    "the file has no operator between DequantizeLinear and QuantizeLinear that has an integer "
    "form{why}; docs/formats/qoperator.md lists them, and oq quantize FLOAT.onnx -t ort makes a "
    "file of them"
)

ALREADY = "the file holds integer operators already, and no more Q/DQ that they could stand for"


def write(given: Given, path: Path) -> Made:
    """Write the model of ``given`` in integer operators to ``path``, and compare it.

    Raises:
        ModelError: it has no operator with an integer form, or is too large for one file.
        OptionError: an option has a value that is not known.
    """
    options = {name: str(given.options[name]) for name in FORMAT.options}
    converted = convert_checked(given.model, **options)
    model = converted.model
    if model_bytes(model) >= PROTOBUF_LIMIT:
        raise ModelError("the model is larger than 2 GB, which one ONNX file cannot hold")
    path.write_bytes(model.SerializeToString(deterministic=True))
    proofs = prove(given.model, onnx.load(path), lambda: given.samples.batches(1))
    return Made(proofs, facts_of(converted), next_step='onnxruntime.InferenceSession("{output}")')


def convert_checked(model: onnx.ModelProto, operators: str, platform: str) -> Converted:
    """:func:`convert` with what it may be asked for.

    Raises:
        ModelError: there is nothing to convert, or onnxruntime's operators would overflow.
        OptionError: ``operators`` or ``platform`` is not known.
    """
    check({"operators": operators, "platform": platform})
    for node, said in steps_overflow(Graph(model).view()):
        raise ModelError(
            f"{node!r} has no integer form: {said}; its scales are not of real data: calibrate on "
            f"such (oq quantize FLOAT.onnx -t ort -d DATA), or keep it in float (--keep-float)"
        )
    converted = convert(model, operators, platform)
    if not converted.kernels:
        done = any(qoperator(n.op_type, n.domain) for n in model.graph.node)
        raise ModelError(ALREADY if done else NO_KERNELS.format(why=_why_none(model)))
    return converted


def _why_none(model: onnx.ModelProto) -> str:
    """The first layer of a Q/DQ model, and what it lacks."""
    view = Graph(model).view()
    for node in view.nodes:
        if not has_weight(node.op) or dequantized_by(view, node.inputs[0]) is None:
            continue
        if node.op not in COMPUTING:
            return f": {node.op} {node.name!r} has none"
        return (
            f": {node.op} {node.name!r} has a result that is not quantized again, which an integer "
            "operator could not give faster than the float one"
        )
    return ""


def check(options: Mapping[str, Any]) -> None:
    """Refuse values of options that are not known.

    Raises:
        OptionError: one is not.
    """
    for name, known in (("operators", OPERATORS), ("platform", PLATFORMS)):
        if options[name] not in known:
            raise OptionError(
                f"--{name} {options[name]!r} is unknown; available: {', '.join(known)}"
            )


def facts_of(converted: Converted) -> Mapping[str, str]:
    """The operators by domain, and what is left of the Q/DQ."""
    counts = sorted(converted.count().items())
    ours = [f"{n} {op}" for op, n in counts if not _is_microsoft(op)]
    theirs = [f"{n} {op}" for op, n in counts if _is_microsoft(op)]
    return {
        "kernels": counted(sum(n for _, n in counts), "integer operator"),
        "onnx": ", ".join(ours) or "none of them",
        "microsoft": ", ".join(theirs) or "none of them",
        "moves": f"{counted(converted.moved, 'node')} on codes",
        "left": f"{converted.pairs} QuantizeLinear and DequantizeLinear around float nodes",
    }


def _is_microsoft(op: str) -> bool:
    return op in BY_NAME and BY_NAME[op].domain == MICROSOFT


FORMAT = Format(
    name="qoperator",
    summary="ONNX with integer operators in place of Q/DQ (onnxruntime, and others that read them)",
    suffix=".qoperator.onnx",
    target="ort",
    write=write,
    ending=".onnx",
    others=("coreml", "openvino", "trt"),
    options=("operators", "platform"),
    check=check,
)
