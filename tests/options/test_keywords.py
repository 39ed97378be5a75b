"""One line of the table reaches the Python API, its documentation, the command line and --help."""

import inspect
from collections.abc import Callable
from typing import get_args

import pytest
import typer

import oq
from oq import cli
from oq.data.samples import BATCH
from oq.deployment.qoperator.form import FORMS
from oq.engines.engine import ENGINES
from oq.options.keywords import (
    EngineName,
    FinetuneOptions,
    Form,
    QuantizeOptions,
    SearchOptions,
    VerifyOptions,
    complete,
    options_of,
)

TAKEN: dict[Callable[..., object], type] = {
    oq.quantize: SearchOptions,
    oq.search: SearchOptions,
    oq.verify: VerifyOptions,
    oq.finetune: FinetuneOptions,
}


@pytest.mark.parametrize("function", TAKEN, ids=lambda f: f.__name__)
def test_signature_and_docstring_come_from_the_table(function: Callable[..., object]) -> None:
    parameters = inspect.signature(function).parameters
    text = " ".join((function.__doc__ or "").split())
    for name, option in options_of(TAKEN[function]).items():
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default == option.default
        assert f"{name}: {option.once}." in text


@pytest.mark.parametrize(("command", "schema"), [("quantize", SearchOptions),
                                                 ("verify", VerifyOptions)])  # fmt: skip
def test_flags_come_from_the_table(command: str, schema: type) -> None:
    group = typer.main.get_command(cli.app)
    flags = {p.name: p for p in group.commands[command].params}  # type: ignore[attr-defined]
    for name, option in options_of(schema).items():
        if option.kind is None:
            assert name not in flags
            continue
        assert flags[name].help == option.meaning
        wanted = option.flags or (f"--{name.replace('_', '-')}",)
        assert set(wanted[0].split("/")) <= {*flags[name].opts, *flags[name].secondary_opts}


def test_what_is_not_given_has_its_default() -> None:
    found = complete(QuantizeOptions, {"samples": 3})
    assert found["samples"] == 3
    assert found["mode"] == "hybrid" and found["keep_float"] == () and found["verify"] is True
    assert complete(VerifyOptions, {})["batch_size"] == BATCH


def test_an_unknown_keyword_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'sample'; available: "):
        oq.quantize("model.onnx", "trt", sample=3)  # type: ignore[call-arg]


def test_names_in_signatures_are_those_there_are() -> None:
    assert set(get_args(EngineName)) == set(ENGINES)
    assert set(get_args(Form)) == set(FORMS)
