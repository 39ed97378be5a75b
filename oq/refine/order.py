"""The steps by name, in the order they are tried.

Outliers first, and the scales of channels in convolutions that were put in for them: next to what
they mend nothing else can be judged, and no later step is done again yet.  Then the mean errors,
since they hide what the others gain; then what moves ranges, how they are measured, and last what
rounds to the grids that are final by then.
"""

from collections.abc import Mapping, Sequence

from oq.errors import OptionError
from oq.refine.absorb import absorb
from oq.refine.adaround import learn_rounding
from oq.refine.bias import correct_bias
from oq.refine.equalize import equalize
from oq.refine.gptq import round_with_feedback
from oq.refine.rescale import rescale
from oq.refine.smooth import smooth
from oq.refine.step import Step
from oq.refine.subject import Change, Subject

CLIPPING_FROM = 64
"""Samples below which no range is clipped: what they hold of rare large values says too little, and
so do the few that are held back.  (ResNet-20, KL to the float model on unseen images: worse by up
to a half with 16 and 32 samples, even with 64, better by a fifth with 96.)"""


def remeasure_ranges(_subject: Subject) -> Change:
    """No constant changes: another calibrator is all."""
    return Change({}, "ranges with the least squared error")


STEPS: Mapping[str, Step] = {
    "smooth": Step(
        "outliers in front of linear layers moved into their weights (SmoothQuant)",
        smooth,
        early=True,
    ),
    "rescale": Step(
        "scales of channels in depthwise 1x1 convolutions set by data", rescale, early=True
    ),
    "bias": Step("mean error of each layer's output, taken back in its bias", correct_bias),
    "absorb": Step(
        "least values of channels moved into the bias of the next layer", absorb, early=True
    ),
    "equalize": Step("channels between two layers brought to one size", equalize, early=True),
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


def choose_steps(wished: str | Sequence[str] | None, default: Sequence[str]) -> tuple[str, ...]:
    """The steps that ``--refine`` names, in the order they run; ``default`` for None.

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
