"""What is quantized: a model, the samples to calibrate on, and labelled samples to judge by."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oq.data.preprocess import read_preprocess
from oq.numerics.values import Array

BUNDLED = Path(__file__).parent.parent / "models" / "bundled"


@dataclass(frozen=True, slots=True)
class Samples:
    """``input`` has axes (sample, channel, height, width); ``labels`` (sample,) or None."""

    input: Array
    labels: Array | None

    @property
    def data(self) -> dict[str, Array]:
        """What ``oq verify`` takes."""
        named = {"input": self.input}
        return named if self.labels is None else named | {"labels": self.labels}


@dataclass(frozen=True, slots=True)
class Subject:
    """``calibration`` and ``evaluation`` load on demand; ``batch`` is what every tool is fed."""

    name: str
    model: Path
    calibration: Callable[[], Samples]
    evaluation: Callable[[], Samples]
    batch: int = 8


def find_subjects(real: Path | None) -> dict[str, Subject]:
    """The bundled residual network, and the real models where their folder is given."""
    found = [
        Subject(
            "digits-residual",
            BUNDLED / "residual.onnx",
            lambda: read_npz(BUNDLED / "digits_calib.npz"),
            lambda: read_npz(BUNDLED / "digits_eval.npz"),
        )
    ]
    if real is not None and real.is_dir():
        cifar, imagenet = real / "cifar10", real / "imagenet"
        found += [
            Subject(
                "resnet20",
                cifar / "resnet20.onnx",
                lambda: read_npz(cifar / "calib.npz"),
                lambda: read_npz(cifar / "eval.npz"),
            ),
            Subject(
                "mobilenet",
                imagenet / "mobilenetv1_025.onnx",
                lambda: read_images(imagenet / "calib", None),
                lambda: read_images(imagenet / "eval", imagenet / "eval_labels.csv"),
            ),
        ]
    return {s.name: s for s in found}


def read_npz(path: Path) -> Samples:
    """Samples under the keys ``input`` and ``labels``."""
    with np.load(path, allow_pickle=False) as data:
        return Samples(data["input"], data.get("labels"))


def read_images(folder: Path, labels: Path | None) -> Samples:
    """All images of ``folder`` as MobileNet takes them: RGB, pixel / 127.5 - 1, NCHW."""
    from oq.data.source import open_source
    from oq.numerics.values import TensorInfo

    info = TensorInfo("input", "float32", ("batch", 3, 224, 224))
    preset = read_preprocess("imagenet-tf")
    source = open_source(str(folder), [info], preprocess=preset)
    images = np.concatenate([b.feeds["input"] for b in source.batches(32)])
    if labels is None:
        return Samples(images, None)
    with labels.open(newline="") as rows:
        known = {row["file"]: int(row["label"]) for row in csv.DictReader(rows)}
    return Samples(images, np.array([known[f] for f in sorted(known)]))
