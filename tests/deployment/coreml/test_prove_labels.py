"""A classifier's labels: read back from the package, and other ones are caught."""

from dataclasses import replace
from pathlib import Path

import pytest

import oq
from oq.deployment.coreml.asked import Asked
from oq.numerics.values import Batch
from tests.graphs import Net
from tests.small import normal

pytest.importorskip("coremltools")

from oq.deployment.coreml.prove_labels import prove_labels

LABELS = ("cat", "dog", "owl")


@pytest.mark.parametrize("options", [{}, {"weights_only": "int8"}])
def test_swapped_labels_and_a_program_without_any(options: dict[str, str], tmp_path: Path) -> None:
    net = Net()
    net.gemm(net.input("x", ("n", 1024)), "y", features=1024)
    model = net.model("y")
    if not options:
        model = oq.quantize(model, "coreml", "random", samples=8, refine="none").model
    lines, place = tmp_path / "labels.txt", tmp_path / "m.mlpackage"
    lines.write_text("\n".join(LABELS))
    told = oq.deploy(model, "coreml", place, labels=lines, samples=3, **options)  # type: ignore[arg-type]
    assert [p.what for p in told.proofs if "label" in p.what] == [
        "3 labels, and those of 3 samples"
    ]
    asked = Asked(18, True, None, None, LABELS)
    batches = [Batch({"x": normal(1, 1024, seed=i)}) for i in range(3)]
    assert prove_labels(place, batches, asked).passed
    swapped = replace(asked, labels=("dog", "cat", "owl"))
    assert prove_labels(place, batches, swapped).figures == "the package stores others"
    oq.deploy(model, "coreml", place, samples=1, **options)  # type: ignore[arg-type]
    assert not prove_labels(place, batches, asked).passed
