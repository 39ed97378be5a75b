"""The comparison of two models as text: errors, accuracy, kernels, latency, error by layer."""

from collections.abc import Collection, Iterable, Sequence

from oq.comparison.collapse import ReadingResult, uncompared
from oq.comparison.compare import Latency, Verification
from oq.comparison.deviation import Classification, OutputError
from oq.comparison.layers import LayerError
from oq.reporting.random import random_note
from oq.wording import LABEL, counted, cut, db, item, row

BLAMED = 3
"""Maximum number of layers named as the cause of a collapse."""

LISTED = 15
"""Maximum number of rows in the table of layers."""

CLEARLY = 1.2
"""Times as fast or slow, below which a share says more than a factor."""


def verification_lines(found: Verification, remedy: str = "") -> Iterable[str]:
    """The errors per output and mode, then kernels and latency.

    A collapse comes first, with the layers that cause most of the error and the command to try
    (``remedy``).
    """
    yield from _collapse_lines(found, remedy)
    yield from _uncompared_lines(found)
    yield f"verified on {counted(found.samples, 'sample')} against the float model"
    for text in (*found.notes, *random_note(found.random)):
        yield from item(text)
    if not found.read_once and not found.simulated:
        yield f"  deployed: as {found.engine} runs it, fused; literal: every Q/DQ node as written"
    columns = f"{'SQNR dB':>7} {'max err':>9} {'mean err':>9} {'cosine':>8}"
    yield f"  {'output':<22} {'mode':<9} {columns}"
    if found.made_for and found.target and found.made_for != found.target:
        yield from item(f"made for target {found.made_for}, judged here as {found.target}")
    readings = [(_reading(found), found.deployed), ("literal", found.literal)]
    if found.read_once:
        readings = [("file", found.deployed)]
    for i, _ in enumerate(found.deployed.outputs):
        for name, reading in readings:
            yield _error_line(name, reading.outputs[i])
            chosen = {v.output for v in reading.classes}
            for remark in _remarks(reading.outputs[i], chosen):
                yield from item(remark, indent=25)
    yield from _class_lines(readings)
    for score in found.scores:
        exact = "" if score.exact is None else f"{score.exact:.4g} -> "
        yield from item(f"{score.reading}: {score.metric} {exact}{score.value:.4g}")
    if found.readings_differ and found.simulated:
        yield from item(
            f"{found.engine} rounds halves up, onnxruntime to even; rows {found.engine!r} "
            "simulate the device"
        )
    elif found.readings_differ:
        worst = min(found.gap, key=lambda g: g.sqnr_db)
        yield from item(
            f"deployed and literal differ: {worst.name!r} by {db(worst.sqnr_db)} dB, as much "
            f"as the quantization error; {found.engine} does not compute what the Q/DQ define"
        )
    for gap in found.codes:
        share = 100 * gap.differing / gap.values if gap.values else 0.0
        yield from item(
            f"{gap.name!r}: {share:.1f} % of integer values differ between {found.engine} and "
            f"literal, by {gap.largest} steps at most"
        )
    yield from _engine_lines(found)


def _class_lines(readings: Sequence[tuple[str, ReadingResult]]) -> Iterable[str]:
    """Agreement with the float model per output and mode; accuracy and what it lost, if known."""
    rows = [(name, votes) for name, reading in readings for votes in reading.classes]
    if not rows:
        return
    known = any(votes.top1 is not None for _, votes in rows)
    columns = f" {'float %':>9} {'int8 %':>9} {'drop':>8} {'top-5 %':>8}" if known else ""
    yield f"  {'top-1 of':<22} {'mode':<9} {'agree %':>7}{columns}"
    for name, votes in rows:
        accuracy = _accuracy(votes)
        line = f"  {cut(votes.output, 22):<22} {name:<9} {votes.agreement:>7.1f}{accuracy}"
        yield line.rstrip()
    for text in {f"{v.output!r}: of {v.samples:,} positions" for _, v in rows if v.positions}:
        yield from item(text, indent=25)


def _accuracy(votes: Classification) -> str:
    if votes.top1 is None or votes.top1_float is None:
        return ""
    five = "" if votes.top5 is None else f"{votes.top5:.2f}"
    drop = votes.top1_float - votes.top1
    return f" {votes.top1_float:>9.2f} {votes.top1:>9.2f} {drop:>8.2f} {five:>8}"


