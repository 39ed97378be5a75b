"""What any grid would destroy, however well its range is chosen: it stays in float."""

from collections.abc import Mapping

from oq.model.view import GraphView
from oq.planning.divisors import divisors
from oq.planning.energies import spectra
from oq.planning.saturation import powers
from oq.planning.states import carried_states
from oq.planning.target import Target

FULL = 255
"""The highest of 256 codes from 0."""


def at_risk(view: GraphView, target: Target, states: Mapping[str, str] | None) -> dict[str, str]:
    """Node -> why: states that are fed back (``states``: those of a body), what divides, the
    energies of a spectrogram whose logarithm is taken or root is read, and powers in front of what
    saturates."""
    found = carried_states(view, states) | divisors(view, target.exclusive)
    return found | spectra(view, _is_narrow(target)) | powers(view)


def _is_narrow(target: Target) -> bool:
    """Whether what is never negative has fewer equally spaced codes than 8 bits."""
    codes = target.positive or target.activations
    return codes.uniform and (codes.qmax if codes.symmetric else codes.levels - 1) < FULL
