"""A judgement in words: findings, then what runs in integers and what in float, then totals."""

from collections.abc import Iterable, Iterator

from oq.forecast import Fate, Forecast
from oq.judgement import Judgement
from oq.report import conformance, finding_lines, item, row

SHOWN = 3
"""How many nodes of one kind are named."""


def judgement_lines(found: Judgement) -> Iterable[str]:
    """The whole answer of ``oq check`` in 80 columns."""
    yield from finding_lines(found.findings)
    if found.findings:
        yield ""
    yield from forecast_lines(found.forecast)
    yield ""
    yield from row("target", found.target)
    yield from row("findings", conformance(found.findings))
    yield from total_lines(found.forecast)


def forecast_lines(found: Forecast) -> Iterator[str]:
    """Nodes by fate: kernels of one sort together, floats by op and reason."""
    yield f"{'runs as':<24} {'nodes':>5} {'MACs':>6}"
    kernels: dict[str, list[Fate]] = {}
    moves: dict[str, list[Fate]] = {}
    floats: dict[tuple[str, str], list[Fate]] = {}
    for fate in found.nodes:
        if fate.runs == "float":
            floats.setdefault((fate.kernel or fate.op, fate.reason), []).append(fate)
        elif fate.kernel:
            kernels.setdefault(fate.kernel, []).append(fate)
        else:
            moves.setdefault(fate.op, []).append(fate)
    for title, groups in (("int8", kernels), ("int8, moved", moves)):
        for name, fates in groups.items():
            yield _line(f"{title}: {name}", fates, found)
    for (name, reason), fates in floats.items():
        yield _line(f"float: {name}", fates, found)
        yield from item(reason, indent=4)
        yield from item(_names(fates), indent=6)


def total_lines(found: Forecast) -> Iterator[str]:
    """Share in integers and what it costs to get in and out of them."""
    yield from row(
        "int8",
        f"{found.kernels} of {found.kernels + found.float_kernels} kernels"
        + (f", {found.share:.1f} % of {_count(found.macs)} MACs" if found.macs else ""),
    )
    yield from row(
        "crossings",
        f"{found.boundaries} between int8 and float, {found.requantizations} requantizations",
    )


def _line(name: str, fates: list[Fate], found: Forecast) -> str:
    share = 100 * sum(f.macs or 0 for f in fates) / found.macs if found.macs else 0.0
    text = f"{share:.1f} %" if share else ""
    return f"  {name:<22} {len(fates):>5} {text:>6}".rstrip()


def _names(fates: list[Fate]) -> str:
    names = [f.node for f in fates]
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _count(macs: int) -> str:
    """``3.1 M``."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if macs >= size:
            return f"{macs / size:.1f} {unit}"
    return str(macs)
