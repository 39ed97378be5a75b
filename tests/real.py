"""Where the real models and the real data lie, which are not part of the repository."""

import os
from pathlib import Path

import pytest

REAL = Path(os.environ.get("OQ_REAL") or Path(__file__).parents[2] / "shared" / "real")
CIFAR, IMAGENET = REAL / "cifar10", REAL / "imagenet"

needs_real = pytest.mark.skipif(not CIFAR.is_dir(), reason="the real data is not here")
