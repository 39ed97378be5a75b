"""Shapes of the profile: what is asked for, what samples have, what is assumed."""

import numpy as np
import pytest

from oq.deployment.trt.profiles import make_profile
from oq.errors import OptionError
from oq.numerics.values import TensorInfo

IMAGE = TensorInfo("x", "float32", ("n", 3, None, None))
TEXT = (TensorInfo("ids", "int64", ("n", "seq")), TensorInfo("mask", "int64", ("n", "seq")))


def test_a_model_without_free_axes_has_no_profile() -> None:
    assert not make_profile([TensorInfo("x", "float32", (1, 3, 8, 8))], {}).shapes


def test_defaults_are_told() -> None:
    found = make_profile([IMAGE], {})
    assert found.shapes["x"] == ((1, 3, 32, 32), (8, 3, 224, 224), (32, 3, 640, 640))
    assert found.assumed == ("x",)


def test_an_axis_name_has_one_size_in_all_inputs() -> None:
    asked = {"opt_shape": {"ids": (4, 100)}, "max_shape": {"mask": (4, 384)}}
    found = make_profile(TEXT, asked)
    assert found.shapes["ids"] == found.shapes["mask"] == ((1, 1), (4, 100), (4, 384))
    assert found.assumed == ("ids", "mask")


@pytest.mark.parametrize(
    ("asked", "sizes"),
    [
        ({"opt_shape": {"x": (64, 3, 8, 900)}}, ((1, 8, 32), (64, 8, 900), (64, 640, 900))),
        ({"max_shape": {"x": (2, 3, 100, 16)}}, ((1, 32, 16), (2, 100, 16), (2, 100, 16))),
        ({"min_shape": {"x": (40, 3, None, 700)}}, ((40, 32, 700), (40, 224, 700), (40, 640, 700))),
    ],
)
def test_what_is_asked_moves_what_is_not(
    asked: dict[str, dict[str, tuple[int | None, ...]]], sizes: tuple[tuple[int, ...], ...]
) -> None:
    found = make_profile([IMAGE], asked).shapes["x"]
    assert tuple((s[0], s[2], s[3]) for s in found) == sizes


def test_samples_give_sizes_but_not_their_number() -> None:
    feeds = [{"x": np.zeros((1, 3, h, 64), np.float32)} for h in (50, 90, 70)]
    found = make_profile([IMAGE], {}, feeds)
    assert found.shapes["x"] == ((1, 3, 50, 64), (8, 3, 70, 64), (32, 3, 90, 64))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"min_shape": {"z": (1,)}}, r"--min-shape z=1: the model has no such input; it has 'x'"),
        ({"max_shape": {"x": (1, 3)}}, "has 4 axes"),
        ({"opt_shape": {"x": (1, 4, 8, 8)}}, "fixes axis 1 at 3, not 4"),
        ({"opt_shape": {"x": (0, 3, 8, 8)}}, "needs sizes of 1 or more, not 0"),
        (
            {"min_shape": {"x": (4, 3, 8, 8)}, "max_shape": {"x": (2, 3, 8, 8)}},
            r"--min-shape 4, --max-shape 2 of one axis; sizes must not get smaller",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    asked: dict[str, dict[str, tuple[int, ...]]], said: str
) -> None:  # fmt: skip
    with pytest.raises(OptionError, match=said):
        make_profile([IMAGE], asked)


def test_an_input_of_unknown_rank_needs_a_shape() -> None:
    unknown = TensorInfo("x", "float32", None)
    with pytest.raises(OptionError, match="give --opt-shape x="):
        make_profile([unknown], {})
    found = make_profile([unknown], {"opt_shape": {"x": (2, 5)}})
    assert found.shapes["x"] == ((1, 1), (2, 5), (32, 512))
