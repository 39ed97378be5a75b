"""Which array of the data feeds which input.

An array feeds the input of its own name.  Others are named by the user (``--rename``); and where
the data hold one array and the model takes one input, there is nothing to choose.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from oq.data.sources.layout import LABELS, lone_array, required
from oq.errors import DataError, OptionError
from oq.numerics.values import Batch, TensorInfo


@dataclass(frozen=True, slots=True)
class Names:
    """``arrays``: input, or ``labels`` -> the array that is for it, where the names differ.
    ``note``: what the user should know of them, or ""."""

    arrays: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def called(self, inputs: Iterable[TensorInfo]) -> tuple[TensorInfo, ...]:
        """``inputs`` under the names that the data have for them."""
        return tuple(replace(i, name=self.arrays.get(i.name, i.name)) for i in inputs)

    def with_lone(self, fed: Iterable[str], inputs: Sequence[TensorInfo]) -> "Names":
        """The names for data that hold the arrays ``fed``: a single one is for a single input."""
        taken = self.arrays.get(LABELS)
        lone = lone_array([name for name in fed if name != taken], self.called(inputs))
        wanted = "" if lone is None else required(inputs)[0].name
        if lone is None or wanted in self.arrays:
            return self
        note = f"the only array of the data, {lone!r}, is taken for the only input, {wanted!r}"
        return Names({**self.arrays, wanted: lone}, note)

    def apply(self, batch: Batch, inputs: Sequence[TensorInfo], name: str) -> Batch:
        """``batch`` of the data ``name`` with the model's names for its feeds.

        Raises:
            DataError: an array that is named is not there, or one has the name that it gets.
        """
        if not self.arrays:
            return batch
        found = ", ".join(map(repr, batch.feeds)) or "nothing"
        for info in required(inputs):
            array = self.arrays.get(info.name)
            if array is not None and array not in batch.feeds:
                raise DataError(
                    f"{name}: has {found}; expected {array!r} too, which --rename"
                    f" {info.name}={array} names"
                )
        inputs_of = {array: wanted for wanted, array in self.arrays.items()}
        doubled = [k for k in batch.feeds if k in self.arrays and k not in inputs_of]
        doubled += [LABELS] if batch.labels is not None and LABELS in self.arrays else []
        for wanted in doubled:
            if self.arrays[wanted] in batch.feeds:
                raise DataError(
                    f"{name}: has {wanted!r} and {self.arrays[wanted]!r}, which --rename makes"
                    f" {wanted!r} too; expected one of them"
                )
        feeds = {inputs_of.get(key, key): array for key, array in batch.feeds.items()}
        labels = feeds.pop(LABELS, None) if LABELS in self.arrays else None
        alike = frozenset(inputs_of.get(key, key) for key in batch.alike)
        return Batch(feeds, batch.labels if labels is None else labels, alike - {LABELS})


def read_names(rename: Mapping[str, str] | None, inputs: Sequence[TensorInfo]) -> Names:
    """What the user says of names, checked against the model's inputs.

    Raises:
        OptionError: there is no such input, or an array is for two.
    """
    given, known = dict(rename or {}), [info.name for info in inputs]
    for wanted, array in given.items():
        if wanted not in known and wanted != LABELS:
            close = difflib.get_close_matches(wanted, known, n=1)
            turned = f"; turned round it is --rename {array}={wanted}" if array in known else ""
            hint = f"; is it {close[0]!r}?" if close and not turned else turned
            raise OptionError(
                f"--rename {wanted}={array}: the model has no input {wanted!r}; accepted are"
                f" {', '.join(map(repr, known))} and {LABELS!r}, in front of the array's name{hint}"
            )
    arrays = list(given.values())
    for array in arrays:
        if arrays.count(array) > 1:
            both = " and ".join(repr(wanted) for wanted, name in given.items() if name == array)
            raise OptionError(f"--rename: the array {array!r} is for {both}; expected one of them")
    return Names({wanted: array for wanted, array in given.items() if wanted != array})
