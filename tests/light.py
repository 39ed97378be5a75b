"""The light models of the onnx package: real structures, weights that are generated when run."""

from pathlib import Path

import onnx
import onnx.backend.test

FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "light"

LIGHT = ("squeezenet", "shufflenet", "inception_v1", "inception_v2", "resnet50", "densenet121")
HUGE = ("bvlc_alexnet", "zfnet512", "vgg19")
"""250 to 570 MB of weights once they are generated."""


def light(name: str) -> Path:
    return FOLDER / f"light_{name}.onnx"
