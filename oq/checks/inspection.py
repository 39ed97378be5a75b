"""``oq.make_plan``, ``oq.explain``, ``oq.check`` and ``oq.judge``: inspection without data."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from oq.checks.judgement import Judgement
from oq.checks.judgement import judge as judge_model
from oq.errors import OptionError
from oq.exporting.load import Model, load
from oq.model.input_shapes import Shapes
from oq.model.metadata import target_of
from oq.planning import registry
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
    return plan_model(loaded, own_target(target, settings), overrides).whole


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
    return tuple(why_lines(planned.whole, name, planned.views))


def check(
    model: Model, target: str | None = None, *, settings: Mapping[str, Any] | None = None
) -> tuple[Finding, ...]:
    """The findings in a quantized ``model`` from any tool, by the rules of ``target`` (default: the
    one in its metadata).

    Raises:
        ModelError: the model is not quantized at all.
    """
    return judge(model, target, settings=settings).findings


def judge(
    model: Model, target: str | None = None, *, settings: Mapping[str, Any] | None = None
) -> Judgement:
    """:func:`check`, and what ``target`` will run in integers, node by node.

    Raises:
        ModelError: the model is not quantized at all.
        OptionError: no ``target``, and the file does not say which one it was made for.
    """
    loaded = load(model)
    named = target or made_for(loaded)
    if named is None:
        raise OptionError(
            "the file does not say which target it was made for (oq.target in its metadata); "
            f"--target is one of: {', '.join(registry.names('targets'))}"
        )
    return judge_model(loaded, own_target(named, settings))


def made_for(model: onnx.ModelProto) -> str | None:
    """The target in the metadata of a file that oq wrote, if it is there still."""
    found = target_of(model)
    return found if found in registry.names("targets") else None
