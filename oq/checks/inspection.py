"""``oq.make_plan``, ``oq.explain``, ``oq.check`` and ``oq.judge``: inspection without data."""

from collections.abc import Mapping, Sequence
from typing import Any

from oq.checks.judgement import Judgement
from oq.checks.judgement import judge as judge_model
from oq.exporting.load import Model, load
from oq.model.input_shapes import Shapes
from oq.planning.check import Finding
from oq.planning.explain import why_lines
from oq.planning.overrides import Layer, Mode, make_overrides
from oq.planning.setup import own_target, plan_model
from oq.planning.spec import Plan


def make_plan(
    model: Model,
    target: str,
    *,
    keep_float: Sequence[str] = (),
    layers: Sequence[Layer] = (),
    mode: Mode = "hybrid",
    settings: Mapping[str, Any] | None = None,
    shape: Shapes | None = None,
) -> Plan:
    """What ``target`` would quantize in ``model``, and why not the rest; needs no data."""
    overrides = make_overrides(keep_float, layers=layers, mode=mode)
    loaded = load(model, shapes=shape)
    return plan_model(loaded, own_target(target, settings), overrides).plan


def explain(
    model: Model,
    target: str,
    name: str,
    *,
    keep_float: Sequence[str] = (),
    layers: Sequence[Layer] = (),
    mode: Mode = "hybrid",
    settings: Mapping[str, Any] | None = None,
    shape: Shapes | None = None,
) -> tuple[str, ...]:
    """Why :func:`make_plan` treats the tensor or node ``name`` as it does, line by line.

    Raises:
        OptionError: the graph has no such tensor or node.
    """
    overrides = make_overrides(keep_float, layers=layers, mode=mode)
    planned = plan_model(load(model, shapes=shape), own_target(target, settings), overrides)
    return tuple(why_lines(planned.plan, name, planned.view))


def check(
    model: Model, target: str, *, settings: Mapping[str, Any] | None = None
) -> tuple[Finding, ...]:
    """The findings in a quantized ``model`` from any tool, by the rules of ``target``.

    Raises:
        ModelError: the model is not quantized at all.
    """
    return judge(model, target, settings=settings).findings


def judge(model: Model, target: str, *, settings: Mapping[str, Any] | None = None) -> Judgement:
    """:func:`check`, and what ``target`` will run in integers, node by node.

    Raises:
        ModelError: the model is not quantized at all.
    """
    return judge_model(load(model), own_target(target, settings))
