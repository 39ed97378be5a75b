"""A transformer encoder over sixteen 2x2 patches: ``softmax(q k^T / sqrt(d)) v``.

The structure of ViT (Dosovitskiy et al., 2020, https://arxiv.org/abs/2010.11929), normalization
first.  Attention is spelled out, so that the export shows the MatMul and Softmax a quantizer must
place its grids around, whatever the opset has for attention as a whole.
"""

import math

import torch
from torch import Tensor, nn

from models.examples import example_input

__all__ = ["example_input", "make"]

SIDE = 8
PATCH = 2
TOKENS = (SIDE // PATCH) ** 2


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        """``(batch, token, width)`` to ``(batch, head, token, width / heads)``."""
        batch, tokens, width = x.shape
        return x.reshape(batch, tokens, self.heads, width // self.heads).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, token, width)`` to the same."""
        query, key, value = (self._split(f(x)) for f in (self.query, self.key, self.value))
        scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(query.shape[-1])
        mixed = torch.matmul(torch.softmax(scores, dim=-1), value)
        joined: Tensor = self.out(mixed.transpose(1, 2).flatten(-2))
        return joined


class Layer(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, token, width)`` to the same."""
        attended: Tensor = x + self.dropout(self.attention(self.attention_norm(x)))
        mixed: Tensor = attended + self.dropout(self.mlp(self.mlp_norm(attended)))
        return mixed


class Transformer(nn.Module):
    """Patch embedding with learned positions, three layers, mean over tokens, linear."""

    def __init__(
        self, width: int = 48, heads: int = 4, depth: int = 3, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(PATCH * PATCH, width)
        self.positions = nn.Parameter(0.02 * torch.randn(1, TOKENS, width))
        self.layers = nn.Sequential(*(Layer(width, heads, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, input: Tensor) -> Tensor:
        """Images ``(batch, 1, 8, 8)`` in [0, 1] to logits ``(batch, 10)``."""
        side = SIDE // PATCH
        grid = input.reshape(-1, side, PATCH, side, PATCH).transpose(2, 3)
        tokens = self.embed(grid.reshape(-1, TOKENS, PATCH * PATCH)) + self.positions
        logits: Tensor = self.head(self.norm(self.layers(tokens)).mean(dim=1))
        return logits


def make(seed: int = 0) -> nn.Module:
    """An untrained network whose weights depend on ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Transformer()
