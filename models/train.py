"""Train the three bundled models on the bundled digits and export them: ``python -m models.train``.

Everything random is seeded, so the same torch on the same number of threads writes the same files.
The recipes are not tuned on the held-out images; those are used once, to state the accuracy.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import digits, residual, separable, transformer
from models.examples import example_input
from oq.exporting.export import export
from oq.model.session import run
from oq.numerics.values import Array

THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained (AdamW, one-cycle rate) and exported.

    ``rate`` is the peak learning rate; ``shift`` the probability that an image is moved by up to
    one pixel each way; ``fuse`` as in :func:`oq.exporting.export.export`.
    """

    make: Callable[[int], nn.Module]
    epochs: int
    rate: float
    decay: float
    fuse: bool
    batch: int = 64
    shift: float = 0.5
    smoothing: float = 0.05
    seed: int = 0


RECIPES: Final = {
    "residual": Recipe(residual.make, epochs=25, rate=4e-3, decay=0.02, fuse=True),
    # Unfused: the file that keeps its BatchNormalization nodes, for oq to fold.
    "separable": Recipe(separable.make, epochs=40, rate=6e-3, decay=0.02, fuse=False),
    "transformer": Recipe(transformer.make, epochs=100, rate=2e-3, decay=0.1, fuse=True),
}


def train(recipe: Recipe, images: Tensor, labels: Tensor) -> nn.Module:
    """A model trained on ``images`` ``(sample, 1, 8, 8)`` and ``labels`` ``(sample,)``."""
    model = recipe.make(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    batches = len(images) // recipe.batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=recipe.epochs * batches
    )
    with torch.random.fork_rng(devices=[]):
        # Dropout draws from the global generator.
        torch.manual_seed(recipe.seed)
        for _ in range(recipe.epochs):
            order = torch.randperm(len(images), generator=generator)
            # The rest of the last, smaller batch sits this epoch out.
            for rows in order[: batches * recipe.batch].reshape(batches, -1):
                logits = model(shifted(images[rows], recipe.shift, generator))
                loss = functional.cross_entropy(
                    logits, labels[rows], label_smoothing=recipe.smoothing
                )
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
    return model.eval()


def shifted(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Each image, with ``probability``, moved by -1, 0 or 1 pixel along each axis; zeros move in.

    Args:
        images: ``(batch, 1, 8, 8)``.
        probability: in [0, 1].
        generator: the source of all randomness.
    """
    batch, _, height, width = images.shape
    moves = torch.randint(-1, 2, (batch, 2), generator=generator)
    moves *= torch.rand(batch, 1, generator=generator) < probability
    padded = functional.pad(images, (1, 1, 1, 1))[:, 0]
    rows = (1 + moves[:, :1] + torch.arange(height))[:, :, None]
    columns = (1 + moves[:, 1:] + torch.arange(width))[:, None, :]
    return padded[torch.arange(batch)[:, None, None], rows, columns][:, None]


def accuracy(model: Path, images: Array, labels: Array) -> float:
    """The fraction of ``images`` ``(sample, 1, 8, 8)`` that onnxruntime classifies right."""
    logits = run(model, {"input": images})["logits"]
    return float((logits.argmax(axis=1) == labels).mean())


def train_all(folder: Path = digits.BUNDLED) -> dict[str, object]:
    """Train, export and measure every recipe; write ``models.json`` and return its content."""
    torch.set_num_threads(THREADS)
    images, labels = digits.load("calib")
    held_out = digits.load("eval")
    entries: dict[str, object] = {}
    for name, recipe in RECIPES.items():
        started = time.perf_counter()
        model = train(recipe, torch.from_numpy(images), torch.from_numpy(labels))
        file = folder / f"{name}.onnx"
        export(
            partial(_with_example, model),
            file,
            fuse=recipe.fuse,
            output_names=["logits"],
        )
        settings = {key: value for key, value in asdict(recipe).items() if key != "make"}
        entries[name] = {
            "file": file.name,
            "accuracy": round(accuracy(file, *held_out), 6),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "training": settings,
        }
        print(f"{name}: {entries[name]} in {time.perf_counter() - started:.0f} s")
    summary = {
        "data": {"train": "digits_calib.npz", "eval": "digits_eval.npz"},
        "accuracy": "top-1 on the eval file, float32, onnxruntime",
        "torch": torch.__version__,
        "threads": THREADS,
        "models": entries,
    }
    (folder / "models.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return summary


def _with_example(model: nn.Module) -> tuple[nn.Module, Tensor]:
    return model, example_input()


if __name__ == "__main__":
    train_all()
