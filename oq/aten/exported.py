"""``torch.export`` archives: a graph of aten ops with symbols for the sizes that are free."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from oq.aten.kind import Kind, Loaded, quiet
from oq.aten.module import AtenModule
from oq.aten.repack import repack
from oq.aten.sizes import Axes, Place

TOLD = ("nn_module_stack", "torch_fn", "stack_trace", "source_fn_stack", "from_node")
"""What torch keeps of a node's origin: this program's classes and paths."""

ASSERTION = torch.ops.aten._assert_tensor_metadata.default
"""Written in front of every conversion, to say again what type a constant has."""


INPUT, CALL = frozenset({"placeholder"}), frozenset({"call_function"})
"""How torch.fx calls the kinds of its nodes."""


def _write(
    module: AtenModule,
    example: Sequence[Tensor],
    axes: Axes,
    extra: Mapping[str, str],
    path: Path,
) -> Sequence[Place]:
    """The axes that the graph's shapes do not let free are fixed."""
    dims = tuple(dict.fromkeys(free, Dim.AUTO) for free in axes.of_inputs)
    with quiet():
        made = torch.export.export(module, tuple(example), dynamic_shapes=dims, strict=False)
        _clean(made)
        held = io.BytesIO()
        torch.export.save(made, held, extra_files=dict(extra))
    path.write_bytes(repack(held.getvalue()))
    return _fixed(made, axes)


def _clean(made: ExportedProgram) -> None:
    for node in list(made.graph.nodes):
        if node.target is ASSERTION:
            made.graph.erase_node(node)
        for name in TOLD:
            node.meta.pop(name, None)
    made.graph_module.recompile()
    made._example_inputs = None  # the archive would hold the images that it was made with


def _fixed(made: ExportedProgram, axes: Axes) -> Sequence[Place]:
    by_name = {n.name: n for n in made.graph.nodes if n.op in INPUT}
    inputs = [by_name[name] for name in made.graph_signature.user_inputs]
    return [
        (at, axis)
        for at, (node, free) in enumerate(zip(inputs, axes.of_inputs, strict=True))
        for axis in free
        if _is_number(node.meta["val"].shape[axis])
    ]


def _is_number(size: int | torch.SymInt) -> bool:
    """Whether a size is fixed: of a symbol, what torch has found out about it since."""
    return isinstance(size, int) or bool(size.node.expr.is_number)


def _load(path: Path) -> Loaded:
    with quiet():
        loaded = torch.export.load(io.BytesIO(path.read_bytes()))
        called = [n.target for n in loaded.graph.nodes if n.op in CALL]
        kinds = tuple(str(getattr(target, "name", lambda t=target: t)()) for target in called)
        return Loaded(loaded.module(), dict(loaded.state_dict), kinds)


KIND = Kind("pt2", _write, _load, 'torch.export.load("{output}").module()')
