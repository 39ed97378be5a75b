"""The table of operators: name -> what it computes in torch."""

from collections.abc import Mapping

from oq.training import ops_elementwise, ops_layers, ops_quantize, ops_reduce, ops_resize, ops_shape
from oq.training.row import Row

ROWS: Mapping[str, Row] = {
    **ops_elementwise.ROWS,
    **ops_layers.ROWS,
    **ops_quantize.ROWS,
    **ops_reduce.ROWS,
    **ops_resize.ROWS,
    **ops_shape.ROWS,
}
