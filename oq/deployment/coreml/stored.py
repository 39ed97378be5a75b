"""Constants that a program stores as integers: codes with scales, and palettes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oq.deployment.coreml.library import Library, narrow
from oq.errors import ModelError
from oq.numerics.values import Array


@dataclass(frozen=True, slots=True)
class Codes:
    """A quantized constant: ``scale`` is a scalar, or has the axis ``axis`` of the codes, or all
    axes with one scale per ``block`` neighbours along one axis.  ``zero_point`` is like it."""

    name: str
    codes: Array
    scale: Array
    zero_point: Array | None = None
    axis: int | None = None
    block: int | None = None
    bits: int = 8

    def transposed(self, order: Sequence[int]) -> "Codes":
        """The same with its axes in ``order``."""
        scale, zero = self.scale, self.zero_point
        if self.block is not None:
            scale = scale.transpose(order)
            zero = None if zero is None else zero.transpose(order)
        axis = None if self.axis is None else list(order).index(self.axis)
        codes = np.ascontiguousarray(self.codes.transpose(order))
        return Codes(self.name, codes, scale, zero, axis, self.block, self.bits)

    def values(self) -> Array:
        """The real values: (codes - zero point) * scale, in float32."""
        scale, zero = self._spread()
        for at, (size, given) in enumerate(zip(self.codes.shape, scale.shape, strict=True)):
            scale = np.repeat(scale, size // given, at) if given not in {1, size} else scale
        shift = 0 if zero is None else zero.astype(np.float32)
        return (self.codes.astype(np.float32) - shift) * scale

    def _spread(self) -> tuple[Array, Array | None]:
        """Scale and zero point with the axes of the codes."""
        if self.block is not None:
            return self.scale, self.zero_point
        shape = [1] * self.codes.ndim
        if self.axis is not None:
            shape[self.axis] = -1
        scale = self.scale.reshape(shape)
        zero = self.zero_point
        return scale, None if zero is None else np.broadcast_to(
            zero.reshape(shape if zero.size > 1 else [1] * len(shape)), scale.shape
        )

    def build(self, library: Library, ios: int, name: str) -> Any:
        """The operator that stores these: iOS 17 ``constexpr_affine_dequantize``, a scale per
        tensor or along one axis; iOS 18 ``constexpr_blockwise_shift_scale``, whose scale has the
        rank of the codes.

        Source: coremltools 9.0, ``ops/defs/iOS16/constexpr_ops.py``,
        ``ops/defs/iOS18/compression.py``.
        """
        if ios >= 18:
            scale, zero = self._spread()
            shifted = {} if zero is None or not np.any(zero) else {"offset": zero}
            data = narrow(library, self.codes, self.bits)
            return library.mb.constexpr_blockwise_shift_scale(
                data=data, scale=scale.astype(np.float32), name=name, **shifted
            )
        if self.block is not None or self.bits != 8:
            raise ModelError(f"weight {self.name!r} is stored in blocks or 4 bits: --ios 18")
        zero = self.zero_point
        plain = self.codes.dtype.type(0) if zero is None or not np.any(zero) else zero
        return library.mb.constexpr_affine_dequantize(
            quantized_data=self.codes,
            scale=self.scale.astype(np.float32)[()],
            zero_point=plain,
            axis=np.int32(self.axis or 0),
            name=name,
        )


@dataclass(frozen=True, slots=True)
class Palette:
    """A constant of few values: ``codes`` (places in a table) and ``tables``, axes (group, value);
    the groups divide the axis ``axis`` of the codes into equal parts."""

    name: str
    codes: Array
    tables: Array
    axis: int
    bits: int

    def transposed(self, order: Sequence[int]) -> "Palette":
        """The same with its axes in ``order``."""
        codes = np.ascontiguousarray(self.codes.transpose(order))
        return Palette(self.name, codes, self.tables, list(order).index(self.axis), self.bits)

    def values(self) -> Array:
        """The real values, in float32."""
        moved = np.moveaxis(self.codes, self.axis, 0)
        parts = np.split(moved, len(self.tables))
        looked = [table[part] for table, part in zip(self.tables, parts, strict=True)]
        return np.moveaxis(np.concatenate(looked), 0, self.axis)

    def build(self, library: Library, ios: int, name: str) -> Any:
        """The operator that stores these: ``constexpr_lut_to_dense``, on iOS 17 of one table, its
        places packed from the lowest bit of each byte on.

        Source: coremltools 9.0, ``ops/defs/iOS16/constexpr_ops.py``,
        ``ops/defs/iOS18/compression.py``.
        """
        if ios >= 18:
            shape = [1] * self.codes.ndim
            shape[self.axis] = len(self.tables)
            table = self.tables.reshape([*shape, self.tables.shape[1], 1])
            data = narrow(library, self.codes, self.bits)
            return library.mb.constexpr_lut_to_dense(
                indices=data, lut=table.astype(np.float32), name=name
            )
        if len(self.tables) > 1:
            raise ModelError(f"weight {self.name!r} has several palettes: --ios 18")
        places = self.codes.reshape(-1, 1)
        bits = np.unpackbits(places, axis=1, bitorder="little")[:, : self.bits]
        return library.mb.constexpr_lut_to_dense(
            indices=np.packbits(bits.reshape(-1), bitorder="little"),
            lut=self.tables[0].astype(np.float32),
            shape=np.array(self.codes.shape, np.uint32),
            name=name,
        )
