"""What a package holds, in figures."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from oq.artifacts.artifact import Contents, GridUse
from oq.artifacts.mlpackage.dtypes import width
from oq.artifacts.mlpackage.grids import Quantizer, Weight
from oq.artifacts.mlpackage.program import Constant, Description, Operation, Program

RELEASES: Mapping[int, str] = {
    6: "iOS 15",
    7: "iOS 16",
    8: "iOS 17",
    9: "iOS 18",
    10: "iOS 26",
}
"""Version of the specification -> the oldest iOS that takes it (macOS and others alike)."""

LAYERS: Mapping[str, tuple[str, str]] = {
    "conv": ("x", "weight"),
    "conv_transpose": ("x", "weight"),
    "linear": ("x", "weight"),
    "matmul": ("x", "y"),
}
"""Layers that multiply and accumulate, and their operands."""

INTEGER = frozenset(
    {"dequantize", "constexpr_affine_dequantize", "constexpr_blockwise_shift_scale"}
)


def tell(
    path: Path,
    description: Description,
    program: Program,
    quantizers: Iterable[Quantizer],
    weights: Iterable[Weight],
) -> Contents:
    """The contents of the package at ``path``."""
    release = RELEASES.get(description.version, "unknown")
    facts = {
        "specification": f"{description.version} ({release} and later)",
        "opset": program.opset,
        "floats": ", ".join(sorted(_floats(program))),
    }
    if images := [f"{f.info.name} ({f.image})" for f in description.inputs if f.image]:
        facts["images"] = ", ".join(images)
    bytes_of: Counter[str] = Counter()
    for constant in _constants(program):
        bytes_of[constant.type.dtype] += constant.values.size * width(constant.type.dtype) // 8
    return Contents(
        format="coreml",
        bytes=sum(f.stat().st_size for f in path.rglob("*") if f.is_file()),
        facts=facts,
        ops=dict(sorted(Counter(made.kind for made in program.operations).items())),
        activations=tuple(
            GridUse(q.input, q.dtype, *_extremes(q)) for q in quantizers if q.kind == "quantize"
        ),
        weights=tuple(GridUse(w.tensor, w.dtype, *_extremes(w)) for w in weights),
        constants=dict(sorted(bytes_of.items())),
    )


def _extremes(grid: Quantizer | Weight) -> tuple[tuple[float, float], tuple[int, int], int]:
    scale, zero = grid.scale, grid.zero_point
    return (
        (float(scale.min()), float(scale.max())),
        (int(zero.min()), int(zero.max())),
        scale.size,
    )


def _constants(program: Program) -> Iterator[Constant]:
    """Those in ``weight.bin``; scalars and shapes within the program are not weights."""
    yield from (c for c in program.constants.values() if c.blob)
    for made in program.operations:
        for bindings in made.inputs.values():
            yield from (b for b in bindings if not isinstance(b, str) and b.blob)


def _floats(program: Program) -> set[str]:
    kinds = (kind.dtype for made in program.operations for _, kind in made.outputs)
    return {dtype for dtype in kinds if dtype.startswith("float")}


def count_layers(program: Program) -> tuple[int, int]:
    """The layers whose operands both come from integers, and the others."""
    makers = {name: made for made in program.operations for name, _ in made.outputs}
    integer = floating = 0
    for made in program.operations:
        if made.kind not in LAYERS:
            continue
        operands = [_maker(made, key, makers) for key in LAYERS[made.kind]]
        if all(maker is not None and maker.kind in INTEGER for maker in operands):
            integer += 1
        else:
            floating += 1
    return integer, floating


def _maker(made: Operation, key: str, makers: Mapping[str, Operation]) -> Operation | None:
    binding = next(iter(made.inputs.get(key, ())), None)
    return makers.get(binding) if isinstance(binding, str) else None
