"""Files of the bundled models for the tests here, each made once."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import oq
from oq.deployment.run import Deployment
from oq.numerics.values import Array

BUNDLED = Path(oq.__file__).parents[1] / "models" / "bundled"
SUFFIX = {"torchscript": ".pt", "pt2": ".pt2"}


@cache
def quantized(name: str, target: str) -> oq.Result:
    """A bundled model for ``target``."""
    return oq.quantize(
        BUNDLED / f"{name}.onnx", target, BUNDLED / "digits_calib.npz",
        samples=16, refine="none", verify=False,
    )  # fmt: skip


def images(count: int) -> Array:
    with np.load(BUNDLED / "digits_eval.npz") as arrays:
        return np.asarray(arrays["input"][:count])


@cache
def deployed(name: str, target: str, form: str) -> tuple[Path, Deployment]:
    """The file of a bundled model, in a folder that goes with the process."""
    place = Path(FOLDER.name) / f"{name}.{target}{SUFFIX[form]}"
    return place, write(name, target, form, place)


def write(name: str, target: str, form: str, place: Path) -> Deployment:
    """Write the file to ``place``."""
    data = BUNDLED / "digits_eval.npz"
    return quantized(name, target).deploy(form, place, data=data, samples=4)


FOLDER = TemporaryDirectory(prefix="oq-aten-")
