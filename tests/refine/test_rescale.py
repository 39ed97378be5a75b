"""Scales of channels chosen by data: the same function, and less error in the DPU's int8."""

import itertools
from dataclasses import replace

import numpy as np
import onnx
import pytest

from oq.model.session import Session, Settings, expose
from oq.numerics.grid import fake_quantize, fit
from oq.numerics.values import INT8, Array, QType
from oq.numerics.weights import channel_range
from oq.planning import registry
from oq.planning.target import Target
from oq.refine.bias import correct_bias
from oq.refine.equalize import equalize
from oq.refine.layerwise import Walk
from oq.refine.rescale import MOST, Sizes, choose, find_pairs, rescale
from oq.refine.run import Recalibrate, refine
from oq.refine.subject import Subject
from tests.graphs import CHANNELS, Net
from tests.refine.nets import batches, subject
from tests.refine.test_equalize import far, run
from tests.small import normal

Samples = tuple[dict[str, Array], ...]

POWER_OF_TWO = QType("int8", -128, 127, True, "power_of_two")


def clipped() -> onnx.ModelProto:
    """A Conv and a depthwise Conv of very uneven channels, each in front of a ReLU6."""
    net = Net()
    net.input("x")
    lo, hi = net.constant("lo", 0.0), net.constant("hi", 6.0)
    net.conv("x", "a")
    net.node("Clip", ["a", lo, hi], "ca")
    net.conv("ca", "b", group=CHANNELS)
    net.node("Clip", ["b", lo, hi], "cb")
    net.node("Conv", ["cb", net.weight("w_c", 8, CHANNELS, 1, 1), net.weight("b_c", 8)], "c")
    net.node("GlobalAveragePool", [net.node("Relu", ["c"], "rc")], "p")
    net.gemm(net.node("Flatten", ["p"], "f"), "y", features=8)
    for name in ("w_a", "w_b"):
        net.constants[name] *= np.asarray([8, 1, 0.1, 0.03], np.float32).reshape(-1, 1, 1, 1)
    return net.model("y")


def test_the_function_stays() -> None:
    before = subject(clipped(), "dpu")
    assert [p.first.op for p in find_pairs(before)] == ["Conv", "Conv"]
    change = rescale(before)
    after = before.remade(change)
    samples = batches()  # a channel may have grown up to the Clip's bound, as far as these go
    assert far(run(after.model, samples), run(clipped(), samples)) < 1e-5
    assert after.known == change.ranges and len(change.ranges) == 2


def test_nothing_is_left_half_way() -> None:
    """``s z + b`` for every code of z: on the steps of y (1/16 behind a ReLU6) where z is coarser,
    and hardly ever half way between two of them where it is finer."""
    before = subject(clipped(), "dpu")
    change = rescale(before)
    codes = np.arange(-127, 128)
    for pair in find_pairs(before):
        step = float(change.ranges[pair.between].hi) / 127
        scales = change.constants[pair.second.weight].reshape(-1).astype(np.float64)
        outer = change.constants[str(pair.second.bias)]
        np.testing.assert_array_equal(outer * 16, np.rint(outer * 16))
        np.testing.assert_array_equal(scales * 64, np.rint(scales * 64))
        for scale in scales:
            halves = (scale * step * codes * 32) % 2 == 1
            assert halves.mean() < 0.07


def test_two_biases_on_their_grids_miss_half_a_step_at_most() -> None:
    """The inner one moves y's middle in steps of its coarse grid, the outer one makes up for it."""
    before = subject(clipped(), "dpu")
    change = rescale(before)
    for pair in find_pairs(before):
        outer = change.constants[str(pair.second.bias)]
        step = max(2.0 ** np.ceil(np.log2(np.abs(outer).max() / 127)), 1 / 16)
        inner = change.constants[str(pair.first.bias)]
        scale = change.constants[pair.second.weight].reshape(-1)
        grid = fit(channel_range(inner, None), POWER_OF_TWO)
        missed = (inner - fake_quantize(inner, grid)) * scale
        assert np.abs(missed).max() <= step / 2 + 1e-6
        assert np.abs(inner * scale).max() > step


def error_of(by: Array, sizes: Sizes, qmax: int) -> float:
    """The equation of the module, written once more."""
    steps = [
        2.0 ** np.ceil(np.log2((s * by).max() / qmax - 1e-12)) for s in (sizes.weight, sizes.need)
    ]
    error = (steps[0] ** 2 * sizes.window + steps[1] ** 2) / (12 * by**2)
    return float((np.minimum(error, sizes.variance) * sizes.counts).sum())


