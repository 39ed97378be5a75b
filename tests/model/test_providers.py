"""Providers: which are there, how to get one, and which nodes each one ran."""

import json
from collections import Counter
from pathlib import Path

import onnxruntime as ort
import pytest

from oq.errors import OptionError
from oq.model.providers import (
    CPU,
    PROVIDERS,
    check_started,
    choose_providers,
    fallback_note,
    read_placements,
)
from oq.model.session import Session, Settings, check_provider
from tests.small import normal, small

CUDA = PROVIDERS["cuda"].own


def test_a_missing_provider_says_what_is_there_and_how_to_get_it() -> None:
    with pytest.raises(OptionError) as told:
        choose_providers("cuda", [CPU])
    assert str(told.value) == (
        "provider 'cuda' is not in this onnxruntime; it has: cpu; "
        "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
    )
    with pytest.raises(OptionError, match="it has: cpu; onnxruntime for macOS has it"):
        choose_providers("coreml", [CPU])
    with pytest.raises(OptionError, match="provider 'warp' is not in this onnxruntime"):
        check_provider("warp")


def test_nodes_that_a_provider_lacks_go_to_the_cpu() -> None:
    assert choose_providers("cuda", [CUDA, CPU]) == [CUDA, CPU]
    assert choose_providers("cpu", [CUDA, CPU]) == [CPU]
    assert choose_providers(CUDA, [CUDA, CPU]) == [CUDA, CPU], "onnxruntime's own name"


def test_every_name_is_one_of_onnxruntime() -> None:
    assert {p.own for p in PROVIDERS.values()} - {PROVIDERS["rocm"].own} <= set(
        ort.get_all_providers()
    )


def test_a_provider_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime goes on without one whose libraries it does not find."""
    check_started("cuda", [CUDA, CPU])
    with pytest.raises(OptionError, match="provider 'cuda' does not start here"):
        check_started("cuda", [CPU])
    monkeypatch.setattr(ort.InferenceSession, "get_providers", lambda self: [])
    with pytest.raises(OptionError, match="provider 'cpu' does not start here"):
        Session(small("net (float[n] x) => (float[n] y) { y = Neg(x) }"))


def test_a_profile_says_who_ran_what(tmp_path: Path) -> None:
    model = small("net (float[n] x) => (float[n] y) { a = Neg(x) b = Neg(a) y = Abs(b) }")
    session = Session(model, Settings("literal"), trace=tmp_path / "trace")
    for _ in range(2):
        session.run({"x": normal(3)})
    found = read_placements(session.end_trace(), "oq_ends_")
    assert found == {CPU: Counter(Neg=2, Abs=1)}


def test_what_oq_adds_is_no_part_of_the_model(tmp_path: Path) -> None:
    events = [
        {"cat": "Session", "name": "model_run", "args": {}},
        _ran("c1_kernel_time", "Conv", CUDA),
        _ran("c1_kernel_time", "Conv", CUDA),
        _ran("mark_x_kernel_time", "ReduceMin", CUDA),
        _ran("s_kernel_time", "Shape", CPU),
    ]
    (tmp_path / "trace.json").write_text(json.dumps(events))
    placed = read_placements(tmp_path / "trace.json", "mark_")
    assert placed == {CUDA: Counter(Conv=1), CPU: Counter(Shape=1)}
    assert fallback_note("cuda", placed) == ("1 of 2 nodes ran on the CPU, not in cuda: Shape 1",)
    assert fallback_note("cuda", {CUDA: Counter(Conv=1)}) == ()
    assert fallback_note("cpu", placed) == ()


def _ran(name: str, op: str, provider: str) -> dict[str, object]:
    return {"cat": "Node", "name": name, "args": {"op_name": op, "provider": provider}}
