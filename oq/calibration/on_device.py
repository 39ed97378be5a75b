"""A batch on a provider that has memory of its own: what is folded there, and what is copied.

All tensors stay on the device until their statistics are taken, and are copied one at a time, so
that the host holds one of them.  Where only the extremes of a tensor are asked for, the device
reduces it, and three numbers are copied in its place:

    lo = ReduceMin(x),  hi = ReduceMax(x),  sum = ReduceSum(x)

The sum is finite only if no value is NaN, which extremes may hide.  A tensor with values that are
not usable (:mod:`oq.numerics.statistics`) is copied and counted on the host, so that statistics are
those of any other provider that computes the same values.
"""

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from oq.errors import DataError
from oq.model.proto_fields import inputs_of, read_type
from oq.model.providers import device_of, fallback_note, read_placements
from oq.model.session import Session, Settings, expose
from oq.numerics.statistics import MASK, Accumulator, Need
from oq.numerics.values import Batch

BATCH = 64
"""Samples at a time that a device is given, as far as ``--max-memory`` allows: it is idle between
batches, and its caches are not what limits it."""

FULL = ("out of memory", "failed to allocate memory", "smaller than requested bytes", "bad_alloc")
"""What providers say where the memory of the device does not suffice."""

MARK = "oq_ends_"
"""The names of what is added to a model begin so."""

REDUCTIONS: Mapping[str, str] = {"lo": "ReduceMin", "hi": "ReduceMax", "sum": "ReduceSum"}

Tell = Callable[[str], None]
"""Called with a remark for the report."""


class DeviceRunner:
    """``model``, whose tensors get the statistics ``needs``, loaded by the provider of
    ``settings``."""

    def __init__(
        self,
        model: onnx.ModelProto,
        needs: Mapping[str, frozenset[Need]],
        settings: Settings,
        tell: Tell,
    ) -> None:
        fed = {i.name for i in model.graph.input}
        self._fed = tuple(t for t in needs if t in fed)
        self._computed = tuple(t for t in needs if t not in fed)
        light = {t for t in self._computed if Need.HISTOGRAM not in needs[t]}
        self._reduced = tuple(t for t in _reducible(model) if t in light)
        self._settings, self._tell, self._halved = settings, tell, False
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._session: Session | None = None
        if self._computed:
            self._folder = tempfile.TemporaryDirectory(prefix="oq-")
            exposed = _with_ends(expose(model, self._computed), self._reduced)
            trace = Path(self._folder.name) / "profile"
            self._session = Session(exposed, settings, trace=trace)

    def fold(self, found: Mapping[str, Accumulator], first: int, batch: Batch) -> None:
        """Add the values of ``batch``, which starts at sample ``first``, to those ``found``.

        Raises:
            DataError: the model fails on it, or the device has too little memory for half of it.
        """
        try:
            for start, part in self._parts(batch):
                self._fold(found, first + start, part)
        except DataError as error:
            if not ran_out(error):
                raise
            if self._halved or not batch.divisible or batch.samples < 2:
                raise DataError(
                    f"the device has too little memory for {batch.samples} samples at a time: give "
                    f"a smaller --batch-size, or a --max-memory that it has ({error})"
                ) from error
            self._halved = True
            half = -(-batch.samples // 2)
            self._tell(
                f"the device had too little memory for batches of {batch.samples}: calibrated in "
                f"batches of {half} (--max-memory, --batch-size)"
            )
            self.fold(found, first, batch)

    def _parts(self, batch: Batch) -> Iterator[tuple[int, Batch]]:
        """``batch``, or its halves where a whole one did not fit, each with where it starts."""
        half = -(-batch.samples // 2)
        if not self._halved or not batch.divisible or half == batch.samples:
            yield 0, batch
            return
        yield 0, batch.part(0, half)
        yield half, batch.part(half, batch.samples)

    def _fold(self, found: Mapping[str, Accumulator], first: int, batch: Batch) -> None:
        values = self._run(batch)  # all of it, before anything is counted
        for tensor in self._fed:
            if tensor in batch.feeds:
                found[tensor].add(batch.feeds[tensor], first)
        for tensor in self._reduced:
            lo, hi, total = (float(values[_ends(tensor, end)].numpy()) for end in REDUCTIONS)
            if lo > -MASK and hi < MASK and math.isfinite(total):
                count = math.prod(values.pop(tensor).shape())
                found[tensor].add_ends(count, lo, hi, first)
        for tensor in self._computed:
            if tensor in values:
                found[tensor].add(values.pop(tensor).numpy(), first)

    def _run(self, batch: Batch) -> dict[str, Any]:
        """The tensors for ``batch``, on the device; after the first run it is told which nodes the
        CPU took."""
        if self._session is None:
            return {}
        ends = [_ends(t, end) for t in self._reduced for end in REDUCTIONS]
        device = device_of(self._settings.provider)
        values = self._session.run_on(device, batch.feeds, [*self._computed, *ends])
        if self._folder is not None:
            placed = read_placements(self._session.end_trace(), MARK)
            for note in fallback_note(self._settings.provider, placed):
                self._tell(note)
            self._folder.cleanup()
            self._folder = None
        return values


def ran_out(error: DataError) -> bool:
    """Whether a run failed because the device has too little memory."""
    said = str(error).lower()
    return any(words in said for words in FULL)


def _ends(tensor: str, end: str) -> str:
    return f"{MARK}{end}_{tensor}"


def _reducible(model: onnx.ModelProto) -> Iterator[str]:
    """The float32 tensors of ``model`` that cannot be empty, by the shapes it declares: there are
    no extremes of nothing, which onnxruntime refuses to compute."""
    samples = {i.shape[0] for i in inputs_of(model) if i.shape}
    for value in (*model.graph.value_info, *model.graph.output):
        shape = read_type(value).shape
        if shape is None or value.type.tensor_type.elem_type != TensorProto.FLOAT:
            continue
        if all((isinstance(a, int) and a > 0) or a in samples for a in shape):
            yield value.name


def _with_ends(model: onnx.ModelProto, tensors: tuple[str, ...]) -> onnx.ModelProto:
    """``model``, changed, with the reductions of ``tensors`` as further outputs."""
    for tensor in tensors:
        for end, op in REDUCTIONS.items():
            name = _ends(tensor, end)
            model.graph.node.append(helper.make_node(op, [tensor], [name], name, keepdims=0))
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, []))
    return model
