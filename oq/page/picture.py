"""``oq.plot``: one chart of a run, a report or a ranking as a matplotlib figure."""

import difflib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from oq.comparison.compare import Verification
from oq.errors import OptionError
from oq.page.plot import (
    draw_activation,
    draw_layer_errors,
    draw_ranking,
    draw_weight,
    require_matplotlib,
)
from oq.page.read_report import Pictures, read_pictures
from oq.page.write import Pending
from oq.ranking.rank import Ranking
from oq.reporting.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Picture: TypeAlias = Figure

ERRORS, SENSITIVITY = "errors", "sensitivity"


class Reported(Protocol):
    """A run of ``oq.quantize``, with the charts of its page where ``report=`` asked for one."""

    @property
    def report(self) -> Report: ...

    @property
    def page(self) -> Pending | None: ...


def plot(
    what: "str | Path | Ranking | Verification | Reported", name: str | None = None
) -> "Figure":
    """One chart of ``what`` as a matplotlib figure, which notebooks show and ``savefig`` writes.

    ``what``: a :class:`Result` of ``oq.quantize(..., report=FILE)``, a file that ``--report``
    wrote, a Verification with ``per_layer``, or a Ranking.  ``name``: "errors" (default; the share
    of every tensor in the output error), "sensitivity", or a tensor or weight: its histogram with
    the range of every calibrator, or its range by channel.

    Raises:
        OptionError: ``what`` has no such chart.
        MissingExtra: matplotlib is not installed.
    """
    require_matplotlib("oq plot")
    if isinstance(what, Ranking):
        return draw_ranking(what)
    label, found = _gather(what)
    charts = _charts(found)
    wanted = ERRORS if name is None else name
    if wanted not in charts:
        raise OptionError(_missing(label, wanted, charts))
    return charts[wanted]()


def _gather(what: "str | Path | Verification | Reported") -> tuple[str, Pictures]:
    """What ``what`` is called in messages, and its charts."""
    if isinstance(what, str | Path):
        return repr(str(what)), read_pictures(Path(what))
    if isinstance(what, Verification):
        return "the comparison", Pictures({}, {}, what.layers, None, what.target)
    report, found = what.report, what.report.verification
    layers = () if found is None else found.layers
    title = f"{Path(report.model).name} for {report.target}"
    if what.page is None:
        return "a run without report=", Pictures({}, {}, layers, None, title)
    evidence, ranking = what.page.evidence, what.page.wanted.ranking
    activations = {a.tensor: a for a in evidence.activations}
    weights = {w.tensor: w for w in evidence.weights}
    return "the run", Pictures(activations, weights, layers, ranking, title)


def _charts(found: Pictures) -> "dict[str, Callable[[], Figure]]":
    """Name -> what draws it, of all there are."""
    title = found.title
    charts: dict[str, Callable[[], Figure]] = {}
    for seen in found.activations.values():
        charts[seen.tensor] = partial(draw_activation, seen, title)
    for weight in found.weights.values():
        charts[weight.tensor] = partial(draw_weight, weight, title)
    ranking = found.ranking
    if ranking is not None:
        charts.setdefault(SENSITIVITY, lambda: draw_ranking(ranking))
    if found.layers:
        charts.setdefault(ERRORS, lambda: draw_layer_errors(found.layers, title))
    return charts


def _missing(label: str, name: str, charts: "dict[str, Callable[[], Figure]]") -> str:
    """Which charts there are instead: those of the whole, and names like the one asked for."""
    whole = [n for n in (ERRORS, SENSITIVITY) if n in charts]
    rest = [n for n in charts if n not in whole]
    close = difflib.get_close_matches(name, rest, n=3, cutoff=0.3) or rest[:3]
    named = [*whole, *map(repr, close)]
    has = f"it has {', '.join(named)}" if named else "it has none"
    more = len(rest) - len(close)
    return f"{label} has no picture {name!r}; {has}" + (f", and {more} more" if more else "")
