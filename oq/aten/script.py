"""TorchScript: what torch writes down of one run, as text and tensors."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from oq.aten.kind import Kind, Loaded, quiet
from oq.aten.module import AtenModule
from oq.aten.repack import repack
from oq.aten.sizes import Axes, Place


def _write(
    module: AtenModule,
    example: Sequence[Tensor],
    axes: Axes,
    extra: Mapping[str, str],
    path: Path,
) -> Sequence[Place]:
    """A trace keeps all axes free that the graph's shapes follow."""
    held = io.BytesIO()
    with quiet():
        trace: Any = torch.jit.trace
        traced = trace(module, tuple(example), check_trace=False)
        torch.jit.save(traced, held, _extra_files=dict(extra))
    path.write_bytes(repack(held.getvalue()))
    return ()


def _load(path: Path) -> Loaded:
    with quiet():
        load: Any = torch.jit.load
        loaded = load(str(path))
    kinds = tuple(node.kind() for node in loaded.inlined_graph.nodes())
    return Loaded(loaded, dict(loaded.state_dict()), kinds)


KIND = Kind("torchscript", _write, _load, 'torch.jit.load("{output}")')
