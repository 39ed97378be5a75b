"""Which calibrator a step will ask for is known before any step is tried, or it is not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import oq
from oq.calibration import measure
from oq.calibration.job import Job, Measured
from oq.calibration.measure import measure as plain_measure
from oq.data.source import Fitted
from oq.numerics.statistics import Need
from oq.refine import recalibrate
from oq.refine.order import calibrator_ahead
from tests.refine.nets import NETS, batches, subject
from tests.refine.test_equalize import relu_chain
from tests.refine.test_smooth import attention, tokens

DATA = {"x": np.concatenate([b["x"] for b in batches(40)])}
PLAIN = ("smooth", "bias", "ranges", "round")


@pytest.mark.parametrize(
    ("names", "net", "found"),
    [
        (PLAIN, NETS["residual"], "mse"),
        (PLAIN, attention, None),  # there is something to smooth
        (("bias", "ranges"), attention, "mse"),
        (("bias", "equalize", "ranges"), relu_chain, None),
        (("absorb", "ranges"), relu_chain, None),
        (("rescale", "ranges"), NETS["residual"], None),
        (("bias", "round"), relu_chain, None),
        ((), relu_chain, None),
    ],
)
def test_steps_that_may_move_values_stand_in_front(
    names: tuple[str, ...], net: Callable[[], onnx.ModelProto], found: str | None
) -> None:
    model = subject(net(), "trt", samples=tokens() if net is attention else None)
    assert calibrator_ahead(names, model.view, model.plan) == found


@pytest.mark.parametrize(("steps", "passes"), [("ranges", 1), ("bias,ranges", 1), ("bias", 1)])
def test_one_pass_serves_calibration_and_the_step(
    steps: str, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Job] = []

    def counted(job: Job, source: Fitted | None, *more: object) -> Measured:
        asked.append(job)
        return plain_measure(job, source, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(measure, "measure", counted)
    monkeypatch.setattr(recalibrate, "measure", counted)
    made = oq.quantize(NETS["residual"](), "ort", DATA, refine=steps, verify=False)
    assert len(asked) == passes
    wanted = {Need.HISTOGRAM} if "ranges" in steps else set()
    assert set().union(*asked[0].needs.values()) == wanted
    assert all(o.seconds > 0 for o in made.report.refinement)


def test_a_cache_holds_what_the_calibrator_needs_alone(tmp_path: Path) -> None:
    """So that one made without refinement serves a run with it, and the other way round."""
    made = [
        oq.quantize(
            NETS["residual"](), "ort", DATA, refine=steps, verify=False, cache=tmp_path / "c.cache"
        )
        for steps in ("none", "ranges", "none")
    ]
    assert made[0].model == made[2].model
    assert [o.step for o in made[1].report.refinement] == ["ranges"]
