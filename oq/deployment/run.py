"""A Q/DQ file in, a device file out: refused, written beside, proven, renamed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack, cast

import onnx

from oq.checks.judgement import is_quantized, judge
from oq.data.samples import open_samples
from oq.deployment.formats import FORMATS, Format, Given, Made, Proof, find_format
from oq.errors import ModelError, OptionError
from oq.exporting.load import Model, load
from oq.model.files import (
    check_apart,
    check_folder,
    check_writable,
    model_bytes,
    path_bytes,
    replacing,
    replacing_folder,
)
from oq.options.keywords import DeployOptions, complete, documented, options_of
from oq.planning import registry
from oq.wording import LABEL, item, row

SHARED = frozenset({"data", "samples", "seed", "watch"})
"""Keywords of :func:`deploy` that every format takes."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What was written: ``model`` is the Q/DQ file, ``before`` and ``bytes`` the sizes of both."""

    model: str
    format: str
    output: str
    before: int
    bytes: int
    facts: Mapping[str, str]
    proofs: tuple[Proof, ...]
    notes: tuple[str, ...]
    next_step: str

    def __str__(self) -> str:
        return "\n".join(deployment_lines(self))


@documented(DeployOptions)
def deploy(
    model: Model, to: str, output: str | Path | None = None, **options: Unpack[DeployOptions]
) -> Deployment:
    """Write the quantized ``model`` in the format ``to`` (``oq formats``), compared with the Q/DQ
    file before it appears at ``output`` (default: beside the model, with the format's suffix).

    Raises:
        OqError: the model, an option or the output cannot be used, or what was written differs
            from the Q/DQ file; nothing is left of it then.
    """
    asked, form = complete(DeployOptions, options), find_format(to)
    own = _own_options(form, asked)
    place, name = _place(model, output, form)
    loaded = load(model)
    _check_rules(loaded, form, own, name)
    samples = open_samples(loaded, asked["data"], None, asked["samples"], asked["seed"])
    given = Given(loaded, name, samples, own, asked["watch"])
    with (replacing_folder if form.mark else replacing)(place) as beside:
        made = form.write(given, beside)
        _insist(made, place)
    return Deployment(
        *(f"{name}.onnx", form.name, str(place), model_bytes(loaded), path_bytes(place)),
        *(made.facts, made.proofs, made.notes, made.next_step.format(output=place)),
    )


def _own_options(form: Format, asked: DeployOptions) -> dict[str, Any]:
    """The options of ``form``; one of another format that is given is refused."""
    defaults = {name: option.default for name, option in options_of(DeployOptions).items()}
    given = cast("Mapping[str, Any]", asked)
    for name, value in given.items():
        if name in SHARED or name in form.options or value == defaults[name]:
            continue
        takers = sorted(n for n in FORMATS if name in find_format(n).options)
        flag = name.replace("_", "-")
        raise OptionError(f"--{flag} is for --to {' or '.join(takers)}, not for {form.name}")
    return {name: given[name] for name in form.options}


def _place(model: Model, output: str | Path | None, form: Format) -> tuple[Path, str]:
    """Where the file goes, and the name of the model; checked before anything is read."""
    source = Path(model) if isinstance(model, str | Path) else None
    if output is None and source is None:
        raise OptionError("output is missing: a model in memory has no file to lie beside")
    name = "model" if source is None else source.name.removesuffix(".onnx")
    folder = Path() if source is None else source.parent
    place = Path(output) if output is not None else folder / f"{name}{form.suffix}"
    ending = form.ending or form.suffix
    if not place.name.endswith(ending):
        raise OptionError(f"-o {str(place)!r}: --to {form.name} writes a file {ending}")
    if form.mark:
        check_folder(place, form.mark)
    else:
        check_writable(place)
    check_apart({"-o": place}, {"model": source})
    return place, name


def _check_rules(model: onnx.ModelProto, form: Format, own: Mapping[str, Any], name: str) -> None:
    """Insist on a Q/DQ file that obeys the rules of the format's target."""
    if form.takes_float(own):
        return
    target = form.target
    remedy = f"oq quantize FLOAT.onnx -t {target} makes a file that it takes"
    if not is_quantized(model.graph):
        raise ModelError(f"{name}.onnx is a float model; oq quantize {name}.onnx -t {target} first")
    for found in judge(model, registry.target(target)).findings:
        if found.severity == "error":
            made_for = next((p.value for p in model.metadata_props if p.key == "oq.target"), "")
            whose = f" (the file was made for {made_for})" if made_for not in ("", target) else ""
            raise ModelError(
                f"--to {form.name} takes files by the rules of target {target}{whose}: "
                f"{found.node!r} [{found.check}] {found.message}; {remedy}"
            )


def _insist(made: Made, place: Path) -> None:
    for proof in made.proofs:
        if not proof.passed:
            raise ModelError(
                f"{place.name} is not what the Q/DQ file computes, so it was not written: "
                f"{proof.what}: {proof.figures}"
            )


def deployment_lines(found: Deployment) -> Iterator[str]:
    """The deployment as text of 80 columns."""
    yield from row("wrote", f"{found.output}, {found.bytes:,} bytes ({found.before:,} as Q/DQ)")
    for name, text in found.facts.items():
        yield from row(name, text)
    for proof in found.proofs:
        yield from row("proven", f"{proof.what}: {proof.figures}")
    for note in found.notes:
        yield from item(f"note: {note}", indent=LABEL)
    if found.next_step:
        yield from row("next", found.next_step)
