"""Complete feeds: test data sets, iterables, readers, loaders, callables, and every message."""

import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oq.data.source import fingerprint, open_source
from oq.errors import DataError
from oq.numerics.values import Array, TensorInfo
from tests.data.samples import LABELS, XS, YS, X, Y, concat


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 25), max_size=3),
)
def test_neighbouring_slices_of_items_share_and_lose_nothing(
    sizes: list[int], cuts: list[int]
) -> None:
    ends = np.cumsum([0, *sizes])
    whole = np.arange(ends[-1] * 2, dtype=np.float32).reshape(-1, 2)
    items = [{"x": whole[a:b]} for a, b in pairwise(ends)]
    source = open_source(items, [X])
    assert source.count == len(whole)
    edges: list[int] = [0, *sorted(cuts)]
    stops: list[int | None] = [*edges[1:], None]
    parts = [list(source.batches(5, start, stop)) for start, stop in zip(edges, stops, strict=True)]
    found = [batch for part in parts for batch in part]
    assert np.array_equal(concat(found), whole)
    assert [len(batch.feeds["x"]) for batch in found] == sizes
    assert np.array_equal(concat(list(open_source(lambda: items, [X]).batches(1))), whole)


# ---- ONNX test data sets


def write_tensor(path: Path, array: Array, name: str = "") -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(onnx.numpy_helper.from_array(array, name).SerializeToString())


def test_test_data_sets(tmp_path: Path) -> None:
    for number in range(11):
        folder = tmp_path / f"test_data_set_{number}"
        # By name where the tensor has the name of an input, else by number.
        swapped = number % 2
        x, y = XS[number : number + 1], YS[number : number + 1]
        write_tensor(folder / f"input_{swapped}.pb", x, "x" if swapped else "other")
        write_tensor(folder / f"input_{1 - swapped}.pb", y, "y" if swapped else "")
        write_tensor(folder / "output_0.pb", x)
    source = open_source(tmp_path, [X, Y])
    assert source.count == 11
    batches = list(source.batches(4))
    assert np.array_equal(concat(batches), XS[:11])
    assert np.array_equal(concat(batches, "y"), YS[:11])
    single = open_source(tmp_path / "test_data_set_3", [X, Y])
    assert np.array_equal(concat(list(single.batches(4))), XS[3:4])
    assert fingerprint(source) != fingerprint(single)


