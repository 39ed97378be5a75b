"""Layers in bodies of If, Loop and Scan are ranked as those of the main graph: every figure is that
of a file that ``oq quantize`` makes."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from glob import escape

import numpy as np
import onnx
import pytest

import oq
from oq.errors import ModelError
from oq.numerics.values import Array
from oq.planning import registry
from oq.planning.overrides import Overrides
from oq.planning.setup import plan_model
from oq.ranking.candidates import find_candidates, parts_without
from oq.ranking.rank import Ranking, decibels, sensitivity
from tests.emission.test_inside import MATRIX, choice, loop, named, scan
from tests.enclosed import enclose
from tests.planning.test_left_inside import nested
from tests.small import normal, random_feeds, reference, small

Samples = Sequence[Mapping[str, Array]]

THEN, ELSE = "if/then_branch/Gemm_t", "if/else_branch/Gemm_e"
MODELS: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[int, ...], tuple[str, ...]]] = {
    "loop": (loop, (1, 8, 6, 6), ("loop/body/Conv_c",)),
    "choice": (choice, (1, 24), (THEN, ELSE)),
    "scan": (scan, (5, 1, 24), ("scan/body/MatMul_m", "scan/body/MatMul_seen")),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A model with layers in a body, what is ranked, and the samples."""

    model: onnx.ModelProto
    data: Samples
    layers: tuple[str, ...]
    found: Ranking

    def sqnr(self, *keep: str) -> float:
        """Of the file that ``oq quantize --keep-float`` makes, by onnxruntime."""
        made = oq.quantize(
            *(self.model, "ort", self.data),
            batch_size=1,
            verify=False,
            refine="none",
            keep_float=[escape(name) for name in keep],
        ).model
        runs = [[reference(m, feeds) for m in (self.model, made)] for feeds in self.data]
        ratios = []
        for name in runs[0][0]:
            signal = sum((exact[name].astype(float) ** 2).sum() for exact, _ in runs)
            errors = ((exact[name].astype(float) - found[name]) ** 2 for exact, found in runs)
            noise = sum(e.sum() for e in errors)
            ratios.append(noise and noise / signal)
        return decibels(sum(ratios) / len(ratios))


@pytest.fixture(scope="module", params=MODELS)
def case(request: pytest.FixtureRequest) -> Case:
    make, shape, layers = MODELS[request.param]
    data = [{"x": normal(*shape, seed=s)} for s in range(8)]
    return Case(make(), data, layers, sensitivity(make(), "ort", data, batch_size=1))


def test_the_figures_are_those_of_files(case: Case) -> None:
    """The whole, all but each layer, and each layer alone."""
    rows = {row.node: row for row in case.found.layers}
    assert set(case.layers) <= set(rows) and case.found.inside == ()
    assert case.found.sqnr_db == pytest.approx(case.sqnr(), abs=1e-3)
    for node in case.layers:
        others = tuple(n for n in rows if n != node)
        assert rows[node].without_db == pytest.approx(case.sqnr(node), abs=1e-3), node
        assert rows[node].sqnr_db == pytest.approx(case.sqnr(*others), abs=1e-3), node
        assert rows[node].local_db > 10, node


def test_a_layer_costs_its_multiplications_in_one_turn() -> None:
    """8 x 8 channels, 3 x 3 windows, at 6 x 6 positions."""
    planned = plan_model(loop(), registry.target("ort"), Overrides())
    assert [layer.macs for layer in find_candidates(planned)] == [8 * 8 * 9 * 36]


def test_a_layer_is_left_out_by_its_path() -> None:
    """Also where a body within a body holds it."""
    planned = plan_model(nested(), registry.target("ort"), Overrides())
    layers = {layer.node: layer for layer in find_candidates(planned)}
    inner = "scan/body/If_m/then_branch/MatMul_t"
    assert {"matmul", "scan/body/MatMul_seen", inner} <= set(layers)
    paths = {part.path for part in parts_without(planned, ())}
    assert paths == {"", "scan/body/", "scan/body/If_m/then_branch/"}
    assert {part.path for part in parts_without(planned, [layers[inner]])} == {"", "scan/body/"}


def test_the_figures_of_a_body_within_a_body() -> None:
    data = [{"x": normal(5, 1, 24, seed=s), "h0": normal(1, 24, seed=s + 9)} for s in range(6)]
    found = sensitivity(nested(), "ort", data, batch_size=1)
    case = Case(nested(), data, (), found)
    rows = {row.node: row for row in found.layers}
    inner = "scan/body/If_m/then_branch/MatMul_t"
    assert found.sqnr_db == pytest.approx(case.sqnr(), abs=1e-3)
    assert rows[inner].without_db == pytest.approx(case.sqnr(inner), abs=1e-3)


def test_the_layer_that_is_bad_in_integers_is_the_one_to_keep() -> None:
    """One huge weight in one branch leaves its other weights few steps."""
    model = choice()
    wide = MATRIX.copy()
    wide[0] = 1000 * wide[0]
    model.graph.initializer.append(onnx.numpy_helper.from_array(wide, "wide"))
    model.graph.node[-1].attribute[1].g.node[1].input[1] = "wide"
    data = [{"x": normal(1, 24, seed=s)} for s in range(8)]
    for feeds in data:
        feeds["x"][:, 0] = 0
    found = sensitivity(model, "ort", data, batch_size=1)
    assert found.keep == (ELSE,) and found.layers[0].node == ELSE
    assert f"--keep-float {ELSE}" in str(found)


@pytest.mark.parametrize("seed", range(60 if os.environ.get("OQ_SOAK") else 2))
def test_random_graphs_in_bodies(seed: int) -> None:
    model = enclose(seed + 1)
    assert model is not None
    data = [random_feeds(model, free=1, seed=s) for s in range(6)]
    try:
        found = sensitivity(model, "ort", data, batch_size=1)
    except ModelError as error:
        assert "quantizes no layer" in str(error)
        return
    case = Case(model, data, (), found)
    assert found.sqnr_db == pytest.approx(case.sqnr(), abs=1e-3, nan_ok=True)
    for row in [r for r in found.layers if "/" in r.node][:1]:
        assert row.without_db == pytest.approx(case.sqnr(row.node), abs=1e-3, nan_ok=True)


def test_layers_that_no_sample_runs_are_not_ranked() -> None:
    data = [{"x": np.abs(normal(1, 24, seed=s))} for s in range(4)]
    found = sensitivity(choice(), "ort", data, batch_size=1)
    assert [row.node for row in found.layers] == [THEN]
    text = """net (float[n,24] x, bool c) => (float[n,24] y) {
        y = If (c) <
            then_branch = then () => (float[n,24] t) { t = MatMul(x, w) },
            else_branch = other () => (float[n,24] e) { e = Identity(x) }
        >
    }"""
    off = [{"x": normal(1, 24), "c": np.asarray(False)}]
    with pytest.raises(ModelError, match="in bodies that no sample runs"):
        sensitivity(named(small(text, {"w": MATRIX})), "ort", off)


@pytest.mark.slow
def test_processes_change_nothing() -> None:
    data = [{"x": normal(5, 1, 24, seed=s)} for s in range(4)]
    one, two = (sensitivity(scan(), "ort", data, batch_size=1, jobs=jobs) for jobs in (1, 2))
    assert one == two
