"""The example input every model of this folder is exported with."""

import torch
from torch import Tensor


def example_input(batch: int = 2, seed: int = 0) -> Tensor:
    """Random images ``(batch, 1, 8, 8)`` float32 in [0, 1)."""
    return torch.rand(batch, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
