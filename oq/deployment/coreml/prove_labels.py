"""Does a classifier give the labels that it was written with: by oq's own reader."""

from collections.abc import Sequence
from pathlib import Path

from oq.artifacts.mlpackage.package import CLASSIFY, open_file
from oq.artifacts.mlpackage.program import Constant, Operation, Program
from oq.deployment.coreml.asked import Asked
from oq.deployment.coreml.prove import feed_pairs
from oq.deployment.formats import Proof
from oq.numerics.values import Batch
from oq.wording import counted


def prove_labels(path: Path, batches: Sequence[Batch], asked: Asked) -> Proof:
    """The classes that the package at ``path`` stores are the labels of ``asked`` in their order,
    and each sample (a batch of one) gets that of its largest probability."""
    package = open_file(path)
    what = f"{counted(len(asked.labels), 'label')}, and those of {counted(len(batches), 'sample')}"
    made = next((o for o in package.program.operations if o.kind == CLASSIFY), None)
    if made is None:
        return Proof(what, "the program does not classify", False)
    stored = stored_classes(package.program, made)
    if stored != asked.labels:
        return Proof(what, "the package stores others", False)
    label, (probabilities,) = made.outputs[0][0], made.inputs["probabilities"]
    wrong = 0
    for _, given in feed_pairs(batches, asked.image):
        said, values = package.run(given, [label, str(probabilities)])
        wrong += str(said) != asked.labels[int(values.argmax())]
    return Proof(what, f"{counted(wrong, 'sample')} differ" if wrong else "all equal", not wrong)


def stored_classes(program: Program, made: Operation) -> tuple[str, ...]:
    """The labels that the operation ``made`` chooses from."""
    (binding,) = made.inputs["classes"]
    held = binding if isinstance(binding, Constant) else program.constants[binding]
    return tuple(map(str, held.values.reshape(-1)))
