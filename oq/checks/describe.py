"""The result of ``oq check`` as text: findings, nodes in int8 and in float, totals."""

from collections import Counter
from collections.abc import Iterable, Iterator

from oq.checks.forecast import Forecast, NodeForecast
from oq.checks.judgement import Judgement
from oq.planning.check import Finding
from oq.wording import counted, generalize, item, row

SHOWN = 3
"""Maximum number of nodes named per group."""


def judgement_lines(found: Judgement) -> Iterable[str]:
    """The output of ``oq check`` in 80 columns."""
    yield from _finding_lines(found.findings)
    if found.findings:
        yield ""
    yield from forecast_lines(found.forecast)
    yield ""
    yield from row("target", found.target)
    yield from row("findings", conformance(found.findings))
    yield from total_lines(found.forecast)


def _finding_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """Equal findings together: severity, check, what is wrong, where, and the remedy."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.check, generalize(finding.message)), []).append(finding)
    for (name, shared), same in groups.items():
        first, many = same[0], f" x{len(same)}" if len(same) > 1 else ""
        message = shared if len(same) > 1 else first.message
        yield from item(f"{first.severity} [{name}]{many}: {message}; {first.remedy}")
        yield from item(_list([f.node for f in same]), indent=6)


def forecast_lines(found: Forecast) -> Iterator[str]:
    """Integer kernels grouped by kind, float nodes by op and reason."""
    yield f"{'runs as':<32} {'count':>5} {'MACs':>6}"
    kernels: dict[str, list[NodeForecast]] = {}
    weights: dict[str, list[NodeForecast]] = {}
    moves: dict[str, list[NodeForecast]] = {}
    floats: dict[tuple[str, str], list[NodeForecast]] = {}
    for entry in found.nodes:
        if entry.runs == "float":
            floats.setdefault(
                (entry.kernel or entry.op, generalize(entry.reason, entry.node)), []
            ).append(entry)
        elif entry.runs == "weights":
            weights.setdefault(entry.kernel, []).append(entry)
        elif entry.kernel:
            kernels.setdefault(entry.kernel, []).append(entry)
        else:
            moves.setdefault(entry.op, []).append(entry)
    titled = (("int8", kernels), ("weights in blocks", weights), ("int8, moved", moves))
    for title, groups in titled:
        for name, entries in groups.items():
            yield _line(f"{title}: {name}", entries, found)
    for (name, reason), entries in floats.items():
        yield _line(f"float: {name}", entries, found)
        yield from item(reason if _count_of(entries) > 1 else entries[0].reason, indent=4)
        yield from item(_names(entries), indent=6)


def total_lines(found: Forecast) -> Iterator[str]:
    """The share in integers, transitions to float and requantizations."""
    yield from row(
        "int8",
        f"{found.kernels} of {found.kernels + found.float_kernels} kernels"
        + (f", {found.share:.1f} % of {_short(found.macs)} MACs" if found.macs else ""),
    )
    if found.weight_kernels:
        share = f", {100 * found.weight_macs / found.macs:.1f} % of MACs" if found.macs else ""
        yield from row("weights", f"{found.weight_kernels} kernels read blocks of integers{share}")
    yield from row(
        "crossings",
        f"{found.boundaries} between int8 and float, {found.requantizations} requantizations",
    )


def _line(name: str, entries: list[NodeForecast], found: Forecast) -> str:
    share = 100 * sum(f.macs or 0 for f in entries) / found.macs if found.macs else 0.0
    text = f"{share:.1f} %" if share else ""
    return f"  {name:<30} {_count_of(entries):>5} {text:>6}".rstrip()


def _count_of(entries: list[NodeForecast]) -> int:
    """The number of kernels; each of its nodes has an entry."""
    return len({frozenset((f.node, *f.with_nodes)) for f in entries})


def _names(entries: list[NodeForecast]) -> str:
    names = list({frozenset((f.node, *f.with_nodes)): f.node for f in reversed(entries)}.values())
    return _list(names[::-1])


def _list(names: list[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _short(macs: int) -> str:
    """``3.1 M``."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if macs >= size:
            return f"{macs / size:.1f} {unit}"
    return str(macs)


def conformance(findings: tuple[Finding, ...]) -> str:
    """The number of findings of each severity."""
    if not findings:
        return "no findings"
    counts = Counter(f.severity for f in findings)
    return ", ".join(counted(n, kind) for kind, n in sorted(counts.items()))


def finding_lines(findings: Iterable[Finding]) -> Iterable[str]:
    """One item per finding: severity, node, reason, remedy."""
    for finding in findings:
        yield from item(
            f"{finding.severity} [{finding.check}] {finding.node}: {finding.message}; "
            f"{finding.remedy}"
        )
