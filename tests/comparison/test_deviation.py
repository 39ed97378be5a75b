"""Running sums: where nothing can be compared, nothing is called equal."""

import math

import numpy as np

from oq.comparison.deviation import Noise, Sums, Votes, places


def test_an_output_of_nothing_but_nan_is_not_equal() -> None:
    sums = Sums()
    sums.add(np.ones((2, 3), np.float32), np.full((2, 3), np.nan, np.float32))
    found = sums.result("y")
    assert (found.sqnr_db, found.cosine, found.nonfinite) == (-math.inf, 0.0, 6)


def test_arrays_of_another_shape_are_counted_and_left_out() -> None:
    sums, noise, votes = Sums(), Noise(), Votes()
    for found in (np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)):
        for one in (sums, noise):
            one.add(np.full((2, 3), 2.0, np.float32), found)
        votes.add(np.full((2, 3), 2.0, np.float32), found, None)
    error = sums.result("y")
    assert (error.resized, error.max_abs, error.mean_abs) == (1, 1.0, 1.0)
    assert (noise.signal, noise.noise) == (48.0, 6.0 + 24.0), "what is lost is noise"
    assert votes.samples == 2


def test_probabilities_near_0_are_quiet_and_say_little() -> None:
    for exact, other, quiet in ((0.002, 0.0, True), (0.002, 0.5, False), (-0.002, 0.0, False)):
        sums = Sums()
        sums.add(np.full((2, 3), exact, np.float32), np.full((2, 3), other, np.float32))
        assert sums.result("y").quiet == quiet


def test_what_is_nan_in_float_already_is_told_apart() -> None:
    sums = Sums()
    nan = np.nan
    sums.add(np.array([1.0, nan, 2.0], np.float32), np.array([1.0, nan, nan], np.float32))
    found = sums.result("y")
    assert (found.nonfinite, found.nan_in_float) == (2, 1)


def test_no_samples_have_no_classes() -> None:
    votes = Votes()
    votes.add(np.ones((0, 3), np.float32), np.ones((0, 3), np.float32), None)
    assert votes.result("y").samples == 0


def test_sums_do_not_depend_on_how_samples_are_cut() -> None:
    random = np.random.default_rng(0)
    x, y = (random.normal(size=(10, 4)).astype(np.float32) for _ in range(2))
    whole, parts = Sums(), Sums()
    whole.add(x, y)
    for i in range(0, 10, 3):
        parts.add(x[i : i + 3], y[i : i + 3])
    assert math.isclose(whole.result("y").sqnr_db, parts.result("y").sqnr_db, rel_tol=1e-12)
    assert whole.result("y").max_abs == parts.result("y").max_abs


def test_noise_counts_what_the_reference_holds_and_what_only_the_other_breaks() -> None:
    sums = Noise()
    sums.add(np.array([1.0, np.nan, 2.0], np.float32), np.array([1.5, np.inf, 2.0], np.float32))
    assert (sums.signal, sums.noise, sums.ratio) == (5.0, 0.25, 0.05)
    sums.add(np.ones(2, np.float32), np.array([1.0, np.nan], np.float32))
    assert sums.ratio == math.inf
    silent = Noise()
    silent.add(np.zeros(3, np.float32), np.zeros(3, np.float32))
    assert silent.ratio == 0.0
    silent.add(np.zeros(3, np.float32), np.ones(3, np.float32))
    assert silent.ratio == math.inf


def test_labels_per_pixel_are_no_classes() -> None:
    votes = Votes()
    scores = np.eye(3, dtype=np.float32)
    votes.add(scores, scores, np.zeros((3, 2, 2), np.int64))
    found = votes.result("y")
    assert (found.agreement, found.top1) == (100.0, None)


def test_places_are_those_of_a_stable_sort() -> None:
    random = np.random.default_rng(0)
    rows = random.integers(0, 4, (50, 7)).astype(np.float32)  # many ties
    order = np.argsort(-rows, axis=1, kind="stable")
    classes = random.integers(0, 7, 50)
    expected = [list(line).index(c) for line, c in zip(order, classes, strict=True)]
    assert places(rows, classes).tolist() == expected
    assert places(rows[:2], np.array([-1, 7])).tolist() == [7, 7]
