"""Everything that is settled before a sample is run: model, plan, calibrators, samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import onnx

from oq import registry
from oq.answers import keep_answers_whole
from oq.calibration.collect import tensors_to_calibrate
from oq.calibration.measure import Methods
from oq.calibration.ranges import read_ranges
from oq.data.source import Fitted, open_source, random_source, split, subset
from oq.errors import DataError, ModelError, OptionError
from oq.files import load_model
from oq.graph import Graph
from oq.ops import only_moves
from oq.overrides import Wishes, apply_layers, least_opset
from oq.plan import plan as make_plan
from oq.prepare.infer_types import read_type
from oq.prepare.order import prepare
from oq.spec import Own, Plan, Range, TensorInfo, measured_at
from oq.statistics import Need
from oq.target import Target, with_options
from oq.view import GraphView
from oq.zero_points import give_zero_points

if TYPE_CHECKING:
    from torch import nn

Model: TypeAlias = "str | Path | onnx.ModelProto | nn.Module"
"""A file, a model in memory, or a torch module, which is exported first (`oq.exporting`)."""

BATCH = 8
"""Samples that are run at a time where the user says nothing."""

HELD_BACK = 8
"""Every eighth calibration sample is kept out of calibration, to verify on."""

VERIFY_SAMPLES = 64

RANDOM = "random"
"""The name by which random data is asked for, explicitly."""

RANDOM_SAMPLES = 64


def choose_target(name: str, settings: Mapping[str, Any]) -> tuple[Target, dict[str, Any]]:
    """The target called ``name`` with its own settings applied, and the settings left over, which
    are the calibrators'.

    Raises:
        OptionError: there is no such target, or a setting has no such value.
    """
    target = registry.target(name)
    options = target.options if target.options is not None else {}
    own = {key: str(value) for key, value in settings.items() if key in options}
    return with_options(target, own), {k: v for k, v in settings.items() if k not in own}


def own_target(name: str, settings: Mapping[str, Any] | None) -> Target:
    """The target called ``name`` with ``settings``, all of which are its own.

    Raises:
        OptionError: there is no such target, option or value.
    """
    target, rest = choose_target(name, settings or {})
    for key in rest:
        has = ", ".join(target.options or {}) or "none"
        raise OptionError(f"--set {key}: target {name} has no such option; it has: {has}")
    return target


def make_methods(default: str, settings: Mapping[str, Any], wishes: Wishes) -> Methods:
    """The calibrators of a run, with their settings.

    Raises:
        OptionError: no such calibrator or setting, or a setting of one that is not used.
    """
    named = (w.calibrator for w in wishes.all_layers if w.calibrator is not None)
    used = dict.fromkeys((default, *named))
    own: dict[str, dict[str, Any]] = {name: {} for name in used}
    for key, value in settings.items():
        name, dot, setting = key.rpartition(".")
        owner = name if dot else default
        if owner not in own:
            raise OptionError(
                f"--set {key}: calibrator {owner!r} is not used; it has {', '.join(own)}"
            )
        own[owner][setting] = value
    made = {name: registry.calibrator(name, own[name]) for name in used}
    return Methods(made[default], made)


@dataclass(frozen=True, slots=True)
class Ready:
    """Everything before data: the prepared graph, its float model and picture, and the plan, with
    what the user wished of it."""

    target: Target
    graph: Graph
    model: onnx.ModelProto
    view: GraphView
    plan: Plan
    wishes: Wishes


def make_ready(model: onnx.ModelProto, profile: Target, wishes: Wishes) -> Ready:
    """Everything of ``model`` that is settled before data."""
    least = least_opset(profile, wishes.all_layers)
    return plan_graph(prepare(model, least, profile.passes).graph, profile, wishes)


def plan_graph(graph: Graph, profile: Target, wishes: Wishes) -> Ready:
    """A prepared ``graph`` with its plan for the target ``profile``."""
    view = graph.view()
    plan = apply_layers(decide(view, profile, wishes), view, profile, wishes.all_layers)
    return Ready(profile, graph, graph.to_model(), view, plan, wishes)


def decide(view: GraphView, profile: Target, wishes: Wishes) -> Plan:
    """The plan of ``view`` within ``wishes``, before single layers get other grids."""
    naive = wishes.mode == "naive"
    plan = make_plan(view, profile, wishes.kept, only=wishes.only, naive=naive)
    if wishes.calibrator is None:
        plan = keep_answers_whole(plan, view)
    return give_zero_points(plan, view) if profile.carries_zero_points else plan


def open_samples(
    model: onnx.ModelProto,
    data: object,
    preprocess: str | Path | None,
    samples: int | None,
    seed: int,
) -> Fitted:
    inputs = inputs_of(model)
    if isinstance(data, str) and data == RANDOM:
        return random_source(inputs, samples or RANDOM_SAMPLES, seed)
    source = open_source(data, inputs, preprocess=preprocess)
    return source if samples is None else subset(source, samples, seed)


def divide(source: Fitted, seed: int, verify: bool) -> tuple[Fitted, Fitted | None]:
    """The samples to calibrate on, and those to verify on (None: no verification)."""
    if not verify:
        return source, None
    try:
        rest, held = split(source, HELD_BACK)
    except DataError:  # one sample, one batch or one feed: none can be spared
        return source, source
    return rest, subset(held, VERIFY_SAMPLES, seed)


def known_ranges(ready: Ready, path: str | Path) -> dict[str, Range]:
    """The ranges of a file for the tensors that the plan calibrates.

    A tensor that the file lacks takes the range of one whose values it only moves (Reshape,
    MaxPool), since another target may have put its grid on the other side of such an op.
    """
    wanted = tensors_to_calibrate(ready.plan, ready.view)
    given = read_ranges(path)
    found = {t: r for t in wanted if (r := _range_of(ready.view, t, given)) is not None}
    if not found:
        raise DataError(
            f"{str(path)!r} holds no tensor that is calibrated; the plan asks for "
            f"{', '.join(map(repr, wanted[:3]))}, ..."
        )
    return found


def _range_of(view: GraphView, tensor: str, given: Mapping[str, Range]) -> Range | None:
    """The range of ``tensor``, or of what it is a copy of, or of a copy of it."""
    source: str | None = tensor
    while source is not None and source not in given:
        producer = view.producer(source)
        source = producer.inputs[0] if producer is not None and only_moves(producer.op) else None
    if source is not None:
        return given[source]
    return _copy_below(view, tensor, given)


def _copy_below(view: GraphView, tensor: str, given: Mapping[str, Range]) -> Range | None:
    if tensor in given:
        return given[tensor]
    copies = [n.outputs[0] for n in view.consumers(tensor) if only_moves(n.op)]
    return next((r for t in copies if (r := _copy_below(view, t, given)) is not None), None)


def inputs_of(model: onnx.ModelProto) -> tuple[TensorInfo, ...]:
    """The inputs a caller must feed: those without a default value."""
    given = {t.name for t in model.graph.initializer}
    return tuple(_input(v) for v in model.graph.input if v.name not in given)


def load(model: Model, example_inputs: object = None) -> onnx.ModelProto:
    """``model`` read from disk where it is a path, exported where it is a torch module.

    Raises:
        ModelError: the file cannot be read, or torch cannot export the module.
        OptionError: ``model`` is none of these, or its example inputs cannot be used.
    """
    if isinstance(model, str | Path):
        return load_model(model)
    if isinstance(model, onnx.ModelProto):
        return model
    from oq.exporting.export import export_module, is_module

    if not is_module(model):
        raise OptionError(
            f"the model is a {type(model).__name__}; expected a path, an onnx.ModelProto or a "
            "torch.nn.Module"
        )
    return export_module(cast("nn.Module", model), example_inputs)


def _input(value: onnx.ValueInfoProto) -> TensorInfo:
    if not value.type.tensor_type.elem_type:
        found = value.type.WhichOneof("value") or "nothing"
        raise ModelError(f"input {value.name!r} is a {found.removesuffix('_type')}, not a tensor")
    return read_type(value)


def watched(ready: Ready) -> tuple[str, ...]:
    """Tensors whose extremes decide whether float16 holds them: all that float nodes compute."""
    if ready.target.high_precision != "float16":
        return ()
    made = (t for n in ready.view.nodes for t in n.outputs if t and not ready.view.is_constant(t))
    return tuple(t for t in made if ready.view.tensors[t].dtype == "float32")


def needs_of(ready: Ready, methods: Methods, watch: bool = False) -> dict[str, frozenset[Need]]:
    """Per tensor to calibrate, what its calibrator reads beyond counts and extremes; with ``watch``
    the tensors too whose extremes alone are of use (:func:`watched`)."""
    needs: dict[str, frozenset[Need]] = {t: frozenset() for t in watched(ready) if watch}
    for site in ready.plan.sites:
        if isinstance(site.spec, Own) and not ready.view.is_constant(site.tensor):
            wanted = methods.of(site.spec.calibrator).needs - {Need.READERS}
            for tensor in measured_at(site):
                needs[tensor] = needs.get(tensor, frozenset()) | wanted
    return needs


def same_interface(first: onnx.ModelProto, second: onnx.ModelProto) -> None:
    """Insist that two models can be compared.

    Raises:
        ModelError: their inputs or outputs have different names.
    """
    for kind in ("input", "output"):
        sides = [
            {v.name for v in getattr(m.graph, kind)} - {t.name for t in m.graph.initializer}
            for m in (first, second)
        ]
        if sides[0] != sides[1]:
            raise ModelError(
                f"the two models have different {kind}s, {sorted(sides[0])} and "
                f"{sorted(sides[1])}; give the float model and a quantized version of it"
            )
