"""What counts as collapsed: errors as large as an output, lost channels, other classes."""

import math
from dataclasses import replace

import numpy as np
import pytest

from oq.comparison.channels import ChannelErrors
from oq.comparison.collapse import ReadingResult, signs_of_collapse, uncompared
from oq.comparison.deviation import Classification, OutputError, Sums
from oq.numerics.values import Array
from tests.small import normal

X = normal(16, 4)


def error(*pairs: tuple[Array, Array], name: str = "y") -> OutputError:
    """The error of an output over the batches ``pairs``, of the float and the quantized model."""
    sums = Sums()
    for exact, found in pairs:
        sums.add(exact, found)
    return sums.result(name)


def signs(*errors: OutputError, classes: tuple[Classification, ...] = ()) -> list[str]:
    return list(signs_of_collapse(ReadingResult(errors, classes)))


@pytest.mark.parametrize(("factor", "lost"), [(0.0, True), (0.2, True), (0.4, False), (1.0, False)])
def test_an_error_as_large_as_the_output(factor: float, lost: bool) -> None:
    """What is left is ``factor`` of each value: 20 log10(1 / (1 - factor)) dB, 3 at 0.29."""
    found = signs(error((X, X * np.float32(factor))))
    db = math.inf if factor == 1 else 20 * math.log10(1 / (1 - factor))
    assert found == ([f"output 'y' has an SQNR of {db:.1f} dB"] if lost else [])


def test_an_output_of_another_shape_in_every_run_is_not_compared() -> None:
    never, once = error((X, X[:3]), (X[:2], X)), error((X, X[:3]), (X, 0 * X))
    assert uncompared(ReadingResult((never, once), ())) == ("y",)
    assert signs(never) == [] and len(signs(once)) == 1


def test_an_output_that_is_nan_wherever_its_shape_is_the_same_was_compared() -> None:
    """In one run of two: it was lost there, whatever the other one is."""
    found = error((X, X[:3]), (X, X * np.float32("nan")))
    assert found.sqnr_db == -math.inf and uncompared(ReadingResult((found,), ())) == ()
    assert signs(found) == ["output 'y' has an SQNR of -inf dB"]


def test_nan_of_the_float_model_is_no_sign() -> None:
    nan = np.full_like(X, np.nan)
    assert signs(error((nan, X))) == [] and len(signs(error((X, nan)))) == 1


def test_a_map_near_0_is_no_sign() -> None:
    near = np.abs(X) / 100
    assert signs(error((near, 0 * near))) == [] and len(signs(error((100 * near, 0 * near)))) == 1


@pytest.mark.parametrize(("equal", "lost"), [(12, False), (4, True)])
def test_integers_are_judged_by_how_many_are_equal(equal: int, lost: bool) -> None:
    exact = np.arange(1, 17)
    found = np.where(np.arange(16) < equal, exact, 100 - exact)
    assert bool(signs(error((exact, found)))) == lost


@pytest.mark.parametrize(
    ("samples", "agreement", "lost"),
    [(8, 49.0, True), (7, 0.0, False), (8, 50.0, False)],
)
def test_classes_that_most_samples_do_not_share(samples: int, agreement: float, lost: bool) -> None:
    votes = Classification("y", samples, agreement, agreement)
    found = signs(error((X, X)), classes=(votes,))
    assert len(found) == lost
    assert not lost or "float model's top-1 on 49 % of 8 samples" in found[0]
    positions = signs(error((X, X)), classes=(replace(votes, positions=True),))
    assert not lost or "8 positions" in positions[0]


def test_the_channel_that_is_lost_is_named() -> None:
    channels = ChannelErrors(axis=1, worst=2, sqnr_db=-1.0, lost=1, judged=4)
    reading = ReadingResult((error((X, X)),), (), (channels,))
    (told,) = signs_of_collapse(reading)
    assert "lost 1 of 4 channels: channel 2 of axis 1" in told
    fine = replace(reading, channels=(replace(channels, lost=0),))
    assert not list(signs_of_collapse(fine))
