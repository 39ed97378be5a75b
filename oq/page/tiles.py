"""The first figures of a page: the verdict, and tiles, all of the mode that the target means."""

from oq.comparison.compare import Latency, Verification
from oq.page.content import Story
from oq.page.html import paragraph, tile
from oq.page.svg import escape, many, short
from oq.reporting.verification import CLEARLY
from oq.wording import counted


def draw_verdict(story: Story) -> str:
    """One line: fit to ship or not, and the figure that says so."""
    passed, reason = story.summary.get("passed"), story.summary.get("reason")
    if passed is None or story.verification is None:
        return ""
    kind, word = ("pass", "PASS") if passed else ("fail", "FAIL")
    on = counted(story.verification.samples, "sample")
    return (
        f'<p class="verdict {kind}"><strong>{word}</strong> '
        f"{escape(f'{story.target}: {reason}, {on}')}</p>"
    )


def draw_tiles(story: Story) -> str:
    """Size, layers, SQNR, accuracy or agreement, speed."""
    share = 100 * story.bytes_after / story.bytes_before if story.bytes_before else 0.0
    sizes = f"{_bytes(story.bytes_before)} \u2192 {_bytes(story.bytes_after)}"
    done, total = story.weighted
    grown = "; few weights to shrink, and Q/DQ nodes take space" if share > 100 else ""
    found = [tile("size", f"{share:.0f} %", f"of float: {sizes}{grown}")]
    more = f", +{story.made} made by oq" if story.made else ""
    found.append(tile("layers with weights", f"{done} of {total}", f"in integers{more}"))
    if story.verification is not None:
        found += [*_nearness(story.verification), *_speed(story.verification)]
    return f'<div class="tiles">{"".join(found)}</div>{_runtime(story)}'


def _runtime(story: Story) -> str:
    """What the figures are of, where the target's files do not run here."""
    if story.verification is None or story.verification.mode == "deployed":
        return ""
    return paragraph(
        f"{story.target} has its own runtime: the figures are of the Q/DQ nodes as ONNX defines "
        "them (literal).",
        "soft",
    )


def _nearness(seen: Verification) -> list[str]:
    """How near the outputs are, and on how many samples."""
    how = seen.engine if seen.mode == "deployed" else "literal Q/DQ"
    worst = min(seen.judged.outputs, key=lambda e: e.sqnr_db)
    text = f"of {worst.name}, {how}, {counted(seen.samples, 'sample')}"
    found = [tile("output SQNR", f"{short(worst.sqnr_db)} dB", text)]
    for votes in seen.judged.classes[:1]:
        on = f"{votes.samples:,} {votes.unit}"
        if votes.top1 is not None and votes.top1_float is not None:
            change = votes.top1 - votes.top1_float
            text = f"{votes.top1_float:.2f} % \u2192 {votes.top1:.2f} % on {on}"
            agree = f"top-1 agrees with float on {votes.agreement:.1f} %"
            found.append(tile("top-1 accuracy, points", _signed(change), f"{text}; {agree}"))
        else:
            said = f"same top-1 as float, of {on}"
            found.append(tile("agreement", f"{votes.agreement:.1f} %", said))
    return found


def _speed(seen: Verification) -> list[str]:
    """Kernels and latency in the engine that runs the target's files, and in no other."""
    if seen.mode != "deployed":
        return []
    kernels, total = seen.kernels, seen.kernels.integer + seen.kernels.floating
    text = f"in integers: {kernels.integer} of {total} {kernels.counted}"
    found = [tile(f"kernels, {seen.engine}", f"{kernels.share:.0f} %", text)]
    if seen.latency is not None:
        time = seen.latency
        text = f"{time.float_ms:.2f} \u2192 {time.quantized_ms:.2f} ms per batch of {time.batch}"
        found.append(tile(f"latency, {seen.engine}", _times(time), f"than float: {text}"))
    return found


def _times(time: Latency) -> str:
    """``2.1x faster``, ``8 % slower``, or as fast."""
    if time.noisy:
        return "no difference"
    factor, way = (time.ratio, "slower") if time.ratio > 1 else (1 / time.ratio, "faster")
    much = f"{factor:.1f}\u00d7" if factor >= CLEARLY else f"{100 * abs(time.ratio - 1):.0f} %"
    return f"{much} {way}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\u2212")


def _bytes(count: int) -> str:
    return f"{many(count)}B"
