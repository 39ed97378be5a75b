"""The bundled data: 1,797 real handwritten digits of 8x8 pixels, split once and for all.

``python -m models.digits`` rewrites both files of ``models/bundled`` from scikit-learn's copy of
the data set, byte for byte the same each time.  Reading them needs NumPy alone.
"""

import io
import zipfile
from pathlib import Path
from typing import Final, Literal

import numpy as np

from oq.numerics.values import Array

Split = Literal["calib", "eval"]

BUNDLED: Final = Path(__file__).parent / "bundled"
SAMPLES: Final = 1797
EVAL_SAMPLES: Final = 360
SPLIT_SEED: Final = 0
LARGEST_PIXEL: Final = 16.0
_ZIP_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def load(split: Split) -> tuple[Array, Array]:
    """Images ``(sample, 1, 8, 8)`` float32 in [0, 1], and labels ``(sample,)`` int64 in 0..9."""
    with np.load(BUNDLED / f"digits_{split}.npz") as archive:
        return archive["input"], archive["labels"]


def split(images: Array, labels: Array, seed: int = SPLIT_SEED) -> dict[Split, dict[str, Array]]:
    """A seeded permutation of all samples: the last ``EVAL_SAMPLES`` are held out.

    Args:
        images: ``(sample, 8, 8)``, pixels in 0..16.
        labels: ``(sample,)``, 0..9.
        seed: of the permutation (PCG64, the same on every platform).
    """
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(images))
    pixels = (images / LARGEST_PIXEL).astype(np.float32)[:, None]
    parts: dict[Split, Array] = {"calib": order[:-EVAL_SAMPLES], "eval": order[-EVAL_SAMPLES:]}
    return {
        name: {"input": pixels[rows], "labels": labels[rows].astype(np.int64)}
        for name, rows in parts.items()
    }


def write_npz(path: Path, arrays: dict[str, Array]) -> None:
    """Like ``np.savez_compressed``, but without the clock, so equal arrays give equal bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            # ZipInfo records the operating system that wrote it; 3 is Unix, wherever this runs.
            entry.create_system = 3
            archive.writestr(entry, content.getvalue())


def write_splits(folder: Path = BUNDLED) -> None:
    """Write ``digits_calib.npz`` and ``digits_eval.npz`` from scikit-learn's copy of the data."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for name, arrays in split(digits.images, digits.target).items():
        write_npz(folder / f"digits_{name}.npz", arrays)


if __name__ == "__main__":
    write_splits()
