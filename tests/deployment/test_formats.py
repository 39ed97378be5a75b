"""What every format says of a missing package and of a model that is none for it."""

import sys
from pathlib import Path

import pytest

import oq
from oq.deployment.formats import FORMATS, find_format
from oq.deployment.run import check_deployable
from oq.errors import EXTRAS
from oq.planning import registry
from tests.deployment.test_models import PACKAGES
from tests.shown import BUNDLED, quantized

MADE_FOR = {"coreml": "coreml", "openvino": "openvino", "pt2": "trt", "torchscript": "trt"}


@pytest.mark.parametrize("form", PACKAGES)
def test_a_missing_package_is_one_line_before_any_work(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = PACKAGES[form]
    monkeypatch.setitem(sys.modules, package, None)
    place = tmp_path / f"m{find_format(form).suffix}"
    (extra,) = (e for e, packages in EXTRAS.items() if package in packages)
    said = f"--to {form} needs .*not installed: pip install {' '.join(EXTRAS[extra])}"
    with pytest.raises(oq.MissingExtra, match=said):
        oq.deploy(tmp_path / "none.onnx", form, place)
    with pytest.raises(oq.MissingExtra, match=said):
        check_deployable(MADE_FOR[form], tmp_path / "none.onnx", form, place)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", FORMATS)
def test_a_float_model_is_told_the_line_that_makes_a_file(form: str, tmp_path: Path) -> None:
    target = find_format(form).target
    said = rf"residual\.onnx is a float model; oq quantize residual\.onnx -t {target} first"
    with pytest.raises(oq.ModelError, match=said):
        oq.deploy(BUNDLED / "residual.onnx", form, tmp_path / f"m{find_format(form).suffix}")
    assert not list(tmp_path.iterdir())


PAIRS = [
    (target, form)
    for target in registry.names("targets")
    for form in FORMATS
    if not find_format(form).any_target
    and target not in (find_format(form).target, *find_format(form).others)
]
FITS = {("dpu", "trt")}
"""Files that happen to obey the rules of another target: powers of two are scales too."""


@pytest.mark.parametrize(("target", "form"), PAIRS)
def test_a_file_of_another_target_is_told_the_rule_that_it_breaks(
    target: str, form: str, tmp_path: Path
) -> None:
    place = tmp_path / f"m{find_format(form).suffix}"
    model, wanted = quantized("residual", target).model, find_format(form).target
    if (target, form) in FITS:
        assert oq.deploy(model, form, place).proofs
        return
    with pytest.raises(oq.ModelError) as error:
        oq.deploy(model, form, place)
    said = str(error.value)
    if (target, form) == ("dpu", "coreml"):  # legal there, but for the type of its biases
        assert "its bias has codes of 8 bits" in said
    else:
        assert f"(the file was made for {target}): " in said
    assert said.endswith(f"; oq quantize FLOAT.onnx -t {wanted} makes a file that it takes")
    assert not list(tmp_path.iterdir()) and "\n" not in said
