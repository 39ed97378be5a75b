"""Programs that are damaged, or hold what the reader does not read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oq.artifacts.mlpackage.package import open_file
from oq.errors import DataError, ModelError
from oq.numerics.values import TensorInfo
from tests.mil import MODEL, WEIGHTS, block_of, edit_model, operation_of, small_package


def _unknown_field(model: Any) -> None:
    operation_of(model, "relu").MergeFromString(b"\xf8\x06\x01")


def _neural_network(model: Any) -> None:
    model.ClearField("mlProgram")


def _no_reader(model: Any) -> None:
    operation_of(model, "relu").inputs["x"].arguments[0].name = "lost"


def _twice(model: Any) -> None:
    operation_of(model, "relu").outputs[0].name = "c"


def _state(model: Any) -> None:
    model.description.state.add(name="cache")


def _float8(model: Any) -> None:
    operation_of(model, "relu").outputs[0].type.tensorType.dataType = 40


def _rank(model: Any) -> None:
    operation_of(model, "relu").outputs[0].type.tensorType.rank = 3


def _output(model: Any) -> None:
    model.description.output[0].name = "z"


def _function(model: Any) -> None:
    model.description.defaultFunctionName = "other"


def _outside(model: Any) -> None:
    for operation in block_of(model).operations:
        for argument in operation.inputs.values():
            for binding in argument.arguments:
                if binding.value.HasField("blobFileValue"):
                    binding.value.blobFileValue.fileName = "@model_path/../../../x.bin"


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_unknown_field, "'relu' has field 111, which oq does not read"),
        (_neural_network, "holds no ML program"),
        (_no_reader, "'r' reads 'lost', which nothing before it computes"),
        (_twice, "two values of the program are called 'c'"),
        (_state, "keeps a state"),
        (_float8, "'r' has data type 40"),
        (_rank, "'r' has rank 3 and 4 axes"),
        (_output, "output 'z' of the description is none of the program's"),
        (_function, "no function 'other'; available: main"),
        (_outside, "leads out of the package"),
    ],
)
def test_damage_is_told_in_one_line(edit: Callable[[Any], None], said: str, tmp_path: Path) -> None:
    package = small_package(tmp_path / "m.mlpackage")
    edit_model(package, edit)
    with pytest.raises(ModelError, match=said) as told:
        open_file(package)
    assert "\n" not in str(told.value)


def test_files_that_are_cut_off_or_gone(tmp_path: Path) -> None:
    package = small_package(tmp_path / "m.mlpackage")
    whole = (package / WEIGHTS).read_bytes()
    (package / WEIGHTS).write_bytes(whole[:150])
    with pytest.raises(ModelError, match=r"weight.bin is cut off: the blob at 64"):
        open_file(package)
    (package / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=r"cannot read .*weight.bin"):
        open_file(package)
    (package / WEIGHTS).write_bytes(whole)
    file = package / MODEL
    raw = file.read_bytes()
    file.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ModelError, match="is not a Core ML model"):
        open_file(package)


def _sizes(info: TensorInfo) -> list[int]:
    return [s if isinstance(s, int) else 1 for s in info.shape or ()]


def test_any_byte_may_change_and_the_answer_is_an_error_of_the_user(tmp_path: Path) -> None:
    """Never a traceback of protobuf, of NumPy or of the reader."""
    package = small_package(tmp_path / "m.mlpackage")
    file, random = package / MODEL, np.random.default_rng(0)
    raw = np.frombuffer(file.read_bytes(), np.uint8)
    refused = 0
    for _ in range(300):
        spoilt = raw.copy()
        spoilt[random.integers(0, len(raw), 2)] ^= random.integers(1, 256, 2).astype(np.uint8)
        file.write_bytes(spoilt.tobytes())
        try:
            read = open_file(package)
            if sum(map(np.prod, map(_sizes, read.inputs))) < 10**6:
                read.run({i.name: np.zeros(_sizes(i), np.float32) for i in read.inputs})
        except ModelError:
            refused += 1
        except DataError:
            pass
    assert refused > 100
