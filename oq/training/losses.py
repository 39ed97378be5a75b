"""What a training run makes small: the distance from the float model, or from labels.

Of logits y of the quantized and t of the float model, axes (sample, class), each a mean over the
samples:

    mse     sum (y - t)^2 / sum t^2                               of outputs of any shape
    kl      sum softmax(t) (log softmax(t) - log softmax(y))      of the class axis
    labels  kl - log softmax(y)[label]

``kl`` is the distillation of Hinton et al. 2015 (arXiv:1503.02531) at temperature 1; ``mse`` is the
noise that ``oq verify`` gives as SQNR.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | None], Tensor]
"""(outputs, the float model's, labels) -> a number."""


def mse(found: Sequence[Tensor], exact: Sequence[Tensor], _labels: Tensor | None) -> Tensor:
    """Noise over signal, summed over the outputs."""
    return sum_of(
        [
            (y - t).square().sum() / t.square().sum().clamp(min=torch.finfo(t.dtype).tiny)
            for y, t in zip(found, exact, strict=True)
        ]
    )


def kl(found: Sequence[Tensor], exact: Sequence[Tensor], _labels: Tensor | None) -> Tensor:
    """Divergence of the classes' probabilities, summed over the outputs."""
    return sum_of(
        [
            functional.kl_div(
                _log_probabilities(y), _log_probabilities(t), log_target=True, reduction="batchmean"
            )
            for y, t in zip(found, exact, strict=True)
        ]
    )


def labels(found: Sequence[Tensor], exact: Sequence[Tensor], known: Tensor | None) -> Tensor:
    """:func:`kl` and the cross entropy of the first output with the labels."""
    if known is None:
        raise ValueError("a batch without labels")  # the door has insisted on them
    said = _log_probabilities(found[0])
    return kl(found, exact, None) + functional.nll_loss(said, known.reshape(-1))


def sum_of(parts: Sequence[Tensor]) -> Tensor:
    """The sum of one number or more."""
    return torch.stack([*parts]).sum()


def _log_probabilities(logits: Tensor) -> Tensor:
    """Axes (row, class): the classes of images (sample, class, height, width) are the second axis,
    those of everything else the last one of more than one value."""
    if sum(size > 1 for size in logits.shape[1:]) <= 1:
        rows = logits.flatten(1)
    else:
        rows = (logits.movedim(1, -1) if logits.ndim == IMAGE else logits).flatten(0, -2)
    return functional.log_softmax(rows, -1)


IMAGE = 4
"""Axes of a batch of images or maps."""

LOSSES: Mapping[str, Loss] = {"mse": mse, "kl": kl, "labels": labels}
"""Name -> loss."""
