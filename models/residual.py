"""A small residual network: ``y = relu(f(x) + shortcut(x))``, BatchNorm after every convolution.

The structure of ResNet (He et al., 2015, https://arxiv.org/abs/1512.03385) at 8x8 pixels.  What a
quantizer has to get right here is the Add: two branches, one of them sometimes a strided 1x1
convolution, meet on one grid.
"""

import torch
from torch import Tensor, nn

from models.examples import example_input

__all__ = ["example_input", "make"]


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    """A convolution without bias, and the BatchNorm that brings one."""
    padding = kernel // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), nn.BatchNorm2d(outputs)
    )


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut: the input itself, or a strided 1x1 projection."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = _conv_bn(inputs, outputs, 3, stride)
        self.second = _conv_bn(outputs, outputs, 3, 1)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, inputs, h, w)`` to ``(batch, outputs, h / stride, w / stride)``."""
        inner = torch.relu(self.first(x))
        return torch.relu(self.second(inner) + self.shortcut(x))


class Residual(nn.Module):
    """Stem, three blocks, global average pool, linear."""

    def __init__(self, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.stem = _conv_bn(1, width, 3, 1)
        self.blocks = nn.Sequential(
            Block(width, width),
            Block(width, 2 * width, stride=2),
            Block(2 * width, 2 * width),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, input: Tensor) -> Tensor:
        """Images ``(batch, 1, 8, 8)`` in [0, 1] to logits ``(batch, 10)``."""
        features = self.blocks(torch.relu(self.stem(input)))
        logits: Tensor = self.head(self.pool(features).flatten(1))
        return logits


def make(seed: int = 0) -> nn.Module:
    """An untrained network whose weights depend on ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Residual()
