"""AdaRound: learns for each weight whether to round up or down.

A weight between the integers n and n + 1 (refitted, :mod:`oq.refine.gptaq`) becomes ``(n + h(v)) *
scale`` with ``h(v) = clip(1.2 sigmoid(v) - 0.1, 0, 1)``; gradient descent on v minimizes, per
output channel,

    d^T H d + strength * sum (1 - |2 h - 1|^beta),     d = quantized - float

with ``H = E[(x - E x)(x - E x)^T]`` over the windows x that the layer reads from the rounded layers
upstream; beta decreases from 20 to 2 and drives every h to 0 or 1.  (Nagel et al. 2020, "Up or
Down? Adaptive Rounding for Post-Training Quantization", arXiv:2004.10568, equations 20 to 25; with
H in place of sampled batches the loss is exact and an iteration needs no data.)  Needs torch; uses
a GPU if available.  No labels, no random numbers.
"""

from typing import Any

import numpy as np

from oq.errors import MissingExtra
from oq.numerics.values import Array
from oq.refine.gptq import Steps, round_layers
from oq.refine.subject import Change, Subject

ITERATIONS = 1000
RATE = 0.02
STRENGTH = 0.02
"""Weight of the second term, relative to a first term with mean 1 for rounding to nearest."""

BETA_FROM, BETA_TO = 20.0, 2.0
WARM_UP = 0.2
"""Fraction of the iterations before the second term is used."""


def learn_rounding(subject: Subject) -> Change:
    """New weights, each rounded up or down, and the corrected biases.

    Raises:
        MissingExtra: torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", "--refine adaround") from error
    del torch
    return round_layers(subject, adaround)


def adaround(rows: Array, moments: Array, grid: Steps) -> Array:
    """``rows`` (group, channel, weight) on ``grid``.

    ``moments`` (group, weight, weight): H of each group, positive semidefinite.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"

    def tensor(values: Array) -> Any:
        return torch.tensor(np.ascontiguousarray(values), dtype=torch.float32, device=device)

    scale, lowest, highest = grid.scale, grid.lowest - grid.zero, grid.highest - grid.zero
    steps = rows / scale
    below = np.clip(np.floor(steps), lowest, highest)
    room = np.clip(below + 1, lowest, highest) - below
    share = np.clip((steps - below + 0.1) / 1.2, 0.01, 0.99)
    nearest = (np.rint(steps) - steps) * scale
    usual = float(np.einsum("gof,gfk,gok->", nearest, moments, nearest, optimize=True))
    if usual <= 0:
        return np.asarray(np.clip(np.rint(steps), lowest, highest) * scale)
    weigh = tensor(moments * (rows[:, :, 0].size / usual))
    start, size = tensor((below - steps) * scale), tensor(room * scale)
    v = tensor(np.log(share / (1 - share))).requires_grad_()
    descent = torch.optim.Adam([v], RATE)
    for i in range(ITERATIONS):
        up = torch.clamp(1.2 * torch.sigmoid(v) - 0.1, 0, 1)
        error = start + up * size
        loss = ((error @ weigh) * error).sum()
        done = (i / ITERATIONS - WARM_UP) / (1 - WARM_UP)
        if done > 0:
            beta = BETA_TO + (BETA_FROM - BETA_TO) * 0.5 * (1 + np.cos(done * np.pi))
            loss = loss + STRENGTH * (1 - (2 * up - 1).abs() ** beta).sum()
        descent.zero_grad()
        loss.backward()
        descent.step()
    chosen = (v.detach() >= 0).cpu().numpy()
    return np.asarray((below + chosen * room) * scale)
