"""A Q/DQ file in, a device file out: refused, written beside, proven, renamed."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Unpack, cast

import onnx

from oq.checks.judgement import is_quantized, judge
from oq.data.samples import open_samples
from oq.deployment.formats import FORMATS, Format, Given, Made, Proof, find_format
from oq.errors import ModelError, OptionError
from oq.exporting.load import Model, load
from oq.model.bodies import graphs_in
from oq.model.files import (
    check_apart,
    check_folder,
    check_writable,
    model_bytes,
    path_bytes,
    replacing,
    replacing_files,
    replacing_folder,
)
from oq.model.halves import in_single
from oq.model.input_shapes import with_shapes
from oq.model.metadata import target_of
from oq.options.keywords import DeployOptions, complete, documented, options_of
from oq.planning import registry
from oq.wording import LABEL, Told, item, row, shell_row

SHARED = frozenset({"data", "preprocess", "rename", "samples", "seed", "shape", "watch"})
"""Keywords of :func:`deploy` that every format takes."""


@dataclass(frozen=True, slots=True, repr=False)
class Deployment(Told):
    """What was written: ``model`` is the Q/DQ file, ``before`` and ``bytes`` the sizes of both."""

    WORDS: ClassVar[str] = "oq.deployment.run:deployment_lines"

    model: str
    format: str
    output: str
    before: int
    bytes: int
    facts: Mapping[str, str]
    proofs: tuple[Proof, ...]
    notes: tuple[str, ...]
    next_step: str
    commands: Mapping[str, str]

    def short(self) -> str:
        """Format, file and size."""
        return f"{self.format}: {self.output}, {self.bytes:,} bytes"


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
    form.check(own)
    source = Path(model) if isinstance(model, str | Path) else None
    place, name = _place(source, output, form)
    loaded = with_shapes(in_single(load(model)), asked["shape"])
    _check_rules(loaded, form, own, name)
    how = asked["preprocess"], asked["samples"], asked["seed"], asked["rename"]
    samples = open_samples(loaded, asked["data"], *how)
    given = Given(loaded, name, samples, own, asked["watch"], source)
    files = _files(place, form)
    with _replacing(files, form) as beside:
        made = form.write(given, beside)
        _insist(made, place)
    size = sum(map(path_bytes, files))
    return Deployment(
        *(f"{name}.onnx", form.name, str(place), model_bytes(loaded), size),
        *(made.facts, made.proofs, made.notes, made.next_step.format(output=place), made.commands),
    )


def check_deployable(
    target: str,
    source: Path,
    to: str,
    output: str | Path | None = None,
    **options: Unpack[DeployOptions],
) -> Path:
    """Where :func:`deploy` will write a file for ``target`` that is not made yet, at ``source``.

    Raises:
        OqError: the format, an option or the output cannot be used, or takes no such file.
    """
    form = find_format(to)
    own = _own_options(form, complete(DeployOptions, options))
    if form.takes_float(own):
        raise OptionError(
            f"--weights-only is of a float model: oq deploy FLOAT.onnx --to {to} takes that"
        )
    if target not in (form.target, *form.others) and not form.any_target:
        raise OptionError(
            f"--to {to} takes files of target {form.target}; this run makes one for {target}"
        )
    form.check(own)
    return _place(source, output, form)[0]


def _own_options(form: Format, asked: DeployOptions) -> dict[str, Any]:
    """The options of ``form``; one of another format that is given is refused."""
    defaults = {name: option.default for name, option in options_of(DeployOptions).items()}
    given = cast("Mapping[str, Any]", asked)
    for name, value in given.items():
        if name in SHARED or name in form.options or (value or None) == (defaults[name] or None):
            continue
        takers = sorted(n for n in FORMATS if name in find_format(n).options)
        flag = name.replace("_", "-")
        raise OptionError(f"--{flag} is for --to {' or '.join(takers)}, not for {form.name}")
    return {name: given[name] for name in (*form.options, "preprocess")}


def _files(place: Path, form: Format) -> tuple[Path, ...]:
    """``place``, and the files that belong to it."""
    stem = place.name.removesuffix(form.suffix)
    return (place, *(place.with_name(f"{stem}{suffix}") for suffix in form.beside))


def _replacing(files: tuple[Path, ...], form: Format) -> AbstractContextManager[Path]:
    if form.beside:
        return replacing_files(*files)
    return (replacing_folder if form.mark else replacing)(files[0])


def _place(source: Path | None, output: str | Path | None, form: Format) -> tuple[Path, str]:
    """Where the file goes, and the name of the model; checked before anything is read."""
    if output is None and source is None:
        raise OptionError("output is missing: a model in memory has no file to lie beside")
    name = "model" if source is None else source.name.removesuffix(".onnx")
    folder = Path() if source is None else source.parent
    place = Path(output) if output is not None else folder / f"{name}{form.suffix}"
    ending = form.ending or form.suffix
    if not place.name.endswith(ending):
        raise OptionError(
            f"-o {str(place)!r}: --to {form.name} writes a {ending}; give a name that ends so"
        )
    first, *others = _files(place, form)
    if form.mark:
        check_folder(first, form.mark)
    else:
        check_writable(first)
    for path in others:
        check_writable(path)
    written = {"-o": first, **{f"the {path.suffix} beside -o": path for path in others}}
    check_apart(written, {"model": source})
    return place, name


def _check_rules(model: onnx.ModelProto, form: Format, own: Mapping[str, Any], name: str) -> None:
    """Insist on a Q/DQ file that obeys the rules of the format's target."""
    if form.takes_float(own):
        return
    target = form.target
    remedy = f"oq quantize FLOAT.onnx -t {target} makes a file that it takes"
    if not any(map(is_quantized, graphs_in(model.graph))):
        raise ModelError(f"{name}.onnx is a float model; oq quantize {name}.onnx -t {target} first")
    if form.any_target:
        return
    for found in judge(model, registry.target(target)).findings:
        if found.severity == "error":
            made_for = target_of(model) or target
            whose = "" if made_for == target else f" (the file was made for {made_for})"
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
    yield from row(
        "wrote", f"{found.output}, {found.bytes:,} bytes ({found.before:,} as {found.model})"
    )
    for name, text in found.facts.items():
        yield from row(name, text)
    for proof in found.proofs:
        yield from row("proven", f"{proof.what}: {proof.figures}")
    for note in found.notes:
        yield from item(f"note: {note}", indent=LABEL)
    for title, command in found.commands.items():
        yield from shell_row(title, command)
    if found.next_step:
        yield from row("next", found.next_step)
