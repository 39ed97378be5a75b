"""The steps by name, in the order they are tried.

First ``smooth`` and ``rescale``, which remove outliers and uneven channels: the effect of other
steps cannot be measured next to these, and no later step has to be repeated yet.  Then the mean
errors, which hide what the others gain; then the steps that change ranges; and last rounding, for
which the ranges must be final.
"""

from collections.abc import Mapping, Sequence

from oq.errors import OptionError
from oq.model.view import GraphView
from oq.planning.spec import Plan
from oq.refine.absorb import absorb
from oq.refine.adaround import learn_rounding
from oq.refine.bias import correct_bias
from oq.refine.equalize import equalize
from oq.refine.gptq import round_with_feedback
from oq.refine.layer_pairs import may_scale
from oq.refine.rescale import rescale
from oq.refine.smooth import may_smooth, smooth
from oq.refine.step import Step
from oq.refine.subject import Change, Subject

CLIPPING_FROM = 64
"""Minimum number of samples for clipping ranges: fewer calibration samples say too little about
rare large values, and so do the few held-out ones.  (ResNet-20, KL to the float model on unseen
images: up to 50 % worse with 16 and 32 samples, equal with 64, 20 % better with 96.)"""


def remeasure_ranges(_subject: Subject) -> Change:
    """Changes no constants: only the calibrator is different."""
    return Change({}, "ranges with the least squared error")


STEPS: Mapping[str, Step] = {
    "smooth": Step(
        "outliers in front of linear layers moved into their weights (SmoothQuant)",
        smooth,
        early=True,
        may_move=may_smooth,
    ),
    "rescale": Step(
        "scales of channels in depthwise 1x1 convolutions set by data", rescale, early=True
    ),
    "bias": Step("mean error of each layer's output, taken back in its bias", correct_bias),
    "absorb": Step(
        "least values of channels moved into the bias of the next layer",
        absorb,
        early=True,
        may_move=may_scale,
    ),
    "equalize": Step(
        "channels between two layers brought to one size", equalize, early=True, may_move=may_scale
    ),
    "ranges": Step(
        "ranges with the least squared error (calibrator mse)",
        remeasure_ranges,
        early=True,
        calibrator="mse",
        fewest=CLIPPING_FROM,
    ),
    "round": Step(
        "weights refitted to their input (GPTAQ), rounded so that errors cancel (GPTQ); biases too",
        round_with_feedback,
        instead=("bias",),
    ),
    "adaround": Step(
        "rounding learned by gradient descent (torch; minutes), biases with it",
        learn_rounding,
        instead=("bias", "round"),
    ),
}

NONE = "none"


def calibrator_ahead(names: Sequence[str], view: GraphView, plan: Plan) -> str | None:
    """The calibrator of the first of the steps ``names`` that has one, if no step in front of it
    can move what it measures; None if there is none."""
    for step in (STEPS[name] for name in names):
        if step.calibrator is not None or (step.early and step.may_move(view, plan)):
            return step.calibrator
    return None


def choose_steps(wished: str | Sequence[str] | None, default: Sequence[str]) -> tuple[str, ...]:
    """The steps that ``--refine`` names, in execution order; ``default`` for None.

    Raises:
        OptionError: there is no such step.
    """
    if wished is None:
        names = list(default)
    else:
        given = wished.split(",") if isinstance(wished, str) else wished
        names = [name.strip() for name in given]
        if names == [NONE]:
            names = []
    for name in names:
        if name not in STEPS:
            raise OptionError(f"--refine {name!r}: expected {NONE} or some of {', '.join(STEPS)}")
    return tuple(name for name in STEPS if name in names)
