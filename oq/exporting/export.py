"""Exports a torch module to one ONNX file, after comparing it with torch at two batch sizes.

They are equal if ``max|onnx - torch| <= tolerance * max|torch|`` for every output.
"""

import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from oq.errors import MissingExtra, ModelError, OptionError
from oq.exporting.factory import Source, build, describe
from oq.exporting.trace import evaluating, silence_exporter, trace
from oq.imports import current_folder_importable
from oq.model.files import load_model
from oq.model.scratch import scratch_folder
from oq.numerics.values import Array, Shape, TensorInfo

if TYPE_CHECKING:
    from torch import Tensor, nn

SMALLEST_BATCH = 2
"""torch.export treats a size of 1 as a constant, so a batch of 1 would fix the batch axis."""

TOLERANCE = 1e-3
"""Relative to the largest value of the output; float32 sums in a different order differ by about
1e-6."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """torch and onnxruntime on the same batch.

    ``max_abs_error`` and ``peak`` (``max|torch|``) are in the output's unit; ``sqnr_db`` is
    ``10 log10(sum torch^2 / sum (onnx - torch)^2)``, infinite when nothing differs.
    """

    output: str
    batch: int
    max_abs_error: float
    peak: float
    sqnr_db: float


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The exported file, and its difference from torch; ``size`` is in bytes, external data
    included."""

    path: Path
    opset: int
    size: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    ops: Mapping[str, int]
    comparisons: tuple[Comparison, ...]

    @property
    def max_abs_error(self) -> float:
        """The largest difference over outputs and batches."""
        return max(comparison.max_abs_error for comparison in self.comparisons)

    @property
    def sqnr_db(self) -> float:
        """The lowest signal-to-noise ratio over outputs and batches, in dB."""
        return min(comparison.sqnr_db for comparison in self.comparisons)


