"""``MODULE:FACTORY`` or ``FILE.py:FACTORY`` to a torch module and the example inputs for tracing.

Example inputs are taken from the first of these that has them: the return value of the factory, the
factory's Python module, the torch module.
"""

import contextlib
import importlib
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oq.errors import OptionError
from oq.imports import current_folder_importable, import_file

if TYPE_CHECKING:
    from torch import Tensor, nn

EXAMPLE_NAMES = ("example_inputs", "example_input")
_FEEDABLE = frozenset(
    f"torch.{kind}"
    for kind in (
        *("float16", "float32", "float64", "bool"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    )
)


@dataclass(frozen=True, slots=True)
class Source:
    """A torch module and example inputs, with a common batch size on axis 0."""

    name: str
    module: "nn.Module"
    args: "tuple[Tensor, ...]"
    kwargs: "Mapping[str, Tensor]"


def build(factory: str | Callable[[], object], seed: int) -> Source:
    """Call ``factory`` (``"MODULE:FACTORY"``, ``"FILE.py:FACTORY"`` or the callable itself) and
    collect example inputs.

    The current folder is on the import path meanwhile.  ``seed`` seeds torch for the call, after
    which its random state is restored.  Output of the user's code is redirected to standard error.

    Raises:
        OptionError: nothing to import, no such factory, it fails or returns no ``nn.Module``,
            or there are no usable example inputs.
    """
    import torch

    with current_folder_importable(), contextlib.redirect_stdout(sys.stderr):
        name, function = resolve(factory)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                made = function()
            except Exception as error:
                raise OptionError(f"calling {name}() failed: {describe(error)}") from error
        module, given = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        if not isinstance(module, torch.nn.Module):
            raise OptionError(
                f"{name} returned {type(module).__name__}; it must return a torch.nn.Module, "
                "or (module, example_inputs)"
            )
        examples = given if given is not None else _find_examples(name, function, module)
    args, kwargs = _as_arguments(name, examples)
    return Source(name, module, args, kwargs)


def resolve(factory: str | Callable[[], object]) -> tuple[str, Callable[[], object]]:
    """The name and the callable of ``factory``.

    Raises:
        OptionError: of neither form, or the module, the file or the name is not there.
    """
    if not isinstance(factory, str):
        return getattr(factory, "__qualname__", repr(factory)), factory
    path, _, attribute = factory.rpartition(":")
    is_file = path.endswith(".py")
    if not path or not attribute or (path.startswith(".") and not is_file):
        raise OptionError(
            f"{factory!r} names no factory; give MODULE:FACTORY, as in models.net:make, or "
            "FILE.py:FACTORY"
        )
    try:
        module = import_file(Path(path), path) if is_file else importlib.import_module(path)
    except Exception as error:
        where = (
            "" if is_file else "; MODULE must be importable from the current folder or installed"
        )
        raise OptionError(
            f"importing {path} for {factory!r} failed: {describe(error)}{where}"
        ) from error
    if module is None:
        raise OptionError(f"{factory!r}: there is no file {path!r}")
    function = getattr(module, attribute, None)
    if not callable(function):
        own = (key for key, value in vars(module).items() if callable(value) and key[0] != "_")
        raise OptionError(
            f"{path} has no callable {attribute!r}; it has {', '.join(sorted(own)) or 'none'}"
        )
    return factory, function


def describe(error: BaseException) -> str:
    """``error`` in one line: its type, the first line of its message, and the line of code that
    raised it."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    # The import machinery's own frames would point away from the user's file.
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename
    ]
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {said}{where}"


def _find_examples(name: str, function: Callable[[], object], module: "nn.Module") -> object:
    """What ``example_inputs`` or ``example_input`` gives, beside the factory or on the module."""
    beside = sys.modules.get(name.rpartition(":")[0]) or sys.modules.get(function.__module__)
    for owner in (beside, module):
        for attribute in EXAMPLE_NAMES:
            found = getattr(owner, attribute, None)
            if found is None:
                continue
            try:
                return found() if callable(found) else found
            except Exception as error:
                raise OptionError(
                    f"calling {attribute}() for {name} failed: {describe(error)}"
                ) from error
    raise OptionError(
        f"no example inputs for {name}: let the factory return (module, example_inputs), define "
        "example_inputs() beside it, or give the module an example_inputs attribute or method; "
        "a tensor, a tuple of tensors or a dict by argument name, each with the batch first"
    )


def _as_arguments(name: str, examples: object) -> "tuple[tuple[Tensor, ...], dict[str, Tensor]]":
    """``examples`` as positional and keyword arguments, each checked to be a batch of one size."""
    import torch

    if isinstance(examples, torch.Tensor):
        examples = (examples,)
    if isinstance(examples, Mapping):
        named = [(str(key), value) for key, value in examples.items()]
    elif isinstance(examples, Sequence) and not isinstance(examples, str):
        named = [(str(index), value) for index, value in enumerate(examples)]
    else:
        raise OptionError(
            f"the example inputs of {name} are a {type(examples).__name__}; accepted are a tensor, "
            "a tuple of tensors or a dict of tensors by argument name"
        )
    if not named:
        raise OptionError(f"the example inputs of {name} are empty; give at least one tensor")
    for key, value in named:
        if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) == 0:
            found = f"shape {list(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
            raise OptionError(
                f"example input {key} of {name} is {found[:80]}; every example input must be a "
                "tensor with the batch as its first axis"
            )
        if str(value.dtype) not in _FEEDABLE:
            raise OptionError(
                f"example input {key} of {name} is {value.dtype}, which NumPy cannot hold; "
                "accepted are float16, float32, float64, bool and integers"
            )
    sizes = {key: len(value) for key, value in named}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{key}: {size}" for key, size in sizes.items())
        raise OptionError(
            f"the example inputs of {name} differ in their first axis ({listed}); "
            "every input must have the batch as its first axis"
        )
    if isinstance(examples, Mapping):
        return (), dict(named)
    return tuple(value for _, value in named), {}
