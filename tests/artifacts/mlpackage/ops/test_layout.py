"""Moves of elements against onnxruntime's, or NumPy's indexing."""

from pathlib import Path

import numpy as np
import pytest

from oq.artifacts.mlpackage.ops.layout import reshape, split
from oq.errors import ModelError
from tests.mil import Row, assert_rows, onnx_op

X = np.random.default_rng(0).normal(0, 1, (2, 4, 6, 8)).astype(np.float32)


def test_shapes(tmp_path: Path) -> None:
    rows = [
        Row("reshape", lambda mb, x: mb.reshape(x=x, shape=[2, -1, 8]), X.reshape(2, -1, 8)),
        Row("zeros", lambda mb, x: mb.reshape(x=x, shape=[0, 0, 8, 6]), X.reshape(2, 4, 8, 6)),
        Row(
            "transpose", lambda mb, x: mb.transpose(x=x, perm=[0, 2, 3, 1]), X.transpose(0, 2, 3, 1)
        ),
        Row("expand", lambda mb, x: mb.expand_dims(x=x, axes=[1]), X[:, None]),
        Row("squeeze", lambda mb, x: mb.squeeze(x=mb.expand_dims(x=x, axes=[1]), axes=[1]), X),
        Row("flatten", lambda mb, x: mb.flatten2d(x=x, axis=2), X.reshape(8, 48)),
        Row("shape", lambda mb, x: mb.shape(x=x), np.array(X.shape, np.int32)),
        Row("tile", lambda mb, x: mb.tile(x=x, reps=[1, 2, 1, 3]), np.tile(X, (1, 2, 1, 3))),
        Row("reverse", lambda mb, x: mb.reverse(x=x, axes=[1, 3]), X[:, ::-1, :, ::-1]),
        Row("fill_like", lambda mb, x: mb.fill_like(ref_tensor=x, value=0.5), np.full_like(X, 0.5)),
        Row(
            "fill",
            lambda mb, x: mb.fill(shape=mb.shape(x=x), value=3),
            np.full(X.shape, 3, np.int32),
        ),
        Row(
            "range",
            lambda mb, x: mb.range_1d(
                end=mb.gather(x=mb.shape(x=x), indices=3, axis=0), start=1, step=2
            ),
            np.array([1, 3, 5, 7], np.int32),
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_joins_and_parts(tmp_path: Path) -> None:
    index = {"begin": [1, -3, 0, 7], "end": [2, -1, 5, 0], "stride": [1, 1, 2, -2]}
    masks = {
        "end_mask": [False, False, True, False],
        "begin_mask": [False, False, True, False],
        "squeeze_mask": [True, False, False, False],
    }
    rows = [
        Row("concat", lambda mb, x: mb.concat(values=[x, x], axis=2), np.concatenate([X, X], 2)),
        Row(
            "interleaved",
            lambda mb, x: mb.concat(values=[x, mb.square(x=x)], axis=1, interleave=True),
            np.stack([X, X * X], 2).reshape(2, 8, 6, 8),
        ),
        Row("stack", lambda mb, x: mb.stack(values=[x, x], axis=1), np.stack([X, X], 1)),
        Row("split", lambda mb, x: mb.split(x=x, num_splits=2, axis=1), np.split(X, 2, 1)),
        Row(
            "sizes",
            lambda mb, x: mb.split(x=x, split_sizes=[1, 5], axis=2),
            [X[:, :, :1], X[:, :, 1:]],
        ),
        Row("slice", lambda mb, x: mb.slice_by_index(x=x, **index), X[1:2, 1:3, 0:5:2, 7:0:-2]),
        Row(
            "masks", lambda mb, x: mb.slice_by_index(x=x, **index, **masks), X[1, 1:3, ::2, 7:0:-2]
        ),
        Row(
            "by size",
            lambda mb, x: mb.slice_by_size(x=x, begin=[0, 1, 2, 3], size=[2, 1, -1, 4]),
            X[:, 1:2, 2:, 3:7],
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_padding_of_the_last_axes(tmp_path: Path) -> None:
    sides = np.array([0, 0, 1, 3, 0, 0, 2, 4], np.int64)
    rows = [
        Row(
            mil,
            lambda mb, x, mil=mil: mb.pad(x=x, pad=[1, 2, 3, 4], mode=mil),
            onnx_op("Pad", X, sides, mode=onnx),
        )
        for mil, onnx in (("constant", "constant"), ("reflect", "reflect"), ("replicate", "edge"))
    ]
    value = np.array(-1.5, np.float32)
    rows.append(
        Row(
            "value",
            lambda mb, x: mb.pad(x=x, pad=[1, 2, 3, 4], mode="constant", constant_val=value),
            onnx_op("Pad", X, sides, value),
        )
    )
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_blocks_of_space(tmp_path: Path) -> None:
    back = onnx_op("DepthToSpace", X, blocksize=2, mode="CRD")
    rows = [
        Row(
            "depth_to_space",
            lambda mb, x: mb.depth_to_space(x=x, block_size=2),
            onnx_op("DepthToSpace", X, blocksize=2, mode="DCR"),
        ),
        Row(
            "space_to_depth",
            lambda mb, x: mb.space_to_depth(x=x, block_size=2),
            onnx_op("SpaceToDepth", X, blocksize=2),
        ),
        Row("pixel_shuffle", lambda mb, x: mb.pixel_shuffle(x=x, upscale_factor=2), back),
        Row(
            "pixel_unshuffle",
            lambda mb, x: mb.pixel_unshuffle(
                x=mb.pixel_shuffle(x=x, upscale_factor=2), downscale_factor=np.uint32(2)
            ),
            X,
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match=r"a 0 between different ranks"):
        reshape(X, np.array([0, -1]))
    with pytest.raises(ModelError, match=r"parts of \[1, 4\] of an axis of 6"):
        split(X, np.array(2), split_sizes=np.array([1, 4]))
