"""What is written, and how: the values that the format hands to its parts."""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from oq.deployment.coreml.image import ImageInput
from oq.deployment.coreml.stored import Codes, Palette
from oq.deployment.coreml.weights_only import Kind
from oq.model.view import GraphView


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the format, checked."""

    ios: int
    half: bool
    kind: Kind | None
    image: ImageInput | None
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """What is written: the ``model`` (Q/DQ, or prepared float) as ``view`` shows it, with
    ``compressed`` weights."""

    model: onnx.ModelProto
    view: GraphView
    compressed: Mapping[str, Codes | Palette]
