"""Where the real models and the real data lie, which are not part of the repository."""

import os
from functools import cache
from pathlib import Path

import pytest

import oq

REAL = Path(os.environ.get("OQ_REAL") or Path(__file__).parents[2] / "shared" / "real")
CIFAR, IMAGENET = REAL / "cifar10", REAL / "imagenet"

needs_real = pytest.mark.skipif(not CIFAR.is_dir(), reason="the real data is not here")


def together(model: str, target: str) -> pytest.MarkDecorator:
    """For tests that read the same file of the functions below: one worker makes it once."""
    return pytest.mark.xdist_group(f"{model}-{target}")


@cache
def resnet20(target: str) -> oq.Result:
    """ResNet-20 of CIFAR-10 for ``target``, calibrated on 64 images."""
    return oq.quantize(
        CIFAR / "resnet20.onnx", target, CIFAR / "calib.npz", samples=64, verify=False
    )


@cache
def mobilenet(target: str) -> oq.Result:
    """MobileNet v1 for ``target``, calibrated on 32 photographs."""
    return oq.quantize(
        IMAGENET / "mobilenetv1_025.onnx",
        target,
        IMAGENET / "calib",
        preprocess="imagenet-tf",
        samples=32,
        verify=False,
    )
