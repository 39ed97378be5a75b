"""Depthwise-separable convolutions with BatchNorm and ReLU6.

The structure of MobileNet (Howard et al., 2017, https://arxiv.org/abs/1704.04861) at 8x8 pixels.
A depthwise kernel sees one channel, so BatchNorm folded into it leaves each channel a range of its
own (5 to 7 times from the narrowest to the widest in the bundled file): the case where one scale
per tensor loses accuracy and one per channel does not.
"""

import torch
from torch import Tensor, nn

from models.examples import example_input

__all__ = ["example_input", "make"]


def _conv_bn_relu6(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    padding = kernel // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


def _separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution as two: depthwise over space, then 1x1 over channels."""
    return nn.Sequential(
        _conv_bn_relu6(inputs, inputs, 3, stride, groups=inputs),
        _conv_bn_relu6(inputs, outputs, 1),
    )


class Separable(nn.Module):
    """Stem, four separable convolutions, global average pool, linear."""

    def __init__(self, width: int = 24, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _conv_bn_relu6(1, width, 3),
            _separable(width, 2 * width),
            _separable(2 * width, 2 * width),
            _separable(2 * width, 4 * width, stride=2),
            _separable(4 * width, 4 * width),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, input: Tensor) -> Tensor:
        """Images ``(batch, 1, 8, 8)`` in [0, 1] to logits ``(batch, 10)``."""
        logits: Tensor = self.head(self.pool(self.features(input)).flatten(1))
        return logits


def make(seed: int = 0) -> nn.Module:
    """An untrained network whose weights depend on ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Separable()
