"""An ONNX file as a torch module: the door to what imports torch."""

from typing import TYPE_CHECKING

from oq.errors import MissingExtra
from oq.exporting.load import Model, load
from oq.model.graph import Graph
from oq.model.input_shapes import Shapes

if TYPE_CHECKING:
    from oq.training.module import OnnxModule


def to_torch(model: Model, *, shape: Shapes | None = None) -> "OnnxModule":
    """``model``, float or Q/DQ, as a ``torch.nn.Module`` whose parameters bear the names of the
    initializers (:mod:`oq.training.names`).

    It computes what the file says without any fusion, as onnxruntime does with its optimizations
    off.  Quantizers have gradients (:mod:`oq.training.ops_quantize`).

    Raises:
        MissingExtra: torch is not installed.
        ModelError: the file cannot be read, or an operator has no form in torch here.
    """
    need_torch("oq.to_torch")
    from oq.training.module import OnnxModule
    from oq.training.program import compile_view

    view = Graph(load(model, shapes=shape)).view()
    return OnnxModule(view, compile_view(view))


def need_torch(feature: str) -> None:
    """Insist on torch.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", feature) from error
    del torch
