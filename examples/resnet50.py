"""ResNet-50 (He et al. 2016) at full size: from torch to a checked int8 file, with time and memory.

    python resnet50.py                          # random weights, random images: times are real,
    python resnet50.py --weights resnet50.pth   # accuracy is not; torchvision's file fits
    python resnet50.py --data imagenet.npz      # key 'x': float32 (samples, 3, 224, 224)

Needs torch: pip install torch onnxscript.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import oq

BLOCKS = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Per stage: channels of its 3x3 convolutions, number of blocks, stride of the first one."""


class Block(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a skip connection; four times the channels at its output."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * channels
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Axes (batch, channel, height, width)."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet50(nn.Module):
    """Uses torchvision's parameter names, so that its weights load."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for i, (channels, count, stride) in enumerate(BLOCKS, start=1):
            blocks = [Block(inputs, channels, stride)]
            inputs = 4 * channels
            blocks += [Block(inputs, channels, 1) for _ in range(count - 1)]
            self.add_module(f"layer{i}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if isinstance(module, Block):  # each block adds little, so that 16 of them stay tame
                nn.init.constant_(module.bn3.weight, 0.25)

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, 3, height, width) to logits (batch, class)."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for i in range(1, len(BLOCKS) + 1):
            x = self.get_submodule(f"layer{i}")(x)
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def main() -> None:
    """Build, quantize, save, check; prints seconds and peak memory of each step."""
    parser = argparse.ArgumentParser(description="ResNet-50 from torch to a checked int8 file")
    parser.add_argument("--weights", type=Path, help="a torch state dict; else random")
    parser.add_argument("--data", help="calibration data, as for oq quantize --data; else random")
    parser.add_argument("--target", default="trt")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--refine", help="steps of refinement, or none; default: the target's")
    parser.add_argument("--output", type=Path, default=Path("resnet50.int8.onnx"))
    given = parser.parse_args()

    start = time.perf_counter()
    torch.manual_seed(0)
    network = ResNet50().eval()
    if given.weights is not None:
        network.load_state_dict(torch.load(given.weights, weights_only=True))
    images = torch.randn(2, 3, given.size, given.size)
    noise = np.random.default_rng(0).standard_normal((given.samples, 3, given.size, given.size))
    data = {"x": noise.astype(np.float32)} if given.data is None else given.data
    tell("built", start)

    result = oq.quantize(
        network,
        given.target,
        data,
        example_inputs=images,
        samples=None if given.data is None else given.samples,
        refine=given.refine,
    )
    tell("exported and quantized", start)
    result.save(given.output)
    print(result.report)

    for stage, seconds in result.report.seconds.items():
        print(f"  {stage:<12} {seconds:7.2f} s")
    findings = oq.check(given.output, given.target)
    tell(f"saved and checked, {len(findings)} findings", start)


def tell(what: str, start: float) -> None:
    """``what`` with the seconds since ``start`` and the process's peak memory (KiB on Linux)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what}: {time.perf_counter() - start:.1f} s, peak memory {peak:,.0f} MB", flush=True)


if __name__ == "__main__":
    main()
