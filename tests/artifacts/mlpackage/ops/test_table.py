"""Every row has the inputs that coremltools defines for the operation, and refuses others."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oq.artifacts.mlpackage.ops.table import ROWS, call
from oq.errors import ModelError

HERE = Path(__file__).parent


@pytest.mark.parametrize("kind", sorted(ROWS))
def test_inputs_are_those_of_every_version(kind: str) -> None:
    pytest.importorskip("coremltools")
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    taken = inspect.signature(ROWS[kind]).parameters
    for version in SSAOpRegistry.core_ops[kind].values():
        spec: dict[str, Any] = version.input_spec.input_types
        assert set(spec) <= set(taken)
        needed = {n for n, i in spec.items() if not i.optional}
        free = {n for n, p in taken.items() if p.default is inspect.Parameter.empty}
        assert free - needed <= {"strides", "zero_point"} & free


def test_every_row_has_a_test() -> None:
    files = [*HERE.glob("test_*.py"), HERE.parent / "test_package.py", HERE / "test_recurrent.py"]
    text = "".join(f.read_text(encoding="utf-8") for f in {*files} if f.exists())
    assert not [kind for kind in ROWS if kind not in text]


def test_what_is_not_consumed_is_refused() -> None:
    x = (np.ones(3, np.float32),)
    with pytest.raises(ModelError, match="operation 'gru2' is none that oq evaluates"):
        call("gru2", {"x": x})
    with pytest.raises(ModelError, match="input 'alpha' of 'relu' is none that oq knows"):
        call("relu", {"x": x, "alpha": x})
    with pytest.raises(ModelError, match="'leaky_relu' has no input 'alpha'"):
        call("leaky_relu", {"x": x})
    with pytest.raises(ModelError, match="input 'x' of 'relu' has 2 values"):
        call("relu", {"x": x * 2})