def export(
    factory: str | Callable[[], object],
    output: Path | str,
    *,
    batch: int = SMALLEST_BATCH,
    opset: int | None = None,
    seed: int = 0,
    fuse: bool = True,
    tolerance: float = TOLERANCE,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> ExportReport:
    """Write what ``factory`` makes to ``output``, with a dynamic axis ``batch`` on every input.

    Args:
        factory: ``"MODULE:FACTORY"``, ``"FILE.py:FACTORY"`` or a callable; returns an
            ``nn.Module`` or ``(module, example_inputs)``.
        batch: samples the module is traced with; example inputs are cut or repeated to it.
        opset: of the file; None is the exporter's choice.
        seed: of torch while the factory runs, and of the inputs compared.
        fuse: apply the exporter's rewrites, which fold BatchNorm into Conv.  False folds constants
            only, so BatchNormalization nodes stay.
        tolerance: the largest accepted ``max|onnx - torch| / max|torch|``.
        input_names: of the file's inputs; None takes the argument names of ``forward``.
        output_names: of the file's outputs; None takes the exporter's.

    Raises:
        MissingExtra: torch or onnxscript is not installed.
        OptionError: the factory, its example inputs, ``batch``, ``opset`` or ``output`` cannot be
            used.
        ModelError: torch cannot export the module, its batch cannot vary, or the file computes
            something else than torch does.
    """
    _require_torch()
    path = Path(output)
    _check_options(path, batch)
    source = build(factory, seed)
    # Beside the output, so that the move is a rename, and nothing half-written bears its name.
    with (
        current_folder_importable(),
        evaluating(source.module),
        scratch_folder(path.parent) as folder,
    ):
        traced = _resized(source, batch)
        _check_runs(traced)
        program = trace(traced, opset, fuse, input_names, output_names)
        draft = folder / path.name
        with silence_exporter():
            program.save(draft)
        report = _describe_file(draft, source.name, opset)
        varied = _varied(_resized(source, batch + 1), seed)
        comparisons = (*_compare(traced, draft, report), *_compare(varied, draft, report))
        _check_close(source.name, comparisons, tolerance)
        # The model is moved last: whoever sees it sees its data too.
        for file in sorted(Path(folder).iterdir(), key=lambda file: file == draft):
            os.replace(file, path.parent / file.name)
    return replace(report, path=path, comparisons=comparisons)


def is_module(model: object) -> bool:
    """Whether ``model`` is a torch module, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def export_module(module: "nn.Module", example_inputs: object = None) -> onnx.ModelProto:
    """``module`` as a model in memory, exported and compared with torch as by :func:`export`.

    ``example_inputs`` are a tensor, a tuple of tensors or a dict by argument name, each with the
    batch first; None looks for them on the module (``example_inputs``).

    Raises:
        OqError: as :func:`export`.
    """
    name = type(module).__name__
    if example_inputs is None and not hasattr(module, "example_inputs"):
        raise OptionError(
            f"{name} is a torch module and has no example_inputs; pass example_inputs=, a tensor, "
            "a tuple of tensors or a dict by argument name, each with the batch first"
        )

    def factory() -> object:
        return module if example_inputs is None else (module, example_inputs)

    factory.__qualname__ = name
    with tempfile.TemporaryDirectory(prefix="oq-export-") as folder:
        path = Path(folder) / "model.onnx"
        export(factory, path)
        made = load_model(path)
    made.graph.name = name
    return made


def _require_torch() -> None:
    for package in ("torch", "onnxscript"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingExtra("torch", "oq export", package) from error


def _check_options(path: Path, batch: int) -> None:
    if batch < SMALLEST_BATCH:
        raise OptionError(
            f"batch {batch} would fix the batch axis of the export; give {SMALLEST_BATCH} or more"
        )
    if not path.parent.is_dir() or path.is_dir():
        found = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise OptionError(f"cannot write {path}: {found}; give a file in an existing folder")


def _map(source: Source, change: "Callable[[Tensor], Tensor]") -> Source:
    kwargs = {name: change(tensor) for name, tensor in source.kwargs.items()}
    return replace(source, args=tuple(map(change, source.args)), kwargs=kwargs)


def _resized(source: Source, batch: int) -> Source:
    """Example inputs with ``batch`` samples, taken in turn."""
    import torch

    return _map(source, lambda tensor: tensor[torch.arange(batch) % len(tensor)])


def _varied(source: Source, seed: int) -> Source:
    """Each sample of the real inputs times its own factor in [0.5, 1), so that samples differ."""
    import torch

    generator = torch.Generator().manual_seed(seed)

    def vary(tensor: "Tensor") -> "Tensor":
        if not tensor.is_floating_point():
            return tensor
        factors = 0.5 + 0.5 * torch.rand(len(tensor), generator=generator)
        shape = (-1, *(1 for _ in tensor.shape[1:]))
        return tensor * factors.reshape(shape).to(tensor)

    return _map(source, vary)


def _check_runs(source: Source) -> None:
    """Run the module once, so that inputs it cannot take are not reported as export failures."""
    try:
        source.module(*source.args, **source.kwargs)
    except Exception as error:
        tensors = (*source.args, *source.kwargs.values())
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        raise OptionError(
            f"{source.name} does not run on its example inputs of shape {shapes}: {describe(error)}"
        ) from error


def _describe_file(path: Path, name: str, opset: int | None) -> ExportReport:
    """Check the written file, and read back everything but the comparisons."""
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        kind = ModelError if opset is None else OptionError
        asked = "" if opset is None else f" at opset {opset}"
        raise kind(f"torch cannot export {name}{asked}: {describe(error)}") from error
    model = onnx.load(path, load_external_data=False)
    found = next(entry.version for entry in model.opset_import if entry.domain == "")
    if opset is not None and found != opset:
        raise OptionError(
            f"torch cannot export {name} at opset {opset}: the file would be opset {found}; "
            "leave opset out to take the exporter's own"
        )
    inputs = tuple(_tensor(value) for value in model.graph.input)
    for tensor in inputs:
        if not tensor.shape or isinstance(tensor.shape[0], int):
            raise ModelError(
                f"the batch of {name} cannot vary: input {tensor.name!r} is exported with shape "
                f"{tensor.shape}; forward() must not use the batch size as a Python number "
                "(int(), a loop over samples, a branch)"
            )
    return ExportReport(
        path=path,
        opset=found,
        size=sum(file.stat().st_size for file in path.parent.iterdir()),
        inputs=inputs,
        outputs=tuple(_tensor(value) for value in model.graph.output),
        ops=dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        comparisons=(),
    )


def _tensor(value: onnx.ValueInfoProto) -> TensorInfo:
    tensor = value.type.tensor_type
    shape: Shape = tuple(
        axis.dim_value if axis.HasField("dim_value") else axis.dim_param or None
        for axis in tensor.shape.dim
    )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return TensorInfo(value.name, dtype.name, shape)


def _compare(source: Source, path: Path, report: ExportReport) -> Iterator[Comparison]:
    """Run torch and onnxruntime on the inputs of ``source``."""
    import torch
    from torch.utils import _pytree

    from oq.model.session import run

    tensors = (*source.args, *source.kwargs.values())
    if len(tensors) != len(report.inputs):
        listed = ", ".join(tensor.name for tensor in report.inputs) or "none"
        raise ModelError(
            f"{source.name} took {len(tensors)} example inputs but exports {len(report.inputs)} "
            f"({listed}); leave out the inputs that forward() does not use"
        )
    feeds = {
        info.name: tensor.cpu().numpy() for info, tensor in zip(report.inputs, tensors, strict=True)
    }
    names = tuple(info.name for info in report.outputs)
    got = run(path, feeds, names)
    results = _pytree.tree_leaves(source.module(*source.args, **source.kwargs))
    expected = [result for result in results if isinstance(result, torch.Tensor)]
    if len(expected) != len(names):
        raise ModelError(
            f"{source.name} returns {len(expected)} tensors but exports {len(names)} outputs "
            f"({', '.join(names) or 'none'}); return each tensor once"
        )
    for name, tensor in zip(names, expected, strict=True):
        yield _difference(name, len(tensors[0]), tensor.double().cpu().numpy(), got[name])


def _difference(output: str, batch: int, expected: Array, got: Array) -> Comparison:
    """Compare two arrays of the same axes; values that are not finite must be the same in both."""
    got = got.astype(np.float64)
    if got.shape != expected.shape:
        raise ModelError(
            f"output {output!r} has shape {got.shape} in ONNX and {expected.shape} in torch "
            f"for a batch of {batch}; sizes that depend on the batch must be computed from it"
        )
    finite = np.isfinite(expected)
    same = np.array_equal(got[~finite], expected[~finite], equal_nan=True)
    error = got[finite] - expected[finite] if same else np.full(1, math.inf)
    noise, signal = float(np.square(error).sum()), float(np.square(expected[finite]).sum())
    return Comparison(
        output=output,
        batch=batch,
        max_abs_error=float(np.abs(error).max(initial=0.0)),
        peak=float(np.abs(expected[finite]).max(initial=0.0)),
        sqnr_db=_decibels(signal, noise),
    )


def _decibels(signal: float, noise: float) -> float:
    """``10 log10(signal / noise)`` of two sums of squares; infinite without noise."""
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def _check_close(name: str, comparisons: Sequence[Comparison], tolerance: float) -> None:
    for found in comparisons:
        # Written so that a NaN error fails.
        if not found.max_abs_error <= tolerance * found.peak:
            raise ModelError(
                f"the export of {name} differs from torch: output {found.output!r} is off by "
                f"{found.max_abs_error:.3g} of at most {found.peak:.3g} (SQNR "
                f"{found.sqnr_db:.1f} dB, batch {found.batch}); accepted is "
                f"{tolerance:g} of the largest value"
            )


def export_lines(report: ExportReport) -> Iterator[str]:
    """The report as text."""
    yield f"{report.path}: opset {report.opset}, {report.size:,} bytes"
    for info in (*report.inputs, *report.outputs):
        yield f"  {info.name}: {info.dtype} {list(info.shape or ())}"
    for found in report.comparisons:
        yield (
            f"  {found.output} at batch {found.batch}: equals torch within "
            f"{found.max_abs_error:.2g} (peak {found.peak:.3g}, SQNR {found.sqnr_db:.1f} dB)"
        )
