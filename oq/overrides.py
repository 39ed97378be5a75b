"""The user's say over single tensors: which calibrator serves which."""

import fnmatch
from collections.abc import Sequence
from dataclasses import replace

from oq.errors import OptionError
from oq.spec import Own, Plan, Site
from oq.view import GraphView

Choice = tuple[str, str]
"""(glob, calibrator name); the glob is held against the tensor's name, and the name and op of the
node that computes it."""


def assign_calibrators(plan: Plan, view: GraphView, choices: Sequence[Choice]) -> Plan:
    """``plan`` with a calibrator named at every site that a glob matches; the first match wins.

    Raises:
        OptionError: a glob matches no tensor that is calibrated.
    """
    used: set[str] = set()
    sites = tuple(_assign(site, view, choices, used) for site in plan.sites)
    for glob, name in choices:
        if glob not in used:
            raise OptionError(
                f"--calibrator-for {glob}={name} matches no calibrated tensor, layer or op "
                "(oq plan lists them)"
            )
    return replace(plan, sites=sites)


def _assign(site: Site, view: GraphView, choices: Sequence[Choice], used: set[str]) -> Site:
    if not isinstance(site.spec, Own) or view.is_constant(site.tensor):
        return site
    names = _names(site, view)
    hits = [c for c in choices if any(fnmatch.fnmatchcase(n, c[0]) for n in names)]
    used.update(glob for glob, _ in hits)
    return replace(site, spec=replace(site.spec, calibrator=hits[0][1])) if hits else site


def _names(site: Site, view: GraphView) -> tuple[str, ...]:
    producer = view.producer(site.tensor)
    return (site.tensor,) if producer is None else (site.tensor, producer.name, producer.op)
