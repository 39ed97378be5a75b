"""The one door for targets and calibrators of your own: all that they need, by the names that stay.

    from oq.plugin import INT8, INT8_NARROW, OpRule, Output, Target, data_is_not_float

A **target** is a file that defines ``TARGET``, a table of typed rows; a **calibrator** one that
defines ``CALIBRATOR``, a frozen dataclass with a pure function from :class:`Statistics` to a
:class:`Range`. oq takes either by ``oq --plugin FILE.py``, from the entry points ``oq.targets`` and
``oq.calibrators`` of an installed package, or by :func:`register` in a running program.  Where a
name of this module is defined may change; that it is here does not, but with a line in
CHANGELOG.md.
"""

from oq.errors import OptionError
from oq.model.operands import bias_input, clip_bounds, data_inputs, weight_input
from oq.model.view import GraphView, NodeView
from oq.numerics.calibrator import Calibrator, ErrorGains, covering
from oq.numerics.grid import Grid, fake_quantize, fit
from oq.numerics.histogram import Histogram, to_histogram
from oq.numerics.statistics import Need, Statistics, observe
from oq.numerics.values import (
    FLOAT8,
    INT4,
    INT8,
    INT8_AFFINE,
    INT8_NARROW,
    INT16,
    UINT8,
    UINT8_POSITIVE,
    UINT16,
    Array,
    QType,
    Range,
)
from oq.planning.check import Check, Finding
from oq.planning.predicates import (
    average_is_dilated,
    bias_is_not_constant,
    both_operands_vary,
    data_is_not_float,
    data_is_vector,
    first_operand_is_constant,
    gemm_is_scaled,
    is_shorter_branch,
    operand_is_constant,
    operand_varies,
    pad_is_not_zero,
    resize_is_not_nearest,
    scales_attention,
    weight_is_not_constant,
)
from oq.planning.registry import names, register
from oq.planning.spec import Fixed, Plan, SiteKey
from oq.planning.target import (
    Grids,
    Legalized,
    Legalizer,
    Match,
    Obstacle,
    OpRule,
    Output,
    Place,
    Predicate,
    Runtime,
    Target,
    as_is,
)

__all__ = [
    "FLOAT8",
    "INT4",
    "INT8",
    "INT8_AFFINE",
    "INT8_NARROW",
    "INT16",
    "UINT8",
    "UINT8_POSITIVE",
    "UINT16",
    "Array",
    "Calibrator",
    "Check",
    "ErrorGains",
    "Finding",
    "Fixed",
    "GraphView",
    "Grid",
    "Grids",
    "Histogram",
    "Legalized",
    "Legalizer",
    "Match",
    "Need",
    "NodeView",
    "Obstacle",
    "OpRule",
    "OptionError",
    "Output",
    "Place",
    "Plan",
    "Predicate",
    "QType",
    "Range",
    "Runtime",
    "SiteKey",
    "Statistics",
    "Target",
    "as_is",
    "average_is_dilated",
    "bias_input",
    "bias_is_not_constant",
    "both_operands_vary",
    "clip_bounds",
    "covering",
    "data_inputs",
    "data_is_not_float",
    "data_is_vector",
    "fake_quantize",
    "first_operand_is_constant",
    "fit",
    "gemm_is_scaled",
    "is_shorter_branch",
    "names",
    "observe",
    "operand_is_constant",
    "operand_varies",
    "pad_is_not_zero",
    "register",
    "resize_is_not_nearest",
    "scales_attention",
    "to_histogram",
    "weight_input",
    "weight_is_not_constant",
]
