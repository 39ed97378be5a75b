"""``Einsum`` of two tensors with one product in it -> MatMul between Transposes and Reshapes.

    Einsum("bsi,io->bso", x, W) = MatMul(x, W)
    Einsum("bhqd,bhkd->bhqk", q, k) = MatMul(q, k')

The letters of an equation are of four kinds: in both tensors and the result (batch), in both and
not in the result (summed), in one of them and the result (rows, columns).  The operands are
transposed to (batch, rows, summed) and (batch, summed, columns); of several row letters, all but
the last come in front of the batch, which MatMul broadcasts (a mixture of experts).  Several summed
or several column letters are flattened, which needs their sizes: those of a constant operand.  No
target has a kernel for Einsum; exporters of JAX and of attention layers write their linear layers
so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oq.model.graph import Graph
from oq.model.view import GraphView, NodeView
from oq.numerics.values import TensorInfo
from oq.prepare.outcome import Outcome, finish


@dataclass(frozen=True, slots=True)
class Equation:
    """The letters of both operands and of the result, and of each kind, in the order of the result
    or of the first operand."""

    left: str
    right: str
    result: str
    batch: str
    rows: str
    summed: str
    columns: str


def einsum_to_matmul(graph: Graph) -> Outcome:
    """Rewrite every such Einsum of float32 tensors."""
    view, changed, refusals = graph.view(), 0, []
    for node in view.nodes:
        if node.op != "Einsum":
            continue
        inputs = node.inputs
        text = str(node.attributes["equation"])
        if len(inputs) == 2 and view.is_constant(inputs[0]) and not view.is_constant(inputs[1]):
            inputs, text = inputs[::-1], _swapped(text)
        orders = [(inputs, _spelled(text, view.rank(inputs[0])))]
        if len(inputs) == 2 and not view.is_constant(inputs[1]):
            orders.append((inputs[::-1], _swapped(orders[0][1])))
        for operands, equation in orders:
            found = _read(equation)
            if found is not None and _fits(view, operands, found):
                _rewrite(graph, view, replace(node, inputs=operands), found)
                changed += 1
                break
        else:
            refusals.append(f"Einsum {node.name!r} is kept: it is not one product of matrices")
    return finish(graph, changed, refusals)


def _swapped(equation: str) -> str:
    operands, arrow, result = equation.partition("->")
    left, comma, right = operands.partition(",")
    return f"{right}{comma}{left}{arrow}{result}"


def _spelled(equation: str, rank: int | None) -> str:
    """``equation`` with letters for the dots in its first operand, which has ``rank`` axes."""
    left = equation.partition(",")[0].replace(" ", "")
    count = (rank or 0) - len(left.replace("...", ""))
    free = [c for c in "ABCDEFGH" if c not in equation]
    if left.count("...") != 1 or equation.count("...") != 2 or not 0 <= count <= len(free):
        return equation
    return equation.replace("...", "".join(free[:count]))


def _read(equation: str) -> Equation | None:
    """The kinds of letters; None if an operand has one twice, or sums one up alone."""
    operands, arrow, result = equation.replace(" ", "").partition("->")
    left, comma, right = operands.partition(",")
    if not arrow or not comma or not (left.isalpha() and right.isalpha()):
        return None
    if any(len(set(t)) != len(t) for t in (left, right, result)):
        return None
    both = [c for c in left if c in right]
    if set(result) != {c for c in left + right if c not in both or c in result}:
        return None
    return Equation(
        *(left, right, result),
        batch="".join(c for c in result if c in both),
        rows="".join(c for c in result if c in left and c not in both),
        summed="".join(c for c in both if c not in result),
        columns="".join(c for c in result if c in right and c not in both),
    )


def _fits(view: GraphView, inputs: tuple[str, ...], found: Equation) -> bool:
    """Whether types, and sizes as far as they are needed, are known."""
    if any(t not in view.tensors or view.tensors[t].dtype != "float32" for t in inputs):
        return False
    if [view.rank(t) for t in inputs] != [len(found.left), len(found.right)]:
        return False
    if not found.batch and found.rows and found.summed and view.is_constant(inputs[1]):
        return True
    # a batch of matrices, as MatMul has them
    return len(found.summed) == len(found.columns) == 1 and bool(found.rows)


def _rewrite(graph: Graph, view: GraphView, node: NodeView, found: Equation) -> None:
    left, right = node.inputs
    rows, columns = found.rows[:-1] + found.batch + found.rows[-1:], found.columns
    size = dict(zip(found.left, view.shape(left) or (), strict=True))
    size |= zip(found.right, view.shape(right) or (), strict=True)
    work = _Work(graph, node, size)
    first = work.turned(left, found.left, rows + found.summed)
    flat = len(found.summed) > 1 or len(columns) != 1
    wanted = found.batch + found.summed + columns
    if view.is_constant(right):
        values = view.constants[right].transpose([found.right.index(c) for c in wanted])
        inner = int(np.prod(values.shape[: len(found.summed)])) if flat else 0
        values = values.reshape(inner, -1) if flat else values
        second = graph.add_constant(f"{right}_matrix", np.ascontiguousarray(values))
        if len(found.summed) > 1:
            first = work.shaped(first, [*[0] * len(rows), inner])
    else:
        second = work.turned(right, found.right, wanted)
    made = work.add("MatMul", (first, second), rows + columns if len(columns) == 1 else None)
    if len(columns) != 1:
        sizes = [int(str(size[c])) for c in columns]
        made = work.shaped(made, [*[0] * len(rows), *sizes], rows + columns)
    made = work.turned(made, rows + columns, found.result)
    out = node.outputs[0]
    graph.split_output(out, f"{out}_before")
    graph.give_output(out, made)


@dataclass(frozen=True, slots=True)
class _Work:
    """Adds nodes in front of the Einsum; ``size`` maps a letter to the length of its axis."""

    graph: Graph
    node: NodeView
    size: Mapping[str, int | str | None]

    def turned(self, tensor: str, have: str, wanted: str) -> str:
        if have == wanted:
            return tensor
        perm = [have.index(c) for c in wanted]
        return self.add("Transpose", (tensor,), wanted, perm=perm)

    def shaped(self, tensor: str, shape: Sequence[int], letters: str | None = None) -> str:
        sizes = self.graph.add_constant(f"{tensor}_shape", np.asarray(shape, np.int64))
        return self.add("Reshape", (tensor, sizes), letters)

    def add(self, op: str, inputs: tuple[str, ...], letters: str | None, **given: object) -> str:
        """A node ``op`` whose result has the axes ``letters``, if they are known."""
        made = self.graph.add_node(
            *(op, inputs, f"{self.node.outputs[0]}_{op}"),
            name=f"{self.node.name}_{op}",
            attributes=given,
            dtype="float32",
            before=self.node.name,
        )
        if letters is not None:
            shape = tuple(self.size[c] for c in letters)
            self.graph.set_types({made: TensorInfo(made, "float32", shape)})
        return made
