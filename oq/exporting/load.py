"""A path, a model in memory or a torch module -> a ModelProto."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import onnx

from oq.errors import ModelError, OptionError
from oq.model.data_files import tensors_of
from oq.model.files import load_light, load_model
from oq.model.input_shapes import Shapes, with_shapes
from oq.model.proto_fields import without_empty_ends
from oq.model.sparse import with_dense_constants
from oq.model.stored import is_spilling, is_stored, put_away
from oq.model.structure import check_structure

if TYPE_CHECKING:
    from torch import nn

Model: TypeAlias = "str | Path | onnx.ModelProto | nn.Module"
"""A file, a model in memory, or a torch module, which is exported first (`oq.exporting`)."""


def load(
    model: Model, example_inputs: object = None, shapes: Shapes | None = None
) -> onnx.ModelProto:
    """``model`` read from disk if it is a path, exported if it is a torch module; its inputs have
    ``shapes``.  In a run (:func:`oq.model.stored.spilling`) large weights stay in files.

    Raises:
        ModelError: the file cannot be read, its graph is broken, a model in memory has weights in
            files, or torch cannot export the module.
        OptionError: ``model`` is none of these, its example inputs cannot be used, or ``shapes``
            contradict it.
    """
    if isinstance(model, str | Path):
        model = load_light(model) if is_spilling() else load_model(model)
    elif isinstance(model, onnx.ModelProto):
        _refuse_files(model)
    if isinstance(model, onnx.ModelProto):
        model = put_away(model)
        check_structure(model)
        return with_shapes(without_empty_ends(with_dense_constants(model)), shapes)
    from oq.exporting.export import export_module, is_module

    if not is_module(model):
        raise OptionError(
            f"the model is a {type(model).__name__}; expected a path, an onnx.ModelProto or a "
            "torch.nn.Module (of a Result: result.model)"
        )
    return with_shapes(export_module(cast("nn.Module", model), example_inputs), shapes)


def _refuse_files(model: onnx.ModelProto) -> None:
    """Refuse weights in files: only a path says which folder they must lie in."""
    stored = next((t.name for t in tensors_of(model) if is_stored(t)), None)
    if stored is not None:
        raise ModelError(
            f"the model in memory leaves the values of tensor {stored!r} in a file; give the "
            "model's path, or load it with onnx.load(path)"
        )
