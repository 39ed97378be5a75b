"""The layer that was damaged on purpose comes first, and every number has a second derivation."""

import math

import numpy as np
import onnx
import pytest

import oq
from oq.errors import DataError, ModelError
from oq.planning import registry
from oq.planning.overrides import Overrides
from oq.planning.setup import plan_model
from oq.ranking.candidates import find_candidates, parts_without
from oq.ranking.rank import Ranking, Sensitivity, decibels, sensitivity
from oq.ranking.table import as_ranking
from oq.wording import to_json
from tests.damaged import X, damaged, sqnr
from tests.graphs import Net
from tests.small import normal, reference, small

TARGETS = ("ort", "trt", "coreml")


def rank(model: onnx.ModelProto, target: str, **options: object) -> Ranking:
    return sensitivity(model, target, X, **options)  # type: ignore[arg-type]


def row(found: Ranking, node: str) -> Sensitivity:
    return next(r for r in found.layers if r.node == node)


def quantized_sqnr(model: onnx.ModelProto, target: str, *keep: str) -> float:
    """Of a file that ``oq quantize`` makes, run by onnxruntime without optimization."""
    made = oq.quantize(model, target, X, verify=False, refine="none", keep_float=keep).model
    return sqnr(reference(model, {"x": X})["y"], reference(made, {"x": X})["y"])


@pytest.mark.parametrize("target", TARGETS)
def test_the_damaged_layer_is_found(target: str) -> None:
    found = rank(damaged(), target)
    worst = found.layers[0]
    assert (worst.rank, worst.node) == (1, "n_b")
    assert worst.share > 90
    # it is the weights, and the damage shows at the layer itself
    assert worst.weights_db is not None and worst.activations_db is not None
    assert worst.weights_db < 20 < worst.activations_db
    assert worst.local_db < 20
    assert all(r.sqnr_db > worst.sqnr_db + 10 for r in found.layers[1:])
    assert found.keep == ("n_b",)
    assert found.kept[0].sqnr_db > found.sqnr_db + 10


@pytest.mark.parametrize("target", TARGETS)
def test_damage_to_activations_is_told_from_damage_to_weights(target: str) -> None:
    """A channel with huge values that the next layer does not read leaves it a coarse grid."""
    model = damaged(0.1)
    for tensor in model.graph.initializer:
        held = onnx.numpy_helper.to_array(tensor).copy()
        if tensor.name == "b_b":
            held[0] = 300.0
        if tensor.name == "w_c":
            held[:, 0] = 0.0
        tensor.CopyFrom(onnx.numpy_helper.from_array(held, tensor.name))
    worst = rank(model, target).layers[0]
    assert worst.node == "n_c"
    assert worst.activations_db is not None and worst.weights_db is not None
    assert worst.activations_db < worst.weights_db - 10


@pytest.mark.parametrize("target", TARGETS)
def test_the_whole_and_all_but_one_are_what_quantize_would_write(target: str) -> None:
    model = damaged(2.0)
    found = rank(model, target)
    assert found.sqnr_db == pytest.approx(quantized_sqnr(model, target), abs=1e-3)
    for node in ("n_a", "n_b", "n_c", "n_y"):
        expected = quantized_sqnr(model, target, node)
        assert row(found, node).without_db == pytest.approx(expected, abs=1e-3)
    kept = quantized_sqnr(model, target, *found.keep)
    assert found.kept[-1].sqnr_db == pytest.approx(kept, abs=1e-3)


def test_one_layer_alone_is_what_quantize_would_write_with_the_others_in_float() -> None:
    model = damaged(2.0)
    others = ("n_a", "n_ra", "n_c", "n_rc", "n_p", "n_y")
    alone = quantized_sqnr(model, "trt", *others)
    assert row(rank(model, "trt"), "n_b").sqnr_db == pytest.approx(alone, abs=1e-3)


@pytest.mark.slow
def test_processes_change_nothing() -> None:
    one, two = (rank(damaged(2.0), "ort", jobs=jobs, batch_size=5) for jobs in (1, 2))
    assert one == two


