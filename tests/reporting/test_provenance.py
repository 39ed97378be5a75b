"""What a file says of how it was made."""

import json

import oq
from oq.refine.outcome import Outcome
from oq.reporting.provenance import choices, final_ranges
from tests.damaged import X, damaged


def outcome(step: str, kept: bool) -> Outcome:
    return Outcome(step, kept, 20.0, 21.0, 0.1)


def test_the_last_calibrator_that_was_kept_gave_the_ranges() -> None:
    assert final_ranges([outcome("bias", True), outcome("ranges", False)]) is None
    assert final_ranges([outcome("ranges", True), outcome("round", True)]) == "mse"


def test_choices_are_json_and_silent_where_nothing_was_chosen() -> None:
    assert choices([], (), "hybrid", {}) == {"oq.refine": "none"}
    found = choices([outcome("bias", True), outcome("ranges", True)], ("a*",), "naive", {"k": 1})
    assert found["oq.refine"] == "bias,ranges" and found["oq.ranges"] == "mse"
    assert json.loads(found["oq.keep_float"]) == ["a*"]
    assert json.loads(found["oq.settings"]) == {"k": 1}
    assert json.loads(found["oq.mode"]) == "naive"


def test_a_file_has_them() -> None:
    made = oq.quantize(damaged(), "ort", {"x": X}, refine="bias", keep_float=["n_c"]).model
    held = {p.key: p.value for p in made.metadata_props}
    assert (held["oq.refine"], held["oq.keep_float"]) == ("bias", '["n_c"]')
