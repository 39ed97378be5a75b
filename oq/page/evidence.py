"""Builds :class:`oq.page.content.Evidence` from a quantization run or from a Q/DQ file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from oq.calibration.collect import Needs, collect
from oq.calibration.job import EVERYTHING, Measured
from oq.calibration.measure import measure
from oq.checks.judgement import judge
from oq.checks.unpack_qoperators import as_qdq
from oq.data.sizing import Sizing
from oq.data.source import Fitted
from oq.model.footprint import Footprint
from oq.model.graph import Graph
from oq.model.view import GraphView
from oq.numerics.calibrator import Calibrator
from oq.numerics.statistics import Statistics
from oq.page.activations import activations, calibrators
from oq.page.content import Evidence
from oq.page.layout import edges, kernels_and_skips, layers
from oq.page.places import Place, planned, without_pairs, written
from oq.page.weights import weights
from oq.planning.spec import Group, Skip
from oq.planning.target import Target
from oq.refine.order import STEPS
from oq.refine.recalibrate import Calibration
from oq.refine.run import Refined


def with_page_needs(needs: Needs, wanted: object) -> Needs:
    """``needs`` of a calibration; if a page is ``wanted`` (not None), everything that any
    calibrator reads, since the charts show the range of every calibrator."""
    return needs if wanted is None else {t: n | EVERYTHING for t, n in needs.items()}


@dataclass(frozen=True, slots=True)
class Run:
    """A quantization run of ``model``: calibration and refinement.

    ``measured`` are the statistics of ``samples``, ``default`` names the main calibrator; plan and
    settings are in ``recalibration``.
    """

    model: onnx.ModelProto
    recalibration: Calibration
    refined: Refined
    measured: Measured
    samples: Fitted | None
    default: str


def evidence_of_run(run: Run) -> Evidence:
    """Of a quantization run: the plan, and its measurements.

    If refinement changed the float model, its activations are measured again, since the final
    scales are for those.
    """
    recalibration, subject, default = run.recalibration, run.refined.subject, run.default
    seen = run.measured.statistics
    if subject.early and run.samples is not None:
        job = replace(recalibration.job, model=subject.model, view=subject.view, progress=None)
        seen = measure(job, run.samples).statistics
    for outcome in run.refined.outcomes:
        if outcome.kept:
            default = STEPS[outcome.step].calibrator or default
    plan, view = subject.plan, subject.view
    places = planned(plan, view, subject.solution, default, subject.constants)
    methods = calibrators(recalibration.methods, run.default)
    looked = _Looked(view, plan.groups, plan.skips, places, view)
    return _put_together(looked, seen, methods, names_of(run.model))


def evidence_of_file(
    model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    target: Target,
    source: Fitted,
    batch_size: int,
) -> Evidence:
    """Of a Q/DQ file from any tool: what ``target`` runs in integers, its scales and zero points,
    and the values of the same tensors in the float ``model``, measured in one more pass over the
    data."""
    exact, order = Graph(model).view(), names_of(model)
    known = frozenset(order)
    groups, skips = kernels_and_skips(judge(quantized, target).forecast)
    view = Graph(as_qdq(quantized)).view()
    places = written(view, known)
    wanted = {p.source: EVERYTHING for p in places if p.source and p.grid.scale.ndim == 0}
    sizing = Sizing(Footprint(model), wanted=batch_size, kept=frozenset(wanted))
    batches = source.batches(sizing)
    seen = collect(model, wanted, batches, sizing=sizing) if wanted else {}
    looked = _Looked(without_pairs(view, known), groups, skips, places, exact)
    return _put_together(looked, seen, calibrators(None, ""), order)


@dataclass(frozen=True, slots=True)
class _Looked:
    """A graph without Q/DQ, what runs in integers and what in float, its scales and zero points,
    and the graph of the float model (``exact``)."""

    view: GraphView
    groups: Sequence[Group]
    skips: Sequence[Skip]
    places: Sequence[Place]
    exact: GraphView


def _put_together(
    looked: _Looked,
    seen: Mapping[str, Statistics],
    methods: Mapping[str, Calibrator],
    order: Sequence[str],
) -> Evidence:
    measured = tuple(activations(looked.places, seen, looked.exact, methods))
    constants = tuple(weights(looked.places, looked.view))
    pictures = frozenset([a.tensor for a in measured] + [w.tensor for w in constants])
    found = layers(looked.view, looked.groups, looked.skips, looked.places, pictures)
    return Evidence(
        found, edges(looked.view, found, looked.places), measured, constants, tuple(order)
    )


def names_of(model: onnx.ModelProto) -> tuple[str, ...]:
    """The inputs and all computed tensors, in graph order."""
    given = {t.name for t in model.graph.initializer}
    fed = [i.name for i in model.graph.input if i.name not in given]
    return (*fed, *(t for n in model.graph.node for t in n.output if t))
