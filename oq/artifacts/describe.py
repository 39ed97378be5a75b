"""The contents of a file as text: one screen of 80 columns, whatever the size of the model."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice

from oq.artifacts.artifact import Contents, GridUse
from oq.numerics.values import TensorInfo
from oq.wording import counted, row

OPS, TENSORS = 24, 5
"""Kinds of op, and inputs or outputs, that are named."""

PROVENANCE = "oq."
"""What the names of facts start with that say how oq made the file."""


DIGITS = 8
"""Of a fingerprint of 64, in text."""

FACT_LINES = 4
"""Of one fact: a file may hold a novel in its metadata."""

UNBROKEN = "\u00a0"
"""In place of a blank, while text is wrapped: no line ends there."""


def contents_lines(name: str, found: Contents) -> Iterator[str]:
    """What the file called ``name`` holds."""
    return (line.replace(UNBROKEN, " ") for line in _lines(f"{name}: ", found))


def told_lines(found: Contents) -> Iterator[str]:
    """The same of a file whose name is not known."""
    return (line.replace(UNBROKEN, " ") for line in _lines("", found))


def _lines(name: str, found: Contents) -> Iterator[str]:
    yield from row("file", f"{name}{found.format}, {found.bytes:,} bytes")
    made = {k: text for k, text in found.facts.items() if k.startswith(PROVENANCE)}
    for fact, text in found.facts.items():
        if fact not in made:
            yield from islice(row(fact, text), FACT_LINES)
    if made:
        said = (f"{k.removeprefix(PROVENANCE)}{UNBROKEN}{text}" for k, text in made.items())
        short = re.sub(rf"(sha256:\w{{{DIGITS}}})\w+", r"\1", "; ".join(said))
        yield from islice(row("made by oq", short), FACT_LINES)
    yield from _tensor_lines("inputs", found.inputs)
    yield from _tensor_lines("outputs", found.outputs)
    yield from row("ops", _ops(found.ops))
    yield from _grid_lines("activations", found.activations)
    yield from _grid_lines("weights", found.weights)
    yield from row("constants", _sizes(found.constants))


def _tensor_lines(label: str, tensors: Sequence[TensorInfo]) -> Iterator[str]:
    for info in tensors[:TENSORS]:
        yield from row(label, _tensor(info))
        label = ""
    if len(tensors) > TENSORS:
        yield from row(label, f"and {len(tensors) - TENSORS} more")


def _tensor(info: TensorInfo) -> str:
    axes = () if info.shape is None else ("?" if a is None else str(a) for a in info.shape)
    shape = "of unknown shape" if info.shape is None else f"[{', '.join(axes)}]"
    return f"{info.name} {info.dtype or 'no tensor'} {shape}"


def _ops(ops: Mapping[str, int]) -> str:
    ordered = sorted(ops.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{number}{UNBROKEN}{op}" for op, number in ordered[:OPS])
    rest = [number for _, number in ordered[OPS:]]
    more = f", and {sum(rest)} of {counted(len(rest), 'more kind')}" if rest else ""
    return f"{sum(ops.values()):,}: {named}{more}" if ops else "none"


def _grid_lines(label: str, grids: Sequence[GridUse]) -> Iterator[str]:
    """One row for all tensors of one type and granularity."""
    if not grids:
        yield from row(label, "none quantized")
    ordered = sorted(grids, key=_kind)
    groups = [list(same) for _, same in groupby(ordered, key=_kind)]
    for same in sorted(groups, key=len, reverse=True):
        yield from row(label, _group(same))
        label = ""


def _kind(use: GridUse) -> tuple[str, str]:
    return use.dtype, _granularity(use)


def _granularity(use: GridUse) -> str:
    if use.scale is None:
        return "with computed scales"
    if use.block is not None:
        return f"in blocks of {use.block}"
    return "per tensor" if use.scales == 1 else "per channel"


def _group(same: Sequence[GridUse]) -> str:
    first, many = same[0], sum(use.scales for use in same)
    kind = f"{len(same):,} {first.dtype} {_granularity(first)}"
    parts = [kind if many == len(same) else f"{kind} ({many:,} scales)"]
    scales = [use.scale for use in same if use.scale is not None]
    if scales:
        parts.append(f"scales {_span(scales, '.3g')}".replace(" ", UNBROKEN))
    points = [use.zero_point for use in same if use.zero_point is not None]
    if points:
        parts.append(f"zero points {_span(points, 'd')}".replace(" ", UNBROKEN))
    return ", ".join(parts)


def _span(pairs: Iterable[tuple[float, float]], form: str) -> str:
    """The smallest and the largest."""
    ends = list(pairs)
    least, most = format(min(a for a, _ in ends), form), format(max(b for _, b in ends), form)
    return least if least == most else f"{least} to {most}"


def _sizes(constants: Mapping[str, int]) -> str:
    if not constants:
        return "none"
    total = sum(constants.values())
    parts = (f"{dtype}{UNBROKEN}{size:,}" for dtype, size in constants.items())
    return (
        f"{total:,} bytes: {', '.join(parts)}" if len(constants) > 1 else "".join(parts) + " bytes"
    )