def test_test_data_set_messages(tmp_path: Path) -> None:
    folder = tmp_path / "test_data_set_0"
    folder.mkdir()
    with pytest.raises(
        DataError, match=r"test_data_set_0: has no input_0.pb; expected input_<i>.pb"
    ):
        open_source(tmp_path, [X])
    (folder / "input_0.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(DataError, match=r"input_0.pb is not an ONNX TensorProto"):
        open_source(tmp_path, [X])
    write_tensor(folder / "input_0.pb", XS)
    write_tensor(folder / "input_1.pb", XS)
    with pytest.raises(DataError, match=r"input_1.pb has no model input; the model has 1: x"):
        open_source(tmp_path, [X])
    write_tensor(folder / "input_1.pb", XS, "x")
    with pytest.raises(DataError, match=r"input_1.pb is a second tensor for input 'x'"):
        open_source(tmp_path, [X])


# ---- Python objects


class Reader:
    """A calibration reader as onnxruntime defines it."""

    def __init__(self) -> None:
        self.items = iter([{"x": XS[:4]}, {"x": XS[4:]}])

    def get_next(self) -> dict[str, Array] | None:
        return next(self.items, None)


class Rewinding(Reader):
    def rewind(self) -> None:
        self.__init__()  # type: ignore[misc]


def generate() -> Iterator[dict[str, Array]]:
    yield {"x": XS[:4]}
    yield {"x": XS[4:]}


def give_number() -> int:
    return 3


def give_nothing() -> list[Any]:
    return []


def raise_lines() -> list[Any]:
    raise ValueError("one\n  two")


def raise_error() -> list[Any]:
    raise KeyError("no such file")


def test_readers() -> None:
    source = open_source(Rewinding(), [X])
    for _ in range(2):
        assert np.array_equal(concat(list(source.batches(1))), XS)
    assert source.notes == ()
    source = open_source(Reader(), [X])
    next(source.batches(1))
    for _ in range(2):
        assert np.array_equal(concat(list(source.batches(1))), XS)
    assert "Reader has no rewind(): its feeds were kept" in " ".join(source.notes)


def test_generators_are_read_once() -> None:
    source = open_source(generate(), [X])
    assert source.count is None
    assert np.array_equal(concat(list(source.batches(1))), XS)
    with pytest.raises(DataError, match=r"generator: can be read only once and is needed again"):
        list(source.batches(1))
    replayed = open_source(generate, [X])
    for _ in range(2):
        assert np.array_equal(concat(list(replayed.batches(1))), XS)


def test_callables_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "calib_module.py").write_text(
        "import numpy as np\nVALUE = 3\ndef give():\n"
        "    yield {'x': np.ones((2, 2), np.float32)}\n"
        "class Inner:\n    give = staticmethod(give)\n"
    )
    (tmp_path / "broken_module.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("calib_module:give", "calib_module:Inner.give"):
        source = open_source(name, [X])
        assert source.name == name
        for _ in range(2):
            assert concat(list(source.batches(1))).shape == (2, 2)
    for reference, message in {
        "calib_module:gone": r"calib_module:gone: calib_module has no 'gone'",
        "calib_module:VALUE": r"calib_module:VALUE: is a int; expected a function",
        "gone_module:give": r"importing gone_module raised ModuleNotFoundError",
        "broken_module:give": r"importing broken_module raised ZeroDivisionError",
    }.items():
        with pytest.raises(DataError, match=message):
            open_source(reference, [X])


def test_a_callable_may_lie_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "calib_here.py").write_text(
        "import numpy as np\ndef give():\n    yield {'x': np.ones((2, 2), np.float32)}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in {"", str(tmp_path)}])
    assert concat(list(open_source("calib_here:give", [X]).batches(1))).shape == (2, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (raise_lines, r"raise_lines: raised ValueError: one two$"),
        (give_number, r"give_number: gave int; expected an iterable of dicts"),
        (give_nothing, r"give_nothing: has no samples for the model; expected at least one batch"),
        (raise_error, r"raise_error: raised KeyError: 'no such file'"),
    ],
)
def test_callable_messages(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(open_source(make, [X]).batches(1))


def test_items_of_each_form() -> None:
    forms: list[tuple[Any, bool]] = [
        ({"x": XS, "y": YS}, False),
        ({"x": XS, "y": YS, "labels": LABELS}, True),
        ((XS, YS), False),
        ([XS, YS, LABELS], True),
        (({"x": XS, "y": YS}, LABELS), True),
    ]
    for item, labelled in forms:
        (batch,) = open_source([item], [X, Y]).batches(1)
        assert np.array_equal(batch.feeds["x"], XS)
        assert np.array_equal(batch.feeds["y"], YS)
        assert (batch.labels is not None) == labelled
    (batch,) = open_source([XS], [X]).batches(1)
    assert np.array_equal(batch.feeds["x"], XS)
    labels_input = TensorInfo("labels", "int64", ("n",))
    (batch,) = open_source({"x": XS, "labels": YS}, [X, labels_input]).batches(99)
    assert batch.labels is None


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((XS,), r"list: an item has 1 values; expected 2 for the inputs x, y, and optionally"),
        (XS, r"list: an array without a name; the model has 2 inputs \(x, y\)"),
        ({"x": "text", "y": object()}, r"list: 'y': found object; expected numbers or strings"),
        ({"x": [[1], [1, 2]]}, r"list: 'x': cannot be made an array of numbers"),
        ((XS, YS, LABELS[:3]), r"list: labels have shape \(3,\); expected \(13,\), one per sample"),
    ],
)
def test_item_messages(item: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(open_source([item], [X, Y]).batches(1))


def test_array_messages() -> None:
    with pytest.raises(DataError, match=r"dict: 'x': found list; expected numbers or strings"):
        open_source({"x": [None]}, [X])


def test_torch_loader_and_tensors() -> None:
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(XS), torch.from_numpy(LABELS))
    source = open_source(torch.utils.data.DataLoader(data, batch_size=5), [X])
    for _ in range(2):
        batches = list(source.batches(1))
        assert np.array_equal(concat(batches), XS)
        assert [len(batch.feeds["x"]) for batch in batches] == [5, 5, 3]
        assert batches[0].labels is not None and batches[0].labels.tolist() == LABELS[:5].tolist()
    tensor = torch.from_numpy(XS).requires_grad_()
    assert np.array_equal(concat(list(open_source(tensor, [X]).batches(4))), XS)
    half = torch.zeros((2, 2), dtype=torch.bfloat16)
    with pytest.raises(DataError, match=r"'x': cannot be made an array of numbers"):
        open_source({"x": half}, [X])


def test_onnxruntime_reader() -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    base: Any = quantization.CalibrationDataReader

    class Calibration(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.items = generate()

        def get_next(self) -> Any:
            return next(self.items, None)

    assert np.array_equal(concat(list(open_source(Calibration(), [X]).batches(1))), XS)
