"""The graph as a module that torch can write down: flat names, inputs by name, shapes known."""

import keyword
import re
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace
from inspect import Parameter, Signature
from typing import Any

from torch import Tensor

from oq.aten.rows import ROWS
from oq.model.view import GraphView
from oq.numerics.values import Array
from oq.training.module import OnnxModule
from oq.training.program import Program, Role, Step, compile_view
from oq.training.row import Value


class AtenModule(OnnxModule):
    """A graph whose constants are buffers of the module itself, for one file.

    A shape or a bound that is computed from values would be written down as what it was in one
    run: it is refused.
    """

    def __init__(self, view: GraphView, program: Program) -> None:
        super().__init__(view, program)
        self._view = view

    def paths(self, held: Sequence[str], taken: Set[str]) -> dict[str, str]:
        """Initializer -> name of its buffer."""
        return dict(zip(held, identifiers(held, taken), strict=True))

    def read_host(self, step: Step, slot: int, value: Value) -> Array:
        """A shape or a bound: a constant, or one that follows from shapes.

        Raises:
            ModelError: it is computed from values.
        """
        if not isinstance(value, Tensor):
            return value
        if self._view.is_constant(step.inputs[slot]):
            return self._view.constants[step.inputs[slot]]
        raise step.node.refuse("a shape or a bound that is computed from values")


def aten_module(view: GraphView) -> AtenModule:
    """The module of ``view``; its ``forward`` takes the graph's inputs by their names.

    Raises:
        ModelError: an operator has no form in torch here.
    """
    program = compile_view(view, ROWS)
    roles: dict[str, Role] = {
        t: "buffer" if role == "parameter" else role for t, role in program.roles.items()
    }
    names = identifiers([i.name for i in program.inputs], set())
    made = type("Quantized", (AtenModule,), {"forward": _forward(names)})
    module: AtenModule = made(view, replace(program, roles=roles))
    return module.eval()


def _forward(names: Sequence[str]) -> Callable[..., Any]:
    """A ``forward`` whose parameters are called ``names``: torch calls the inputs so."""

    def forward(self: AtenModule, *args: Tensor) -> Any:
        return OnnxModule.forward(self, *args)

    takes = [Parameter(n, Parameter.POSITIONAL_OR_KEYWORD) for n in ("self", *names)]
    forward.__signature__ = Signature(takes)  # type: ignore[attr-defined]
    return forward


def identifiers(names: Iterable[str], taken: Set[str]) -> list[str]:
    """``names`` as different names that Python can say, none of them ``taken``.

    >>> identifiers(["x/w:0", "x.w.0", "self", "1"], set())
    ['x_w_0', 'x_w_0_', 'self_', '_1']
    """
    found: list[str] = []
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        plain = plain if not plain[:1].isdigit() and plain else f"_{plain}"
        while keyword.iskeyword(plain) or plain in {"self", *taken, *found}:
            plain += "_"
        found.append(plain)
    return found
