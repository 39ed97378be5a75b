"""An ONNX graph as a torch module: the graph's nodes are run in order, by the rows of the table."""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import torch
from torch import Tensor, nn

from oq.errors import DataError
from oq.model.view import GraphView
from oq.numerics.values import Array
from oq.training.names import parameter_names
from oq.training.ops_quantize import LIMITS, as_codes
from oq.training.program import Program, Step
from oq.training.row import Value, to_host, to_tensor

TAKEN = frozenset(dir(nn.Module()))
"""Names that a module has already."""


FIELDS = frozenset({"program", "names", "rounds", "observes"})
"""Names of its own fields."""


class OnnxModule(nn.Module):
    """A graph: ``module(x)`` or ``module(name=x)`` with the graph's inputs, in its order.

    ``names`` maps an initializer to the path of its parameter or buffer, as ``state_dict`` has it.
    The statistics of BatchNormalization are buffers that nothing changes, and Dropout passes values
    on: ``train()`` and ``eval()`` compute the same, that of the file.
    """

    names: Mapping[str, str]

    def __init__(self, view: GraphView, program: Program) -> None:
        super().__init__()
        self.program = program
        held = [t for t, role in program.roles.items() if role != "host"]
        self.names = self.paths(held, TAKEN | FIELDS | set(dir(type(self))))
        self._host: dict[str, Array] = {
            t: view.constants[t] for t, role in program.roles.items() if role == "host"
        }
        self._places: dict[str, tuple[nn.Module, str]] = {}
        for tensor, path in self.names.items():
            owner, leaf = self._owner(path)
            values = to_tensor(view.constants[tensor])
            if program.roles[tensor] == "parameter":
                owner.register_parameter(leaf, nn.Parameter(values))
            else:
                owner.register_buffer(leaf, values)
            self._places[tensor] = (owner, leaf)

    def paths(self, held: Sequence[str], taken: Set[str]) -> dict[str, str]:
        """Initializer -> path of its parameter or buffer."""
        return parameter_names(held, taken)

    def read_host(self, step: Step, slot: int, value: Value) -> Array:
        """What ``value``, a shape or a bound at ``slot`` of ``step``, holds now."""
        return to_host(value)

    def _owner(self, path: str) -> tuple[nn.Module, str]:
        """The module that holds the parameter at ``path``, made where it is missing, and the
        parameter's name in it."""
        owner: nn.Module = self
        *folders, leaf = path.split(".")
        for folder in folders:
            if folder not in owner._modules:
                owner.add_module(folder, nn.Module())
            owner = owner.get_submodule(folder)
        return owner, leaf

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return torch.device("cpu")

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:
        """The graph's outputs: one tensor, or a tuple of them in its order.

        Raises:
            DataError: an input is missing, or one that the graph does not have is given.
        """
        feeds = self._feeds(args, kwargs)
        wanted = [o.name for o in self.program.outputs]
        found = self.evaluate(feeds, wanted)
        outputs = tuple(
            _declared(found[o.name], o.dtype, self.device) for o in self.program.outputs
        )
        return outputs[0] if len(outputs) == 1 else outputs

    def evaluate(
        self,
        feeds: Mapping[str, Tensor],
        wanted: Iterable[str],
        given: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Any]:
        """The tensors ``wanted``, of any node; those ``given`` take the place of what nodes compute
        (a quantizer fed with codes of another runtime, for instance)."""
        values: dict[str, Any] = {**self._host, **feeds}
        asked, put, device = set(wanted), given or {}, self.device
        found: dict[str, Any] = {}
        for step in self.program.steps:
            made = self._run(step, values, device)
            for name, value in zip(step.outputs, made, strict=False):
                if name in asked:
                    found[name] = value
                values[name] = put.get(name, value)
            for name in step.done:
                values.pop(name, None)
        return found | {n: self._value(n, values) for n in asked - found.keys()}

    def _run(self, step: Step, values: dict[str, Any], device: torch.device) -> tuple[Value, ...]:
        row = step.row
        read = [self._value(name, values) if name else None for name in step.inputs]
        if row.on_host is not None and not any(isinstance(v, Tensor) for v in read):
            made = row.on_host(step.node, *read)
        else:
            fitting = [self._fit(step, slot, v, device) for slot, v in enumerate(read)]
            made = row.run(step.node, *fitting)
        return made if isinstance(made, tuple) else (made,)

    def _fit(self, step: Step, slot: int, value: Value | None, device: torch.device) -> Any:
        if value is None:
            return None
        if slot in step.row.host:
            return self.read_host(step, slot, value)
        return to_tensor(value, device)

    def _value(self, name: str, values: Mapping[str, Any]) -> Value:
        if name in values:
            value: Value = values[name]
            return value
        owner, leaf = self._places[name]
        held: Tensor = getattr(owner, leaf)
        return held

    def _feeds(self, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = [i.name for i in self.program.inputs]
        feeds = {**dict(zip(names, args, strict=False)), **kwargs}
        if len(args) > len(names) or set(feeds) != set(names):
            raise DataError(
                f"the module takes {', '.join(map(repr, names))}; it was given "
                f"{len(args)} in order and {', '.join(map(repr, kwargs)) or 'none'} by name"
            )
        return feeds


def _declared(value: Value, dtype: str | None, device: torch.device) -> Tensor:
    """An output as the file declares it: codes as integers."""
    tensor = to_tensor(value, device)
    if dtype is not None and dtype in LIMITS and tensor.is_floating_point():
        return as_codes(tensor, dtype)
    return tensor
