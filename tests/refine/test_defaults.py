"""What a user combines is never worse than the defaults without a word, and never replaced."""

import json
from pathlib import Path
from typing import Any

import pytest

import oq
from oq import stages
from oq.options.keywords import QuantizeOptions, complete
from oq.planning import registry
from oq.planning.overrides import Layer, Overrides
from oq.planning.setup import plan_model
from oq.planning.spec import Own
from oq.refine.defaults import AgainstDefaults, compare_with_defaults, without_calibrators
from oq.stages import choose, named_choices
from oq.wording import db, to_json
from tests.refine.nets import NETS
from tests.refine.test_run import DATA

CLIPPED: dict[str, Any] = {"calibrator": "percentile", "settings": {"percentile": 60.0}}


@pytest.mark.parametrize("target", ["trt", "coreml", "dpu", "ort"])
@pytest.mark.parametrize("refine", [None, "bias"])
def test_a_worse_combination_is_told_with_both_figures(
    target: str, refine: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = NETS["separable"]()
    result = oq.quantize(model, target, DATA, refine=refine, **CLIPPED)
    (note,) = (n for n in result.report.notes if "with the defaults" in n)
    steps = [o for o in result.report.refinement if o.kept]
    assert f"output SQNR {db(steps[-1].after_db)} dB on held-back samples" in note
    plain = oq.quantize(model, target, DATA).report
    best = [o for o in plain.refinement if o.kept][-1].after_db
    assert f"against {db(best)} dB with the defaults of {target}" in note
    named = "--calibrator percentile --set percentile=60.0:"
    assert note.startswith(named if refine is None else f"--refine bias {named}")
    assert note in json.loads(json.dumps(to_json(result.report)))["notes"]
    assert "with the defaults of" in " ".join(str(result.report).split())
    monkeypatch.setattr(stages, "compare_with_defaults", lambda *_: None)
    asked = oq.quantize(model, target, DATA, refine=refine, **CLIPPED)
    assert not any("with the defaults" in n for n in asked.report.notes)
    assert result.model.SerializeToString() == asked.model.SerializeToString()


def test_unrefined_ranges_are_compared_with_unrefined_defaults() -> None:
    model = NETS["separable"]()
    result = oq.quantize(model, "ort", DATA, refine="none", **CLIPPED)
    (note,) = (n for n in result.report.notes if "with the defaults" in n)
    default = oq.quantize(model, "ort", DATA, refine="bias").report.refinement[0].before_db
    assert f"against {db(default)} dB" in note
    assert any(
        n.startswith("not refined (--refine none): smooth, bias") for n in result.report.notes
    )


def test_what_is_as_good_as_the_defaults_needs_no_note() -> None:
    for options in (
        {},
        {"calibrator": "minmax"},
        {"refine": ("smooth", "bias", "ranges", "round")},
    ):
        notes = oq.quantize(NETS["separable"](), "ort", DATA, **options).report.notes
        assert not any("default" in n or "not refined" in n for n in notes)
    assert AgainstDefaults(20.0, 21.0).is_worse and not AgainstDefaults(20.0, 20.9).is_worse


def test_nothing_is_compared_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what the config of a default run says, not without verification, not in a search."""

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(stages, "compare_with_defaults", never)
    model = NETS["separable"]()
    options = oq.quantize(model, "ort", DATA).report.options
    assert options["refine"] and options["weights"]
    kept = {k: options[k] for k in ("refine", "weights")}
    again = complete(QuantizeOptions, kept)
    assert named_choices(choose("ort", again), again) == ()
    oq.quantize(model, "ort", DATA, **kept)
    oq.quantize(model, "ort", DATA, verify=False, **CLIPPED)
    oq.search(model, "ort", DATA, tmp_path / "o.onnx", max_drop=100, **CLIPPED)
    with pytest.raises(AssertionError):
        oq.quantize(model, "ort", DATA, **CLIPPED)


def test_every_choice_of_ranges_is_named_and_none_of_it_is_left() -> None:
    asked = complete(
        QuantizeOptions,
        {
            "calibrator": "mse",
            "calibrator_for": (("Conv", "max"),),
            "layers": (Layer("Gemm", calibrator="auto"), Layer("a", dtype="float")),
            "weights": "mse",
            "ranges": "r.json",
            "refine": "bias",
            "settings": {"mse.steps": 8, "platform": "arm"},
        },
    )
    chosen = choose("ort", asked)
    assert named_choices(chosen, asked) == (
        "--refine bias", "--calibrator mse", "--calibrator-for Conv=max",
        "--layer Gemm:calibrator=auto", "--weights mse", "--ranges r.json", "--set mse.steps=8",
    )  # fmt: skip


def test_the_same_layers_are_quantized_without_the_choices() -> None:
    model = NETS["separable"]()
    layers = (Layer("Conv", calibrator="percentile"), Layer("n_y", dtype="float"))
    chosen = Overrides((), (), layers, "hybrid", "max")
    asked = plan_model(model, registry.target("trt"), chosen)
    left = without_calibrators(asked.plan, asked.view)
    assert [s.tensor for s in left.sites] == [s.tensor for s in asked.plan.sites]
    assert {s.spec.calibrator for s in left.sites if isinstance(s.spec, Own)} == {None}
    assert any(s.spec.calibrator for s in asked.plan.sites if isinstance(s.spec, Own))
    assert [type(s.spec) for s in left.sites] == [type(s.spec) for s in asked.plan.sites]


def test_a_layer_that_only_names_a_calibrator_is_compared_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[AgainstDefaults | None] = []

    def spy(*given: Any) -> AgainstDefaults | None:
        seen.append(compare_with_defaults(*given))
        return seen[-1]

    monkeypatch.setattr(stages, "compare_with_defaults", spy)
    wish = (Layer("Conv", calibrator="percentile"),)
    oq.quantize(NETS["separable"](), "trt", DATA, layers=wish, refine="none")
    assert seen[0] is not None and seen[0].default_db > 0
