"""What follows from the nodes upstream of a tensor."""

from oq.model.graph import Graph
from oq.model.paths import value_sized
from tests.odd_models import boxes
from tests.small import small


def test_everything_per_box_has_a_size_that_depends_on_values() -> None:
    found = value_sized(Graph(boxes()).view())
    assert found == {"kept", "which", "picked", "g", "r", "found"}


def test_a_range_written_as_nonzero_depends_on_the_shape_alone() -> None:
    model = small(
        """net (float[n,4] x) => (int64[1,m] y) {
            s = Shape(x) c = ConstantOfShape <value = int64[1] {1}> (s) y = NonZero(c)
        }"""
    )
    assert value_sized(Graph(model).view()) == frozenset()


def test_what_is_scattered_into_keeps_its_size() -> None:
    model = small(
        """net (float[n] x, float[n] z) => (float[n] y, float[m] p) {
            i = NonZero(x) t = Transpose(i) p = GatherND(z, t) y = ScatterND(z, t, p)
        }"""
    )
    assert value_sized(Graph(model).view()) == {"i", "t", "p"}
