"""Edits an ONNX graph: with surgeon.py and to_proto.py the only module that uses onnx-graphsurgeon.

All other modules use names: of tensors, and of nodes (which are unique).  Methods edit the graph in
place; :meth:`Graph.view` returns a read-only view for decisions.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.logger import G_LOGGER

from oq.errors import ModelError
from oq.model.insertions import Insertions
from oq.model.names import claim_name
from oq.model.proto_fields import oldest_ir, without_graph
from oq.model.stored import holds_stored, spill_of
from oq.model.surgeon import (
    Arrays,
    forget_optionals,
    holds_numbers,
    inner_names,
    is_sorted,
    numpy_dtype,
    pick_out,
    put_values,
    reread,
    slot_of,
    store,
    tensor_info,
    view_node,
)
from oq.model.to_proto import domains_of, export, fill
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array, TensorInfo

G_LOGGER.severity = G_LOGGER.CRITICAL

NOTHING = np.zeros(0, np.float32)
"""The values of a constant before it gets its own."""


class Graph:
    """An ONNX model that can be edited.

    On loading, nodes with duplicate or missing names get a new one (other names are kept), and
    initializers that are also listed as inputs (IR version 3) become plain constants.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._shell = onnx.ModelProto()
        self._shell.CopyFrom(without_graph(model))
        self._graph = gs.import_onnx(model)
        self._spill = spill_of(model)
        if holds_stored(model):
            store(self._graph)
        self._optional = forget_optionals(self._graph, model)
        tensors = self._graph.tensors()
        self._graph.inputs = [t for t in self._graph.inputs if not isinstance(t, gs.Constant)]
        self._tensors: dict[str, Any] = dict(tensors)
        for tensor in (*self._graph.inputs, *self._graph.outputs):
            self._tensors.setdefault(tensor.name, tensor)
        self._names = {*self._tensors, *inner_names(self._graph)}
        self._nodes: dict[str, Any] = {}
        self._provenance: dict[str, str] = {}
        self._view: GraphView | None = None
        self._waiting = Insertions()
        self._name_nodes()
        if not is_sorted(self._graph):
            self._graph.toposort()

    # -- reading ----------------------------------------------------------------------------

    @property
    def opset(self) -> int:
        """The version of the default operator set."""
        return int(self._graph.opset)

    def view(self) -> GraphView:
        """The current graph; later edits do not change it."""
        if self._view is None:
            self._view = self._look()
        return self._view

    def _look(self) -> GraphView:
        constants = {n: t for n, t in self._tensors.items() if isinstance(t, gs.Constant)}
        shared = functools.cache(self._constants)
        self._waiting.apply(self._graph.nodes)
        for node in self._graph.nodes:
            if node.op == "Constant" and isinstance(node.attrs.get("value"), gs.Constant):
                constants[node.outputs[0].name] = node.attrs["value"]
        return GraphView(
            nodes=tuple(view_node(n, shared) for n in self._graph.nodes),
            inputs=tuple(tensor_info(t) for t in self._graph.inputs),
            outputs=tuple(t.name for t in self._graph.outputs),
            tensors={name: tensor_info(t) for name, t in self._tensors.items()},
            constants=Arrays(constants),
            opset=self.opset,
        )

    def node(self, name: str) -> NodeView:
        """The node called ``name`` as it is now: between two edits, a view of the whole graph would
        take a time quadratic in its size."""
        return view_node(self._nodes[name], self._constants)

    def maker(self, tensor: str) -> str | None:
        """The name of the node that computes ``tensor`` now; None for inputs and constants."""
        return next((str(node.name) for node in self._tensors[tensor].inputs), None)

    def _constants(self) -> set[int]:
        return {id(t) for t in self._tensors.values() if isinstance(t, gs.Constant)}

    def to_model(self) -> onnx.ModelProto:
        """The model as a protobuf; the origin of added nodes is in their ``metadata_props``.

        Axes of intermediate tensors have the names that inputs have, and no others: exporters give
        one name to outputs of different sizes, and onnxruntime then lets tensors share memory, so
        that the file loads and fails when it is run (microsoft/onnxruntime issue 23600).
        """
        self._waiting.apply(self._graph.nodes)
        model = onnx.ModelProto()
        model.CopyFrom(self._shell)
        fill(model.graph, self._graph, self._optional, self._provenance)
        del model.opset_import[:]
        model.opset_import.extend(domains_of(self._graph))
        model.ir_version = max(model.ir_version, oldest_ir(model.opset_import))
        return model

    # -- editing ----------------------------------------------------------------------------

    def fresh(self, wish: str) -> str:
        """A new unique name, ``wish`` itself if it is unused."""
        return claim_name(wish, self._names)

    def reserve(self, names: Iterable[str]) -> None:
        """Let none of ``names`` be given to anything new."""
        self._names |= set(names)

    def add_constant(self, wish: str, values: Array) -> str:
        """A new initializer; returns its name."""
        self._view = None
        name = self.fresh(wish)
        made = self._tensors[name] = gs.Constant(name, NOTHING)
        put_values(made, values, self._spill)
        return name

    def add_node(
        self,
        op: str,
        inputs: Sequence[str],
        output: str,
        *,
        name: str,
        attributes: Mapping[str, Any] | None = None,
        like: str | None = None,
        dtype: str | None = None,
        rule: str | None = None,
        before: str | None = None,
    ) -> str:
        """Add a node ``op`` that computes the new tensor ``output``; returns the tensor's name.
        An input "" is an optional one that is left out.

        The tensor has the shape of tensor ``like`` and dtype ``dtype``.  The node is inserted
        directly after the producer of its first input, or before node ``before``.
        """
        self._view = None
        node_name, tensor_name = self.fresh(name), self.fresh(output)
        shape = None if like is None else self._tensors[like].shape
        out = gs.Variable(tensor_name, None if dtype is None else np.dtype(dtype), shape)
        sources = [self._tensors[i] if i else gs.Variable.empty() for i in inputs]
        node = gs.Node(op, node_name, dict(attributes or {}), sources, [out])
        self._insert(node, before)
        self._tensors[tensor_name], self._nodes[node_name] = out, node
        if rule is not None:
            self._provenance[node_name] = rule
        return tensor_name

    def add_output(self, made: str, wish: str, dtype: str, shape: Sequence[int]) -> str:
        """One more output of the node that computes ``made``; returns its name."""
        self._view = None
        out = gs.Variable(self.fresh(wish), np.dtype(dtype), list(shape))
        self._tensors[out.name] = out
        self._tensors[made].inputs[0].outputs.append(out)
        return str(out.name)

    def set_input(self, node: str, slot: int, tensor: str) -> None:
        """Make input ``slot`` of ``node`` read ``tensor`` ("" for an optional input left out: at
        the end it is not an input, since OpenVINO takes an empty name for one)."""
        self._view = None
        inputs = self._nodes[node].inputs
        while len(inputs) <= slot:
            inputs.append(gs.Variable.empty())
        inputs[slot] = self._tensors[tensor] if tensor else gs.Variable.empty()
        while not tensor and inputs and inputs[-1].is_empty():
            inputs.pop()

    def replace_reads(self, node: str, old: str, new: str) -> None:
        """Make every input of ``node`` that reads ``old`` read ``new``."""
        for slot, tensor in enumerate(self._nodes[node].inputs):
            if tensor.name == old:
                self.set_input(node, slot, new)

    def split_output(self, tensor: str, wish: str) -> str:
        """Make the producer of ``tensor`` write a new tensor instead; returns the new name.

        ``tensor`` keeps its readers (including subgraphs and graph outputs) and has no producer
        until :meth:`give_output` assigns one.
        """
        self._view = None
        old = self._tensors[tensor]
        new = gs.Variable(self.fresh(wish), old.dtype, old.shape)
        self._tensors[new.name] = new
        producer = old.inputs[0]
        producer.outputs[slot_of(producer.outputs, old)] = new
        return str(new.name)

    def give_output(self, tensor: str, node_output: str) -> None:
        """Make the node that computes ``node_output`` write ``tensor``, which has no producer."""
        self._view = None
        temporary = self._tensors.pop(node_output)
        producer = temporary.inputs[0]
        producer.outputs[slot_of(producer.outputs, temporary)] = self._tensors[tensor]
        self._names.discard(node_output)

    def take_over(self, node: str, op: str, inputs: Sequence[str], **made: Any) -> None:
        """Add an ``op`` before ``node`` that computes its output instead; ``made``: as in
        :meth:`add_node`."""
        out = str(self._nodes[node].outputs[0].name)
        self.split_output(out, f"{out}_before")
        self.give_output(out, self.add_node(op, inputs, f"{out}_after", before=node, **made))

    def recast(
        self,
        node: str,
        op: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Any],
        domain: str = "",
    ) -> None:
        """Let ``node`` be an ``op`` of ``domain`` that reads ``inputs`` ("" for an empty one); its
        name and outputs stay."""
        self._view = None
        this = self._nodes[node]
        this.op, this.domain, this.attrs = op, domain or None, dict(attributes)
        this.inputs.clear()
        for tensor in inputs:
            this.inputs.append(self._tensors[tensor] if tensor else gs.Variable.empty())
        imported = list(self._graph.import_domains or ())
        if domain and all(o.domain != domain for o in imported):
            self._graph.import_domains = [*imported, onnx.helper.make_opsetid(domain, 1)]

    def bypass(self, node: str, slot: int = 0) -> None:
        """Remove ``node``; readers of its first output read its input ``slot`` instead.

        If the output is a graph output, its name is kept and the producer of the input writes it.

        Raises:
            ModelError: both ends are graph inputs or outputs, so one of the names would be lost.
        """
        self._view = None
        this = self._nodes[node]
        source, out = this.inputs[slot], this.outputs[0]
        if any(o is out for o in self._graph.outputs):
            if not source.inputs or any(o is source for o in self._graph.outputs):
                raise ModelError(f"node {node!r} joins a graph input or two outputs; it must stay")
            producer = source.inputs[0]
            self._drop(this)
            producer.outputs[slot_of(producer.outputs, source)] = out
            reread(source, out)
            return
        self._drop(this)
        reread(out, source)

    def set_attribute(self, node: str, name: str, value: Any) -> None:
        """Set attribute ``name`` of ``node``."""
        self._view = None
        self._nodes[node].attrs[name] = value

    def drop_attribute(self, node: str, name: str) -> None:
        """Remove attribute ``name`` of ``node``, which then has its default."""
        self._view = None
        self._nodes[node].attrs.pop(name, None)

    def piece(
        self, nodes: Sequence[str], outputs: Sequence[str], given: Mapping[str, Array]
    ) -> onnx.ModelProto:
        """The ``nodes`` alone as a model without inputs that computes ``outputs``; tensors that are
        ``given`` are constants in it."""
        return export(pick_out(self._graph, [self._nodes[n] for n in nodes], outputs, given))

    def make_constant(self, tensor: str, values: Array) -> None:
        """Let the computed ``tensor`` be a constant; its producer writes nothing any more."""
        self._view = None
        found = self._tensors[tensor]
        found.inputs.clear()
        found.to_constant(NOTHING)
        put_values(found, values, self._spill)

    def inline_branch(self, node: str, branch: str) -> None:
        """Put the body ``branch`` of the If ``node`` in its place; its outputs keep their names.

        What the body defines gets fresh names where they are taken.  Each output is written by an
        Identity, since a body may give one tensor out twice, or one that it does not compute.
        """
        self._view = None
        this = self._nodes[node]
        body = this.attrs[branch]
        inner = {id(t): t for n in body.nodes for t in (*n.inputs, *n.outputs)}
        inner |= {id(t): t for t in body.outputs}
        outer = {id(t) for t in self._tensors.values()}
        for tensor in inner.values():
            if tensor.name and id(tensor) not in outer:
                if tensor.name in self._tensors:
                    tensor.name = self.fresh(tensor.name)
                self._tensors[tensor.name] = tensor
        outputs = list(this.outputs)
        copies = [
            gs.Node("Identity", f"{node}_{i}", inputs=[source], outputs=[out])
            for i, (source, out) in enumerate(zip(body.outputs, outputs, strict=True))
        ]
        for part in (*body.nodes, *copies):
            self._waiting.put_before(this, part)
        self._drop(this)
        self._waiting.apply(self._graph.nodes)
        self._name_nodes()

    def cleanup(self) -> None:
        """Remove nodes and constants that nothing reads."""
        self._view = None
        self._waiting.apply(self._graph.nodes)
        self._graph.cleanup()
        self._nodes = {}
        self._name_nodes()
        kept = dict(self._graph.tensors())
        for tensor in (*self._graph.inputs, *self._graph.outputs):
            kept.setdefault(tensor.name, tensor)
        self._tensors = kept

    def set_constant(self, tensor: str, values: Array | onnx.TensorProto) -> None:
        """Replace the values of the constant ``tensor``, with the same shape and dtype; they may be
        a tensor that lies in a file."""
        self._view = None
        found = self._tensors[tensor]
        if not isinstance(found, gs.Constant):  # written as a Constant node
            found = found.inputs[0].attrs["value"]
        put_values(found, values, self._spill)

    def set_types(self, types: Mapping[str, TensorInfo]) -> None:
        """Set dtypes and shapes of tensors."""
        self._view = None
        for name, info in types.items():
            tensor = self._tensors.get(name)
            if isinstance(tensor, gs.Variable) and holds_numbers(tensor):
                tensor.dtype = None if info.dtype is None else numpy_dtype(info.dtype)
                tensor.shape = None if info.shape is None else list(info.shape)

    def set_dtype(self, tensor: str, dtype: str) -> None:
        """Set the dtype of ``tensor``, after its producer was changed."""
        self._view = None
        self._tensors[tensor].dtype = numpy_dtype(dtype)

    def redirect(self, old: str, new: str) -> None:
        """Make every node that reads tensor ``old``, those of bodies too, read ``new``."""
        self._view = None
        reread(self._tensors[old], self._tensors[new])

    # -- inside -----------------------------------------------------------------------------

    def _name_nodes(self) -> None:
        for graph in (self._graph, *self._graph.subgraphs(recursive=True)):
            taken: set[str] = set()
            for node in graph.nodes:
                wish = node.name or f"{node.op}_{node.outputs[0].name if node.outputs else 'node'}"
                node.name = claim_name(wish, taken) if graph is self._graph else wish
            self._names |= taken
        self._nodes |= {node.name: node for node in self._graph.nodes}

    def _insert(self, node: Any, before: str | None) -> None:
        if before is not None:
            self._waiting.put_before(self._nodes[before], node)
            return
        producer = next((t.inputs[0] for t in node.inputs if t.inputs), None)
        if producer is None:
            self._waiting.put_first(node)
        else:
            self._waiting.put_after(producer, node)

    def _drop(self, node: Any) -> None:
        node.inputs.clear()
        node.outputs.clear()
        self._waiting.remove(node)
        del self._nodes[node.name]
