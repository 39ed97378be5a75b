"""The state of a training run beside its file, as safetensors.

The only module that imports safetensors.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oq.errors import DataError, MissingExtra, one_line
from oq.model.files import replacing

OPTIMIZER = "optimizer/"
"""In front of the names of an optimizer's own tensors, which there are as it has made them."""


def write_state(
    path: str | Path, state: Mapping[str, Any], run: str, told: Mapping[str, Any]
) -> None:
    """Write ``state`` (name -> tensor) of the ``run`` to ``path``, and what is ``told`` beside it:
    to a temporary file first, then renamed.

    Raises:
        MissingExtra: safetensors is not installed.
    """
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise MissingExtra("torch", "the state of a training run", "safetensors") from error
    # one entry: the library writes several in any order
    entry = {"oq": json.dumps({"run": run, **told}, sort_keys=True)}
    tensors = {name: state[name].detach().cpu().contiguous() for name in sorted(state)}
    with replacing(Path(path)) as beside:
        save_file(tensors, beside, entry)


def read_state(
    path: str | Path, run: str, wanted: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(name -> tensor, what was told) of a file that :func:`write_state` wrote of the same ``run``,
    with tensors like those ``wanted``.

    Raises:
        DataError: it is no such file, or that of another run.
        MissingExtra: safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingExtra("torch", "the state of a training run", "safetensors") from error
    try:
        with safe_open(str(path), "pt") as file:
            told = json.loads((file.metadata() or {}).get("oq", "{}"))
            names = list(file.keys())
            state = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{path}: no state of a training run: {one_line(error)}") from error
    shapes = {n: tuple(t.shape) for n, t in state.items() if not n.startswith(OPTIMIZER)}
    if told.get("run") != run or shapes != {n: tuple(t.shape) for n, t in wanted.items()}:
        raise DataError(
            f"{path} is the state of another run; accepted is that of the same model, target and "
            "options"
        )
    return state, told