def test_progress_is_told_in_variants() -> None:
    seen: list[tuple[str, int, int | None]] = []
    rank(damaged(), "trt", watch=lambda *what: seen.append(what))
    stages = [s for s in seen if s[0] == "layers"]
    done, total = stages[-1][1:]
    # the whole; of each of four layers: alone, without, weights, activations; of the pooling two
    assert done == total == 1 + 4 * 4 + 2
    assert [s[1] for s in stages] == sorted(s[1] for s in stages)


def test_every_site_belongs_to_a_layer() -> None:
    for target in TARGETS:
        planned = plan_model(damaged(), registry.target(target), Overrides())
        layers = find_candidates(planned)
        owned = {p.origin for layer in layers for p in (*layer.parameters, *layer.activations)}
        assert owned == {(s.tensor, s.consumers) for s in planned.plan.sites}
        assert {p.origin for p in parts_without(planned, ())} == owned
        assert all(p.site.role == "activation" for p in parts_without(planned, layers))


def test_a_tensor_with_two_readers_is_quantized_for_one_of_them() -> None:
    net = Net()
    x = net.input("x")
    net.node("Add", [net.conv(x, "a"), net.conv(x, "b")], "y")
    planned = plan_model(net.model("y"), registry.target("ort"), Overrides())
    layers = {layer.node: layer for layer in find_candidates(planned)}
    (part,) = layers["n_a"].activations
    assert (part.site.tensor, part.site.consumers) == ("x", ("n_a",))
    rest = [p.site for p in parts_without(planned, [layers["n_a"]])]
    assert [s.consumers for s in rest if s.tensor == "x"] == [("n_b",)]
    assert not [s for s in rest if s.tensor == "w_a"]


def test_layers_that_make_no_error_rank_last_and_are_not_kept() -> None:
    """Weights and values that lie on the grid: nothing is lost, nothing is worth keeping."""
    net = Net()
    net.constant("w", np.eye(4))
    net.node("MatMul", [net.input("x", ("n", 4)), "w"], "y")
    x = np.random.default_rng(0).integers(-127, 128, (16, 4)).astype(np.float32)
    x[0, 0] = 127
    found = sensitivity(net.model("y"), "trt", x)
    assert found.sqnr_db == math.inf and found.kept == ()
    assert found.layers[0].share == 0.0


def test_samples_are_drawn_and_counted() -> None:
    assert rank(damaged(), "trt").samples == 24
    assert rank(damaged(), "trt", samples=7).samples == 7


def test_what_cannot_be_ranked() -> None:
    net = Net()
    nothing = net.model(net.node("Sin", [net.input("x")], "y"))
    with pytest.raises(ModelError, match="target trt quantizes no layer"):
        rank(nothing, "trt")
    with pytest.raises(DataError):
        sensitivity(damaged(), "trt", X[:0])


@pytest.mark.parametrize(
    ("error", "expected"), [(0.0, math.inf), (1.0, 0.0), (0.01, 20.0), (math.inf, -math.inf)]
)
def test_decibels(error: float, expected: float) -> None:
    assert decibels(error) == pytest.approx(expected)


def test_layers_in_bodies_without_a_plan_are_named_and_not_ranked() -> None:
    """In all figures they are in float, so that what is ranked is told apart from them."""
    text = """net (float[n,4] x, bool c) => (float[n,4] y) {
        m = MatMul(x, w)
        y = If (c) <
            then_branch = then () => (float[n,4] t) { t = MatMul(m, w) },
            else_branch = other () => (float[n,4] e) { e = Tanh(m) }
        >
    }"""
    model = small(text, {"w": normal(4, 4)})
    data = [{"x": normal(1, 4, seed=s), "c": np.asarray(s % 2 == 0)} for s in range(4)]
    dynamic = {"dynamic": "on"}
    found = sensitivity(model, "ort", data, settings=dynamic)
    assert [row.node for row in found.layers] == ["MatMul_m"]
    assert found.inside == ("If_y/then_branch/MatMul_t",)
    assert "not ranked, and in float here: 1 layer in bodies of If, Loop and Scan" in str(found)
    assert as_ranking(to_json(found)) == found
    del model.graph.node[0]
    model.graph.node[0].attribute[0].g.node[0].input[0] = "x"
    model.graph.node[0].attribute[1].g.node[0].input[0] = "x"
    with pytest.raises(ModelError, match=r"which are not ranked: .*--keep-float 'If_y/then_branch"):
        sensitivity(model, "ort", data, settings=dynamic)
