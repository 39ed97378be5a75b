"""onnxruntime's fused normalizations as standard nodes, with and without sums in front.

As in :mod:`oq.prepare.fused_layers`; statistics that only training reads are not written.
"""

import numpy as np

from oq.prepare.standard_nodes import Writer

LAYER_NORM_OPSET = 17
"""The first opset of LayerNormalization."""


def skip_layer_norm(writer: Writer) -> bool:
    """``LayerNormalization(x + skip + bias)``; the sum is an output too."""
    if writer.output(1) or writer.output(2):
        return False
    total = _skip_sum(writer, writer.input(4))
    _layer_norm(writer, total, writer.input(2), writer.input(3), writer.output(0))
    return True


def skip_rms_norm(writer: Writer) -> bool:
    """``RMSNorm(x + skip + bias)``; the sum is an output too."""
    if writer.output(1) or writer.output(2):
        return False
    total = _skip_sum(writer, writer.input(3))
    _rms_norm(writer, total, writer.input(2), [-1])
    return True


def rms_norm(writer: Writer) -> bool:
    """``x / sqrt(mean(x^2) + epsilon) * scale`` over the axes from ``axis`` on (Zhang and Sennrich
    2019, arXiv:1910.07467)."""
    axis = int(writer.attributes.get("axis", -1))
    rank = writer.rank(writer.input(0))
    if writer.output(1) or (axis != -1 and rank is None):
        return False
    _rms_norm(writer, writer.input(0), writer.input(1), _axes(axis, rank))
    return True


def embed_layer_norm(writer: Writer) -> bool:
    """``LayerNormalization(word[ids] + position[positions] + segment[segments])``.

    The lengths of the sequences (the second output) are those of the mask.
    """
    ids, segments, words, positions, kinds, gamma, beta, mask, at = map(writer.input, range(9))
    if writer.output(1) and not mask:
        return False
    total = writer.add("Gather", [words, ids])
    if at:
        place = writer.add("Gather", [positions, at])
    else:
        length = writer.add("Gather", [writer.add("Shape", [ids]), writer.constant([1], np.int64)])
        begin = writer.constant([0], np.int64)
        place = writer.add("Slice", [positions, begin, length, begin])
    total = writer.add("Add", [total, place])
    if segments and kinds:
        total = writer.add("Add", [total, writer.add("Gather", [kinds, segments])])
    if writer.output(2):
        writer.add("Identity", [total], writer.output(2))
    if writer.output(1):
        axis = writer.constant([1], np.int64)
        whole = writer.add("Cast", [mask], to=6)
        writer.add("ReduceSum", [whole, axis], writer.output(1), keepdims=0)
    epsilon = float(writer.attributes.get("epsilon", 1e-12))
    _layer_norm(writer, total, gamma, beta, writer.output(0), epsilon)
    return True


def _skip_sum(writer: Writer, bias: str) -> str:
    total = writer.add("Add", [writer.input(0), writer.input(1)])
    if bias:
        total = writer.add("Add", [total, bias])
    if writer.output(3):
        writer.add("Identity", [total], writer.output(3))
    return total


def _layer_norm(
    writer: Writer, x: str, scale: str, bias: str, to: str, epsilon: float | None = None
) -> None:
    if epsilon is None:
        epsilon = float(writer.attributes.get("epsilon", 1e-5))
    reads = [x, scale, bias] if bias else [x, scale]
    writer.add("LayerNormalization", reads, to, axis=-1, epsilon=epsilon)


def _rms_norm(writer: Writer, x: str, scale: str, axes: list[int]) -> None:
    mean = writer.mean(writer.add("Mul", [x, x]), axes)
    epsilon = writer.constant(float(writer.attributes.get("epsilon", 1e-5)))
    root = writer.add("Sqrt", [writer.add("Add", [mean, epsilon])])
    writer.finish(writer.add("Mul", [writer.add("Div", [x, root]), scale]))


def _axes(axis: int, rank: int | None) -> list[int]:
    return [-1] if rank is None else list(range(axis % rank - rank, 0))
