"""What can be read once is read again from what was kept, in memory and on disk."""

import gc
import tempfile
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from oq.data.sources.kept import Kept
from oq.numerics.values import Batch

XS = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)


def once() -> Callable[[], Batch | None]:
    """Gives each of six batches once, in one buffer that is filled anew."""
    buffer, rest = np.empty((1, 2, 3), np.float32), iter(range(6))

    def take() -> Batch | None:
        at = next(rest, None)
        if at is None:
            return None
        buffer[0] = XS[at]
        name = {"s": np.array(["a", "bc"]), "h": XS[at : at + 1].astype(ml_dtypes.bfloat16)}
        return Batch({"x": buffer, **name}, np.array([at]), frozenset("s"))

    return take


@pytest.mark.parametrize("limit", [10**6, 200, 0])
def test_every_pass_sees_the_same(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = Kept(once(), limit)
    assert len([*zip(kept(), range(2), strict=False)]) == 2  # a pass that stops early
    for _ in range(2):
        for at, batch in enumerate(kept()):
            assert np.array_equal(batch.feeds["x"][0], XS[at])
            assert batch.feeds["s"].tolist() == ["a", "bc"] and batch.alike == frozenset("s")
            assert batch.feeds["h"].dtype == ml_dtypes.bfloat16
            assert batch.labels is not None and batch.labels.tolist() == [at]
        assert at == 5
    files = list(tmp_path.rglob("*.npz"))
    assert len(files) == {10**6: 0, 200: 3, 0: 6}[limit]
    del kept, batch
    gc.collect()
    assert not list(tmp_path.iterdir())
