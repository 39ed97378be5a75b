"""The format ``trt``: the script, trtexec's lines, and the engine where one can be built."""

import os
from collections.abc import Iterator
from pathlib import Path

from oq.artifacts.onnx_file import model_contents
from oq.data.samples import RANDOM
from oq.deployment.formats import Format, Given, Made, Proof
from oq.deployment.trt.build import build
from oq.deployment.trt.lines import builder_flags, stores_codes, trtexec_lines
from oq.deployment.trt.profiles import FLAGS, Profile, make_profile
from oq.deployment.trt.script import constants_of, write_script
from oq.model.proto_fields import inputs_of

SUFFIX = ".trt.py"


def write(given: Given, path: Path) -> Made:
    """Write the script for the ONNX file, which stays where it is."""
    contents = model_contents(given.model)
    profile = _profile(given)
    flags = builder_flags(contents)
    source = Path(f"{given.name}.onnx") if given.source is None else given.source
    beside = Path(os.path.relpath(source, path.parent)) if given.source is not None else source
    engine = f"{given.name}.plan"
    text = write_script(beside.as_posix(), engine, profile.shapes, flags)
    path.write_text(text, encoding="utf-8")
    built = build(given.model, profile.shapes, flags)
    oldest = "10.0" if stores_codes(given.model) else "8.6"
    return Made(
        (_proof(path, beside.as_posix(), profile),),
        {**_shapes(profile), **built.facts},
        (*_notes(given, profile, oldest), *built.notes),
        "python {output} on a machine with TensorRT",
        dict(trtexec_lines(str(source), engine, profile.shapes, flags, oldest)),
    )


def _profile(given: Given) -> Profile:
    asked = {flag: given.options.get(flag) for flag in FLAGS}
    real = given.samples.name != RANDOM
    feeds = (batch.feeds for batch in given.samples.batches(1)) if real else ()
    return make_profile(inputs_of(given.model), asked, feeds)


def _proof(path: Path, model: str, profile: Profile) -> Proof:
    found = constants_of(path.read_text(encoding="utf-8"))
    same = found.get("ONNX") == model and found.get("PROFILE") == dict(profile.shapes)
    return Proof("the script", "its file and shapes, read back" if same else "differs", same)


def _shapes(profile: Profile) -> dict[str, str]:
    said = []
    for name, shapes in profile.shapes.items():
        ends = zip(("min", "opt", "max"), shapes, strict=True)
        said.append(f"{name} " + ", ".join(f"{end} {'x'.join(map(str, s))}" for end, s in ends))
    return {"shapes": "; ".join(said)} if said else {}


def _notes(given: Given, profile: Profile, oldest: str) -> Iterator[str]:
    if profile.assumed:
        named = ", ".join(map(repr, profile.assumed))
        yield (
            f"the model leaves axes of {named} free: sizes that nobody gave are oq's defaults "
            "(--min-shape, --opt-shape, --max-shape)"
        )
    if given.source is None:
        yield f"the script reads {given.name}.onnx beside it: save the model there"
    if oldest != "8.6":
        yield "weights are stored as integers, which TensorRT 8 does not read"
    yield (
        "from 10.12 on, layers that are not quantized have the type of the file; before, --fp16 "
        "lets them be float16"
    )


FORMAT = Format(
    "trt",
    "a script that builds and times a TensorRT engine, and trtexec's lines",
    SUFFIX,
    "trt",
    write,
    options=FLAGS,
)
