"""Every file in ``targets/`` obeys the contract, the day it appears."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import oq
import oq.targets
from oq.checks.legal import ALWAYS, CHECKS
from oq.errors import OptionError
from oq.model.graph import Graph
from oq.model.ops import COMPOSITES, OPS, facts
from oq.numerics.values import QType
from oq.numerics.weights import WEIGHT_CALIBRATORS
from oq.pipeline import next_step
from oq.planning import registry
from oq.planning.plan import plan
from oq.planning.spec import Fixed, Own
from oq.planning.target import OpRule, Output, Target, with_options
from tests.graphs import IMAGE, Net
from tests.small import reference

NAMES = sorted(p.stem for p in Path(oq.targets.__path__[0]).glob("*.py") if p.stem != "__init__")


def ops_of(rule: OpRule) -> set[str]:
    return {op for e in rule.ops for op in ((e,) if isinstance(e, str) else e)}


@pytest.fixture(params=NAMES)
def target(request: pytest.FixtureRequest) -> Target:
    return registry.target(request.param)


def test_the_folder_is_what_the_registry_offers() -> None:
    assert registry.names("targets") == tuple(NAMES)
    assert {"ort", "trt"} <= set(NAMES)
    for name in NAMES:
        assert registry.target(name).name == name


def test_every_op_of_a_rule_has_its_row(target: Target) -> None:
    for rule in target.rules:
        assert rule.ops
        for op in ops_of(rule):
            assert op in OPS or op in COMPOSITES, f"{rule.ops} names {op}"


def test_what_a_rule_asks_of_an_op_exists(target: Target) -> None:
    for rule in target.rules:
        first = rule.ops[0]
        for op in (first,) if isinstance(first, str) else first:
            row = facts(op)
            assert row is not None
            if rule.bias == "int32":
                assert row.bias is not None, f"{op} has no bias"
            # What moves values has no range of its own.
            moves = {Output.SAME, Output.ALIGNED, Output.PASSED}
            assert rule.output in moves or row.kind != "copy" or rule.columns, op
        if rule.output in {Output.SAME, Output.PASSED}:
            assert len(rule.ops) == 1


def test_a_later_row_is_not_dead(target: Target) -> None:
    """A row whose chain an earlier row of the same length takes without conditions never wins."""
    for i, earlier in enumerate(target.rules):
        if earlier.unless:
            continue
        for later in target.rules[i + 1 :]:
            assert len(earlier.ops) != len(later.ops) or not ops_of(later) <= ops_of(earlier)


def test_reasons_are_for_ops_that_stay_in_float(target: Target) -> None:
    alone = {op for r in target.rules if len(r.ops) == 1 and not r.unless for op in ops_of(r)}
    for op, reason in (target.reasons or {}).items():
        assert op not in alone
        assert reason and not reason.endswith(".") and "\n" not in reason


def test_checks_exist_and_are_named_once(target: Target) -> None:
    names = [c if isinstance(c, str) else c.name for c in target.checks]
    assert {c for c in target.checks if isinstance(c, str)} <= set(CHECKS)
    assert not {c.name for c in target.checks if not isinstance(c, str)} & set(CHECKS)
    assert len(set(names)) == len(names)
    # Every layer with weights depends on its axis, whatever the target.
    assert "weight-axis" in {*ALWAYS, *target.checks}


def test_grids_fit_their_dtype(target: Target) -> None:
    fixed = [r.output.qtype for r in target.rules if isinstance(r.output, Fixed)]
    for qtype in (target.activations, target.weights, *target.dtypes, *fixed):
        limits = np.iinfo(qtype.dtype)
        assert limits.min <= qtype.qmin < qtype.qmax <= limits.max
        assert qtype.qmin <= 0, "every grid holds zero"
    assert target.weights.symmetric, "weights with a zero point cost a correction per product"


NEEDED = {
    ("ort", key): {"weights": "int4"} for key in ("accuracy_level", "block", "form", "zero_points")
}
"""Options that only mean something beside others."""


def test_options_begin_with_what_the_target_is(target: Target) -> None:
    for key, values in (target.options or {}).items():
        first, *others = values
        needed = NEEDED.get((target.name, key), {})
        plain = with_options(target, needed)
        assert others, f"--set {key} has only one value"
        assert with_options(target, {key: first}) == target
        for value in others:
            found = with_options(target, {key: value, **needed})
            assert found != plain and found.name == target.name
        with pytest.raises(
            OptionError, match=f"--set {key}=no: target {target.name} takes {first}"
        ):
            with_options(target, {key: "no"})


def test_defaults_exist(target: Target) -> None:
    assert target.calibrator in registry.names("calibrators")
    assert target.weight_range in WEIGHT_CALIBRATORS
    assert not target.float_outputs or target.exclusive


def test_opset_has_scales_per_channel(target: Target) -> None:
    assert target.min_opset >= 13


def test_words_for_the_user(target: Target) -> None:
    assert 20 <= len(target.summary) <= 90 and "\n" not in target.summary
    said = next_step(target, Path("folder/model.int8.onnx"))
    assert "folder/model.int8.onnx" in said and "{" not in said


def test_a_target_is_a_value(target: Target) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        target.name = "other"  # type: ignore[misc]
    assert isinstance(target.activations, QType)


def test_predicates_are_named_functions(target: Target) -> None:
    """A closure or a lambda could not be tested alone, nor named in a report."""
    for rule in target.rules:
        for predicate in (*rule.unless, *rule.slower):
            assert predicate.__qualname__ == predicate.__name__ != "<lambda>"
            assert predicate.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_read_through_the_package(name: str) -> None:
    text = (Path(oq.targets.__path__[0]) / f"{name}.py").read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert "if op" not in text and ".op ==" not in text, "a target is a table, not a chain of ifs"


def test_a_relu_that_two_places_read_is_never_lost(target: Target) -> None:
    """A kernel that takes the ReLU in for one reader must not hand the other what was before it."""
    net = Net()
    r = net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    s = net.node("Relu", [net.node("Add", [r, net.conv(r, "d")], "a")], "s")
    model = net.model(net.conv(s, "e"), net.node("GlobalAveragePool", [s], "p"))
    data = np.random.default_rng(1).normal(size=(16, *IMAGE[1:])).astype(np.float32)
    made = oq.quantize(model, target.name, data, verify=False).model
    exact, found = reference(model, {"x": data}), reference(made, {"x": data})
    assert (found["p"] >= 0).all()
    for name in ("e", "p"):
        noise = float(((found[name] - exact[name]) ** 2).mean())
        power = float((exact[name] ** 2).mean())
        assert noise < power / 100, name  # 20 dB; without one ReLU it is below 5


def test_elementwise_kernels_requantize_to_their_own_range(target: Target) -> None:
    """Where Add, Add+Relu, Mul or Sub has a grid on its output it is its own: that of an operand
    would cut off sums or waste codes on products.  Div has none."""
    net = Net()
    a, b = net.conv(net.input("x"), "a"), net.conv("x", "b")
    plus = net.node("Add", [a, b], "plus")
    relu = net.node("Relu", [net.node("Add", [plus, a], "sum")], "relu")
    times = net.node("Mul", [relu, b], "times")
    minus = net.node("Sub", [times, a], "minus")
    over = net.node("Div", [minus, net.constant("two", 2.0)], "over")
    model = net.model(net.conv(over, "c"), net.conv(net.node("Div", [relu, times], "ratio"), "d"))
    found = plan(Graph(model).view(), target)
    inner = {"plus", "relu", "sum", "times", "minus"}
    for site in found.sites:
        if site.tensor in inner:
            assert isinstance(site.spec, Own) and site.spec.over == (), site
    assert {"n_over", "n_ratio"} <= {s.node for s in found.skips}
