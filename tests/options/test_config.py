"""A run written down: what is read is what was written, and every mistake is named by its key."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import oq
from oq.errors import OptionError
from oq.options.config import DEPLOY_KEYS, KEYS, read_config, template, write_config
from oq.planning.overrides import Layer


def read(tmp_path: Path, text: str) -> dict[str, Any]:
    path = tmp_path / "quant.yaml"
    path.write_text(text, encoding="utf-8")
    return read_config(path)


CALLS = (oq.quantize, oq.search, oq.finetune)


def test_every_key_is_a_keyword_of_quantize() -> None:
    asked = [inspect.signature(f).parameters.values() for f in CALLS]
    keywords = {p.name for found in asked for p in found if p.kind is not p.VAR_KEYWORD}
    keywords -= {"model", "output", "example_inputs", "watch", "state"}
    keywords -= {"ray"}  # where it runs changes nothing in the file
    assert {k.name for k in KEYS} == keywords | {"deploy"}


def test_deploy_holds_every_keyword_of_deploy() -> None:
    keywords = set(inspect.signature(oq.deploy).parameters) - {"model", "watch", "options"}
    assert {k.name for k in DEPLOY_KEYS} == keywords


FULL: dict[str, Any] = {
    "target": "trt",
    "data": "calib.npz",
    "rename": {"input": "x", "labels": "y"},
    "preprocess": "imagenet",
    "shape": {"input": (1, 3, None, 8)},
    "samples": 12,
    "seed": 0,
    "batch_size": 4,
    "calibrator": "mse",
    "settings": {"percentile.percentile": 99.9},
    "calibrator_for": (("Conv", "percentile"),),
    "weights": "mse",
    "keep_float": ("/head/*",),
    "mode": "selective",
    "layers": (Layer("Conv", dtype="int8", symmetric=True), Layer("/x", per_channel=False)),
    "ranges": "r.json",
    "refine": ("bias",),
    "cache": "c",
    "max_memory": 100,
    "provider": "cpu",
    "format": "qdq",
    "verify": False,
    "max_drop": 0.5,
    "metric": "miou",
    "eval_data": "eval",
    "labels": Path("labels.csv"),
    "time_limit": 60,
    "report": "r.html",
    "ranking": "s.json",
    "epochs": 3,
    "minutes": 1.5,
    "train_batch": 8,
    "lr": 0.001,
    "loss": "kl",
    "augment": "flip",
    "scales": "learned",
    "deploy": {
        "to": "coreml",
        "output": Path("m.mlpackage"),
        "data": "eval.npz",
        "rename": {"input": "x"},
        "samples": 2,
        "min_shape": {"x": (1, None)},
        "opt_shape": {"x": (2, 3)},
        "max_shape": {"x": (4, 3)},
        "seed": 1,
        "shape": {"x": (1, 3)},
        "operators": "onnx",
        "platform": "arm",
        "ios": 17,
        "precision": "float32",
        "weights_only": "int8",
        "image_input": True,
        "preprocess": "imagenet",
        "labels": Path("classes.txt"),
    },
}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    assert set(FULL) == {k.name for k in KEYS}
    text = write_config(FULL, ["made by a test"])
    assert text.startswith("# made by a test\n")
    assert read(tmp_path, text) == FULL
    assert write_config(read(tmp_path, text), ["made by a test"]) == text


def test_all_keys_are_in_that_test() -> None:
    assert set(FULL["deploy"]) == {k.name for k in DEPLOY_KEYS}


def test_paths_of_deploy_are_seen_from_the_file_s_folder(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("a")
    text = "deploy: {to: coreml, labels: classes.txt, preprocess: imagenet}"
    found = read(tmp_path, text)["deploy"]
    assert found["labels"].resolve() == tmp_path / "classes.txt"
    assert found["preprocess"] == "imagenet"
    written = write_config({"deploy": found}, folder=tmp_path)
    assert "labels: classes.txt" in written


def test_what_is_not_set_is_not_written(tmp_path: Path) -> None:
    options = {"target": "ort", "samples": None, "layers": (), "seed": 0, "verify": False}
    found = read(tmp_path, write_config(options | {"data": np.zeros(3), "other": 1}))
    assert found == {"target": "ort", "seed": 0, "verify": False}


@pytest.mark.parametrize(
    "data", [[(np.zeros(1), np.zeros(1), np.zeros(1))], [{"x": np.zeros(1)}], {"x": np.zeros(1)}]
)
def test_data_in_memory_is_not_written(data: object) -> None:
    assert write_config({"target": "ort", "data": data, "eval_data": data}) == "target: ort\n"


def test_the_template_says_nothing_until_a_line_is_uncommented(tmp_path: Path) -> None:
    assert read(tmp_path, template()) == {}
    wanted = ("# deploy:", "#   ", *(f"# {k.name}: " for k in KEYS))
    spoken = "\n".join(
        line.removeprefix("# ") for line in template().splitlines() if line.startswith(wanted)
    )
    found = read(tmp_path, spoken)
    assert set(found) == {k.name for k in KEYS}
    assert set(found["deploy"]) == {k.name for k in DEPLOY_KEYS}
    assert set(yaml.safe_load(spoken)) == {k.name for k in KEYS}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tagret: trt", r"'tagret' is unknown; did you mean 'target'\? Available: target, data"),
        ("samples: many", "config key 'samples' is 'many'; expected a whole number"),
        ("samples: true", "config key 'samples' is True; expected a whole number"),
        ("mode: all", "config key 'mode' is 'all'; expected naive or hybrid or selective"),
        ("verify: 3", "config key 'verify' is 3; expected true or false"),
        ("keep_float: head", "config key 'keep_float' is 'head'; expected a list of texts"),
        ("layers: [{dtype: int8}]", r"config key layers\[0\]: expected 'match'"),
        ("layers: [{match: a, bits: 8}]", "layer 'a': no key 'bits'; expected dtype, symmetric"),
        ("calibrator_for: {a: 3}", "expected a mapping from globs to calibrators"),
        ("rename: {x: 3}", "config key 'rename' is .*expected a mapping from inputs to arrays"),
        ("deploy: coreml", "config key 'deploy' is 'coreml'; expected a mapping"),
        ("deploy: {ios: 17}", "config key 'deploy' names no format: key 'to'"),
        ("deploy: {to: trt, os: 17}", r"config key 'deploy\.os' is unknown; available: to, output"),
        ("deploy: {to: trt, ios: x}", r"config key 'deploy\.ios' is 'x'; expected a whole number"),
        ("- trt", "expected a mapping of keys to values"),
        ("a: [", "is not a YAML file"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        read(tmp_path, text)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"none\.yaml': No such file"):
        read_config(tmp_path / "none.yaml")
