"""Every model through every format that its target allows: it passes all proofs, or is refused in
the words that stand here.

``make soak`` runs all of them.  ``make test`` has the small ones, and pt2 for one target: it takes
torch longer than all other formats together.  ``test_models.py``, ``aten/test_write.py`` and
``test_light_models.py`` hold a choice of the others.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

import onnx
import pytest

import oq
from oq.deployment.formats import FORMATS, find_format
from oq.planning import registry
from tests.branched import patches, unet
from tests.deployment.test_models import SOAK, need
from tests.detector import detector
from tests.light import HUGE, LIGHT, light, narrow
from tests.real import CIFAR, IMAGENET
from tests.shown import BUNDLED

Made = Callable[[], onnx.ModelProto | Path]

MODELS: dict[str, Made] = {
    **{n: partial(Path, BUNDLED, f"{n}.onnx") for n in ("residual", "separable", "transformer")},
    "detector": detector,
    "detector with NMS": partial(detector, suppress=True),
}
LARGE: dict[str, Made] = {
    "U-Net": unet,
    "patches": patches,
    **{name: partial(light, name) for name in LIGHT},
    **{name: partial(narrow, name) for name in HUGE},
    "resnet20": partial(Path, CIFAR, "resnet20.onnx"),
    "mobilenet": partial(Path, IMAGENET, "mobilenetv1_025.onnx"),
}


def formats_of(target: str) -> list[str]:
    """The formats that take files for ``target``."""
    found = map(find_format, sorted(FORMATS))
    names = [f.name for f in found if f.any_target or target in (f.target, *f.others)]
    return names if SOAK or target == "openvino" else [n for n in names if n != "pt2"]


REFUSED: Mapping[tuple[str, ...], str] = {
    **{
        (n, "xmodel"): "of this model these lack: LRN"
        for n in ("inception_v1", "bvlc_alexnet", "zfnet512")
    },
    ("patches", "xmodel"): "of this model these lack: Expand, Shape",
    ("transformer", "xmodel"): "of this model these lack: LayerNormalization",
    ("detector with NMS", "xmodel"): "of this model these lack: NonMaxSuppression",
    **{
        ("detector with NMS", form): "NonMaxSuppression has no form in torch here"
        for form in ("pt2", "torchscript")
    },
    # its weights are all alike, and its activations grow to 1e17, beyond 1e8 as masks, which ranges
    # leave out: sums saturate by a factor that onnxruntime's int32 does not hold
    **{
        ("resnet50", "qoperator", target): "'n118_Add' has no integer form: its operands reach"
        for target in ("coreml", "ort")
    },
}
"""(model, format), and the target if only its files are -> what the refusal says: these have no row
there, or ask for what the runtime cannot do."""


@cache
def made(name: str, target: str) -> oq.Result:
    """``name`` quantized for ``target``, on random values: what they mean is not asked here."""
    model = (MODELS | LARGE)[name]()
    if isinstance(model, Path) and not model.exists():
        pytest.skip("the real models are not here")
    return oq.quantize(model, target, "random", samples=2, refine="none", verify=False)


SLOW = pytest.mark.slow
LONG = (SLOW, pytest.mark.skipif(not SOAK, reason="make soak runs it"))
CASES = [
    pytest.param(name, target, marks=LONG if name in LARGE else SLOW)
    for name in (*MODELS, *LARGE)
    for target in registry.names("targets")
]


@pytest.mark.parametrize(("name", "target"), CASES)
def test_every_format(name: str, target: str, tmp_path: Path) -> None:
    found = {}
    for form in formats_of(target):
        need(form)
        place = tmp_path / f"{form}{find_format(form).suffix}"
        options = {"precision": "float32"} if form == "coreml" else {}
        try:
            done = made(name, target).deploy(form, place, samples=1, **options)  # type: ignore[arg-type]
        except oq.OqError as error:
            assert not list(tmp_path.glob(f"{form}*"))
            found[name, form] = str(error)
            continue
        assert done.proofs and all(p.passed for p in done.proofs)
    expected = {(key[0], key[1]): said for key, said in REFUSED.items() if key[0] == name
                and key[1] in formats_of(target) and key[2:] in ((), (target,))}  # fmt: skip
    assert found.keys() == expected.keys(), found
    for key, said in expected.items():
        assert said in found[key]