@pytest.mark.parametrize("seed", range(6))
def test_the_choice_is_near_the_best_of_all(seed: int) -> None:
    """Against every combination for four channels: at most twice the least error."""
    random = np.random.default_rng(seed)
    weight, window = np.exp2(random.normal(0, 2, 4)), np.exp2(random.normal(0, 1, 4))
    need = 3 * weight * np.sqrt(window)
    variance = weight**2 * window
    sizes = Sizes(weight, need, window, variance, 1 / variance)
    k, reach = choose(sizes, POWER_OF_TWO, POWER_OF_TWO)
    by = np.exp2(k)
    every = (np.exp2(np.asarray(k, float)) for k in itertools.product(range(MOST + 1), repeat=4))
    best = min(error_of(by, sizes, 127) for by in every)
    plain = error_of(np.ones(4), sizes, 127)
    assert error_of(by, sizes, 127) <= min(2 * best, plain)
    assert reach >= (need * by).max() * 0.999


def test_channels_that_never_change_do_not_count() -> None:
    sizes = Sizes(*(np.asarray(v, float) for v in ([1, 500], [1, 0], [1, 0], [1, 0], [1, 1])))
    k, _ = choose(sizes, INT8, INT8)
    assert k[0] - k[1] == MOST


def test_it_saves_the_channels_beside_one_that_dwarfs_them() -> None:
    """One channel has weights 64 times as large, and its ReLU6 is nearly a switch; one scale for
    all leaves two codes to the others."""
    model = clipped()
    sizes = np.asarray([64, 1, 1, 1], np.float32).reshape(-1, 1, 1, 1)
    values = {"w_a": normal(CHANNELS, CHANNELS, 3, 3) * sizes / 4, "b_a": np.full(CHANNELS, 3.0)}
    for constant in model.graph.initializer:
        if constant.name in values:
            array = values[constant.name].astype(np.float32)
            constant.CopyFrom(onnx.numpy_helper.from_array(array, constant.name))
    profile, held = registry.target("dpu"), batches(3, seed=5)
    without = replace(profile, passes=tuple(p for p in profile.passes if p != "insert_rescale"))
    found = {}
    for target, steps in ((profile, ["bias", "rescale"]), (without, ["bias"])):
        before = subject(model, target, count=8)
        refined = refine(steps, before, held, resolved(target, before))
        found[steps[-1]] = worst_channel_db(before.model, refined.subject.quantized(), held)
    assert found["bias"] < 12 and found["rescale"] > 20


def worst_channel_db(exact: onnx.ModelProto, rounded: onnx.ModelProto, held: Samples) -> float:
    """The least SQNR among all but the first channel of the first Clip's output."""
    wanted, got = (
        np.concatenate([s.run(feeds, ["ca"])[0] for feeds in held])[:, 1:]
        for s in (Session(expose(m, ["ca"]), Settings(reading="literal")) for m in (exact, rounded))
    )
    over = (0, 2, 3)
    return float(10 * np.log10(wanted.var(axis=over) / (wanted - got).var(axis=over)).min())


def resolved(profile: Target, like: Subject) -> Recalibrate:
    from oq.calibration.collect import collect
    from oq.calibrators.minmax import MinMax
    from oq.emission.solve import solve
    from oq.numerics.values import Batch
    from oq.planning.setup import tensors_to_calibrate

    def again(changed: Subject, _calibrator: str | None) -> Subject:
        wanted = tensors_to_calibrate(changed.plan, changed.view)
        statistics = collect(changed.model, wanted, [Batch(s) for s in like.samples])
        solution = solve(
            *(changed.plan, changed.view, statistics, MinMax()),
            known=changed.known,
            legalize=profile.legalize,
        )
        return replace(changed, solution=solution)

    return again


def test_targets_with_a_scale_per_channel_need_none() -> None:
    change = rescale(subject(clipped(), "ort"))
    assert not change.constants and "per-tensor" in change.note


def test_equalization_leaves_the_sizes_between_a_pair_alone() -> None:
    before = subject(clipped(), "dpu")
    weight = next(find_pairs(before)).first.weight
    assert weight in equalize(before).constants
    change = rescale(before)
    after = before.remade(change)
    assert weight not in equalize(after).constants


def test_means_beyond_the_known_range_are_no_error() -> None:
    """z is cut off where the Clip behind would cut y; what a bias takes back is the rest."""
    net = Net()
    net.conv(net.input("x"), "a")
    net.constants["w_a"] *= np.asarray([60, 1, 0.1, 0.03], np.float32).reshape(-1, 1, 1, 1)
    net.node("Clip", ["a", net.constant("lo", 0.0), net.constant("hi", 6.0)], "ca")
    net.conv("ca", "y")
    before = subject(net.model("y"), "dpu", count=6)
    change = rescale(before)
    again = resolved(registry.target("dpu"), before)
    after = again(before.remade(change), None)
    pair = next(find_pairs(after))
    between = Walk(after.model, after.samples).at(pair.between)
    most = float(after.known[pair.between].hi)
    assert max(np.abs(z).max() for z in between) > 2 * most  # cut off on purpose
    moved = correct_bias(after).constants[str(pair.second.bias)] - after.constant(
        str(pair.second.bias)
    )
    assert np.abs(moved).max() < 0.2
