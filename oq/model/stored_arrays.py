"""Arrays by name that refinement makes: like the weights that they replace, large ones lie in
files."""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field

import numpy as np
import onnx

from oq.model import stored
from oq.model.stored import Spill, values_of
from oq.numerics.values import Array

Held = Array | onnx.TensorProto
"""Values in memory, or a tensor that says where they lie."""


@dataclass(slots=True)
class StoredArrays(MutableMapping[str, Array]):
    """Arrays in C order by name.  Those from :data:`~oq.model.stored.LEAST_TENSOR` bytes on lie in
    the files of ``spill``, if there is one, and are mapped anew each time they are read: the pages
    of a mapping count as memory of the process as long as it is held."""

    spill: Spill | None = None
    _held: dict[str, Held] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        held = self._held[name]
        return values_of(held) if isinstance(held, onnx.TensorProto) else held

    def __setitem__(self, name: str, values: Array) -> None:
        if self.spill is None or values.nbytes < stored.LEAST_TENSOR:
            self._held[name] = np.ascontiguousarray(values).reshape(values.shape)
        else:
            self._held[name] = self.spill.put(name, values)

    def __delitem__(self, name: str) -> None:
        del self._held[name]

    def __contains__(self, name: object) -> bool:
        return name in self._held

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __or__(self, others: Mapping[str, Array]) -> "StoredArrays":
        """With ``others`` added, or in place of those of their names."""
        made = StoredArrays(self.spill, dict(self._held))
        if isinstance(others, StoredArrays):
            made._held |= others._held
        else:
            made.update(others)
        return made

    def without(self, names: frozenset[str]) -> "StoredArrays":
        """Those that are not called by ``names``."""
        kept = {name: held for name, held in self._held.items() if name not in names}
        return StoredArrays(self.spill, kept)


def held(arrays: Mapping[str, Array]) -> Iterator[tuple[str, Held]]:
    """``arrays`` as they lie: what is in a file is neither read nor written again."""
    yield from (arrays._held if isinstance(arrays, StoredArrays) else arrays).items()