def _engine_lines(found: Verification) -> Iterable[str]:
    """Kernels and latency of the engine; of one that does not run the target's files, only what was
    asked for."""
    kernels, total = found.kernels, found.kernels.integer + found.kernels.floating
    if found.mode == "literal":
        own = f"{found.target} has its own runtime: the literal rows count"
        yield from item(own if found.latency is None else f"{own}, the figures below do not")
        if found.latency is None:
            return
    yield from row(
        "kernels",
        f"{kernels.integer} of {total} {kernels.counted} in integers ({kernels.share:.0f} %) "
        f"in {found.engine}",
    )
    for name in kernels.left:
        yield from item(f"in float: {name}", indent=LABEL)
    if found.latency is not None:
        yield from row("latency", f"{latency_words(found.latency)} in {found.engine}")


def latency_words(time: Latency) -> str:
    """How fast the quantized model is beside the float one, with the times it rests on."""
    times = f"({time.quantized_ms:.2f} against {time.float_ms:.2f} ms, batch {time.batch})"
    if time.noisy:
        return f"as float within the noise, {time.low:.2f} to {time.high:.2f} of its time {times}"
    factor, way = (time.ratio, "slower") if time.ratio > 1 else (1 / time.ratio, "faster")
    much = f"{factor:.1f}x" if factor >= CLEARLY else f"{100 * abs(time.ratio - 1):.0f} %"
    return f"{much} {way} than float {times}"


def _reading(found: Verification) -> str:
    """What the deployed reading is called: the simulated device has its own name."""
    return found.engine if found.simulated else "deployed"


def _collapse_lines(found: Verification, remedy: str) -> Iterable[str]:
    if not found.collapse:
        return
    yield "COLLAPSED: the outputs of the quantized model no longer resemble the float model's"
    for text in found.collapse:
        yield from item(text)
    guilty = [r for r in found.layers if r.share is not None and r.share > 0][:BLAMED]
    if guilty:
        named = (f"{r.node or r.tensor} ({r.share:.0f} % of the error)" for r in guilty)
        yield from item("most of it comes from " + ", ".join(named))
    if remedy:
        yield from item(f"next: {remedy}")
    yield ""


def _uncompared_lines(found: Verification) -> Iterable[str]:
    names = [n for n in uncompared(found.deployed) if n in uncompared(found.literal)]
    if names:
        yield "NOT COMPARED: in every run there is another number of results than in float"
        for name in names:
            yield from item(f"output {name!r}: its figures below say nothing")
        yield from item("next: oq verify with --metric package.module:callable of your own")
        yield ""


def layer_lines(rows: Sequence[LayerError]) -> Iterable[str]:
    """A table of the tensors that both models share, worst first."""
    yield "error by tensor"
    yield "  share: of the output error; added: error of this tensor's layer alone"
    yield "  share %  SQNR dB  added dB   cosine  clipped %    lowest   highest"
    for tensor in rows[:LISTED]:
        share = f"{tensor.share:.1f}" if tensor.share is not None else "n/a"
        clipped = f"{tensor.clipped:.2f}" if tensor.clipped is not None else ""
        yield (
            f"  {share:>7} {db(tensor.sqnr_db):>8} {db(tensor.added_db):>9} {tensor.cosine:>8.5f} "
            f"{clipped:>10} {tensor.lo:>9.3g} {tensor.hi:>9.3g}"
        )
        yield f"    {cut(tensor.tensor, 76)}"
    if len(rows) > LISTED:
        yield f"  and {len(rows) - LISTED} more (--json lists all)"
    if any(not tensor.alike for tensor in rows):
        yield from item(
            "n/a: the values differ by a scale and a shift per channel that a later layer "
            "compensates, as after equalization or folding, so they are not compared"
        )


def _remarks(error: OutputError, chosen: Collection[str]) -> Iterable[str]:
    """What the figures of an output leave out, or do not say; agreement of the ``chosen`` classes
    has its own table."""
    if error.equal is not None and error.name not in chosen:
        yield f"integers: {error.equal:.1f} % of them are equal"
    if error.nonfinite:
        own = error.nan_in_float
        so = f", {own} of them in the float model itself" if own else ""
        yield f"{error.nonfinite} values above are NaN or infinite{so}"
    if error.quiet:
        yield "all values are near 0, so its SQNR says little"
    if error.resized:
        yield f"left out: {counted(error.resized, 'run')} where it has another shape than in float"


def _error_line(reading: str, error: OutputError) -> str:
    return (
        f"  {cut(error.name, 22):<22} {reading:<9} {db(error.sqnr_db):>7} {error.max_abs:>9.3g} "
        f"{error.mean_abs:>9.3g} {error.cosine:>8.5f}"
    )
