"""What can be asked without data: what would be quantized and why, and how good a file is."""

from collections.abc import Sequence

from oq import registry
from oq.explain import why_lines
from oq.judgement import Judgement
from oq.judgement import judge as judge_model
from oq.legal import Finding
from oq.plan import plan as decide
from oq.prepare.order import prepare
from oq.ready import Model, load
from oq.spec import Plan
from oq.view import GraphView


def make_plan(model: Model, target: str, *, keep_float: Sequence[str] = ()) -> Plan:
    """What ``target`` would quantize in ``model``, and why not the rest; needs no data."""
    return _planned(model, target, keep_float)[0]


def explain(
    model: Model, target: str, name: str, *, keep_float: Sequence[str] = ()
) -> tuple[str, ...]:
    """Why the tensor or node ``name`` is treated as :func:`make_plan` says, line by line.

    Raises:
        OptionError: the graph has no such tensor or node.
    """
    found, view = _planned(model, target, keep_float)
    return tuple(why_lines(found, name, view))


def _planned(model: Model, target: str, keep_float: Sequence[str]) -> tuple[Plan, GraphView]:
    profile = registry.target(target)
    view = prepare(load(model), profile.min_opset).graph.view()
    return decide(view, profile, keep_float), view


def check(model: Model, target: str) -> tuple[Finding, ...]:
    """How a quantized ``model``, whoever made it, offends against ``target``'s rules.

    Raises:
        ModelError: the model is not quantized at all.
    """
    return judge(model, target).findings


def judge(model: Model, target: str) -> Judgement:
    """:func:`check`, and what ``target`` will run in integers, node by node.

    Raises:
        ModelError: the model is not quantized at all.
    """
    profile = registry.target(target)
    return judge_model(load(model), profile)
