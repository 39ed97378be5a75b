"""The steps by name, in the order they run."""

from collections.abc import Mapping, Sequence

from oq.errors import OptionError
from oq.refine.bias import correct_bias
from oq.refine.step import Step

STEPS: Mapping[str, Step] = {
    "bias": Step("mean error of each layer's output, taken back in its bias", correct_bias),
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
