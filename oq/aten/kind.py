"""What differs between the two formats, and how torch is kept from talking."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from oq.aten.module import AtenModule
from oq.aten.sizes import Axes, Place


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file as torch loads it: what is ``called``, its ``tensors`` by name, the names of its
    ``ops``."""

    called: Callable[..., Any]
    tensors: Mapping[str, Tensor]
    ops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """A format.  ``write`` gets the module, what it is made on, its free axes, extra files by name
    and the path, and says which free axes it had to fix."""

    name: str
    write: Callable[[AtenModule, Sequence[Tensor], Axes, Mapping[str, str], Path], Sequence[Place]]
    load: Callable[[Path], Loaded]
    next_step: str


@contextmanager
def quiet() -> Iterator[None]:
    """Without gradients, and without torch's warnings: that TorchScript is deprecated, and where a
    trace took a size that is fixed for one."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield
