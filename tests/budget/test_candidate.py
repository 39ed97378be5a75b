"""A candidate that a worker made is whole when the worker is gone."""

import gc
import pickle
from typing import Any

import onnx
import pytest

from oq.budget.candidate import Candidates, send
from oq.budget.score import Judged, make_score
from oq.calibration.measure import Shared
from oq.model import stored
from oq.planning.setup import choose_target
from tests.shown import BUNDLED


def test_weights_in_files_travel_with_the_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "LEAST_MODEL", 1)
    monkeypatch.setattr(stored, "LEAST_TENSOR", 256)
    profile, _ = choose_target("ort", {})
    options: dict[str, Any] = {"model": BUNDLED / "residual.onnx", "target": "ort"}
    options |= {"data": BUNDLED / "digits_calib.npz", "samples": 32, "refine": "none"}
    options |= {"cache": Shared()}
    score = make_score(onnx.load(BUNDLED / "residual.onnx"), profile, None, Judged(), options)
    candidates = Candidates(options, profile, score)
    exact = candidates.make((), ())
    assert stored.holds_stored(exact.light)
    sent = pickle.dumps(send(candidates, ())((), lambda _: None))
    gc.collect()  # the files of the worker's run
    _, result = pickle.loads(sent)
    assert result.model == exact.model
