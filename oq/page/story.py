"""A run of ``oq quantize``, or a comparison by ``oq verify``, as the content of one page."""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import onnx

import oq
from oq.comparison.compare import Verification
from oq.data.source import Fitted
from oq.exporting.load import Model
from oq.model.data_files import file_bytes
from oq.model.files import model_bytes
from oq.model.metadata import target_of
from oq.model.ops import has_weight
from oq.page.content import Evidence, Layer, Runs, Story
from oq.page.evidence import evidence_of_file
from oq.parallel import cores
from oq.planning.explain import own_layers
from oq.planning.own_layers import made_layers
from oq.planning.registry import target as find_target
from oq.ranking.rank import Ranking
from oq.reporting.report import Report
from oq.reporting.search import Searched
from oq.reporting.summary import SCHEMA, figures_of, summarize
from oq.reporting.verdict import amount, judge_drop, told_drop
from oq.wording import counted, generalize, to_json

DEFAULT_TARGET = "ort"
"""The target whose rules are used if the file does not name its target."""

Left = tuple[tuple[str, str, tuple[str, ...]], ...]


def run_story(report: Report, evidence: Evidence, ranking: Ranking | None) -> Story:
    """The page of a run of ``oq quantize``."""
    data = f"{report.samples:,} samples of {shown_path(report.data)}"
    facts = {
        "target": f"{report.target}: {report.summary}",
        "calibrator": calibrator_words(report),
        "calibrated on": data,
    }
    if report.search is not None:
        facts["budget"] = _budget(report.search)
    steps = (report.next_step, _blame(report.verification, report.remedy))
    return Story(
        schema=SCHEMA,
        summary={k: shown_path(v) for k, v in summarize(report).items()},
        version=report.version,
        title="Quantization report",
        target=report.target,
        model=shown_path(report.model),
        output=shown_path(report.output or ""),
        facts=facts,
        weighted=own_layers(report.plan),
        made=len(report.plan.made),
        bytes_before=report.bytes_before,
        bytes_after=report.bytes_after,
        left=_left((s.op, s.reason, s.node) for s in report.plan.skips),
        evidence=evidence,
        verification=report.verification,
        notes=report.notes,
        findings=report.findings,
        refinement=report.refinement,
        ranking=ranking,
        next_steps=tuple(s for s in steps if s),
        seconds=report.seconds,
        options={k: shown_path(v) for k, v in report.options.items()},
        machine=machine_facts(),
    )


@dataclass(frozen=True, slots=True)
class Compared:
    """The two models of ``oq verify`` and their data; ``remedy`` is the command for a collapse."""

    exact: Model
    quantized: Model
    target: str | None
    source: Fitted
    batch_size: int
    remedy: str


def comparison_story(
    given: Compared,
    exact: onnx.ModelProto,
    rounded: onnx.ModelProto,
    found: Verification,
    ranking: Ranking | None,
) -> Story:
    """The page of a run of ``oq verify``: ``exact`` and ``rounded`` are the models of ``given``."""
    made_for = given.target or (
        target_of(Path(given.quantized)) if isinstance(given.quantized, str | Path) else None
    )
    target = find_target(made_for or DEFAULT_TARGET)
    evidence = evidence_of_file(exact, rounded, target, given.source, given.batch_size)
    sizes = [
        file_bytes(m) if isinstance(m, str | Path) else model_bytes(p)
        for m, p in ((given.exact, exact), (given.quantized, rounded))
    ]
    judged = f"{target.name}: {target.summary}"
    floats = [layer for layer in evidence.layers if layer.runs == "float"]
    own, made = _weighted(evidence.layers, exact)
    return Story(
        schema=SCHEMA,
        summary=to_json(figures_of(found, judge_drop(found))),
        version=oq.__version__,
        title="Verification report",
        target=target.name,
        model=_name(given.exact, exact),
        output=_name(given.quantized, rounded),
        facts={
            "judged for": judged,
            "compared on": f"{found.samples:,} samples of {shown_path(given.source.name)}",
        },
        weighted=own,
        made=made,
        bytes_before=sizes[0],
        bytes_after=sizes[1],
        left=_left((layer.ops[0], layer.reason, layer.name) for layer in floats),
        evidence=evidence,
        verification=found,
        ranking=ranking,
        next_steps=tuple(s for s in (_blame(found, given.remedy),) if s),
        machine=machine_facts(),
    )


def shown_path(value: Any) -> Any:
    """An absolute path without its folders: a page is passed on, and they say nothing there."""
    if isinstance(value, str | Path) and Path(value).is_absolute():
        return Path(value).name
    return value


def calibrator_words(report: Report) -> str:
    """The calibrator, and the one that gave the final ranges if it is another."""
    named = report.calibrator
    return named if report.ranges == named else f"{named}, then ranges by {report.ranges}"


def machine_facts() -> Mapping[str, str]:
    """When, where and with what: the day, the machine, the versions."""
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {cores()} cores",
        "python": platform.python_version(),
        **{name: version(name) for name in ("onnxruntime", "onnx") if _is_there(name)},
    }


def _is_there(package: str) -> bool:
    """Whether ``package`` is installed under that name."""
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def _budget(found: Searched) -> str:
    """The result of a search within an accuracy budget."""
    verdict, limit = "met" if found.met else "missed", amount(found.metric, found.max_drop)
    return (
        f"{verdict}: {told_drop(found.metric, found.drop)}, limit {limit}, with "
        f"{counted(len(found.kept), 'layer')} kept in float for it ({found.judged}); with "
        f"everything in int8, {told_drop(found.metric, found.plain_drop)}"
    )


def _blame(found: Verification | None, remedy: str) -> str:
    return remedy if found is not None and found.collapse else ""


def _name(given: Model, model: onnx.ModelProto) -> str:
    return shown_path(str(given)) if isinstance(given, str | Path) else model.graph.name


def _left(skips: Iterable[tuple[str, str, str]]) -> Left:
    """(op, reason, nodes), one row for all nodes of one op and reason."""
    rows: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for op, reason, node in skips:
        rows.setdefault((op, generalize(reason, node)), []).append((node, reason))
    return tuple(
        (op, shared if len(same) > 1 else same[0][1], tuple(node for node, _ in same))
        for (op, shared), same in rows.items()
    )


def _weighted(layers: Iterable[Layer], exact: onnx.ModelProto) -> tuple[tuple[int, int], int]:
    """(in integers, all) nodes with weights of the float model ``exact``, and how many others."""
    nodes = [(name, op, layer.runs) for layer in layers
             for name, op in zip(layer.nodes, layer.ops, strict=True)]  # fmt: skip
    given = {node.name: node.op_type for node in exact.graph.node}
    made = made_layers(((name, op) for name, op, _ in nodes), given)
    runs = [r for name, op, r in nodes if has_weight(op) and name not in made]
    return (sum(r != "float" for r in runs), len(runs)), len(made)


RUNS: tuple[Runs, ...] = ("int8", "moved", "float")


def layer_counts(layers: Iterable[Layer]) -> Mapping[str, tuple[int, ...]]:
    """Op -> how many of its nodes run in each of the ways of :data:`RUNS`."""
    counts: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        for op in layer.ops:
            before = counts.get(op, (0, 0, 0))
            added = zip(before, RUNS, strict=True)
            counts[op] = tuple(n + (layer.runs == runs) for n, runs in added)
    return dict(sorted(counts.items(), key=lambda c: (-sum(c[1]), c[0])))
