"""Runs ``torch.onnx.export`` silently, with a dynamic batch axis."""

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from oq.errors import ModelError
from oq.exporting.factory import Source, describe

if TYPE_CHECKING:
    import onnx_ir as ir
    from torch import nn
    from torch.onnx import ONNXProgram


def trace(
    source: Source,
    opset: int | None,
    fuse: bool,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
) -> "ONNXProgram":
    """The exported program: constants folded, fused if ``fuse``, without the exporter's metadata.

    Raises:
        ModelError: torch cannot export the module, or its batch cannot vary.
    """
    import torch

    try:
        with silence_exporter():
            program = torch.onnx.export(
                source.module,
                source.args,
                kwargs=dict(source.kwargs),
                dynamic_shapes=_batch_axes(source, torch.export.Dim("batch")),
                input_names=input_names,
                output_names=output_names,
                opset_version=opset,
                dynamo=True,
                optimize=fuse,
                verbose=False,
            )
            if program is None:
                raise ModelError(f"torch exported nothing for {source.name}")
            if not fuse:
                _fold_constants(program)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
        raise ModelError(f"torch cannot export {source.name}: {_root_cause(error)}") from error
    _strip_metadata(program)
    return program


def _batch_axes(source: Source, size: object) -> dict[str, Any]:
    """``{0: size}`` for every input, nested as ``torch.export`` wants it."""
    axes = {0: size}
    if source.kwargs:
        return dict.fromkeys(source.kwargs, axes)
    # Bound to the signature, because torch nests what *args takes.
    bound = inspect.signature(source.module.forward).bind(*source.args).arguments
    return {
        name: tuple(axes for _ in value) if isinstance(value, tuple) else axes
        for name, value in bound.items()
    }


def _fold_constants(program: "ONNXProgram") -> None:
    """What ``optimize=True`` does, less the rewrites that fuse nodes."""
    import onnxscript.optimizer
    from onnx_ir.passes import common

    onnxscript.optimizer.fold_constants(program.model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(program.model)
    common.DeduplicateInitializersPass()(program.model)
    common.CommonSubexpressionEliminationPass()(program.model)
    onnxscript.optimizer.remove_unused_nodes(program.model)


def _root_cause(error: BaseException) -> str:
    """The innermost error's line: the exporter wraps it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return describe(error)


def _strip_metadata(program: "ONNXProgram") -> None:
    """Drop the exporter's notes: stack traces of this machine, several times the graph's size."""
    model = program.model
    graphs: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for graph in graphs:
        graph.metadata_props.clear()
        values = [*graph.inputs, *model.graph.initializers.values()]
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            values.extend(node.outputs)
        for value in values:
            value.metadata_props.clear()
    model.metadata_props.clear()


@contextlib.contextmanager
def silence_exporter() -> Iterator[None]:
    """Silence the exporter, which prints, warns and logs; its errors are exceptions."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def evaluating(module: "nn.Module") -> Iterator[None]:
    """Evaluation mode without gradients; the mode of each submodule is restored afterwards."""
    import torch

    modes = [(child, child.training) for child in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for child, training in modes:
            child.training = training
