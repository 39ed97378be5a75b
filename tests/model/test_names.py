"""Names that are asked for twice."""

from oq.model.names import claim_name


def test_every_name_is_given_once() -> None:
    taken = {"a", "a_2"}
    assert [claim_name("a", taken), claim_name("b", taken), claim_name("b", taken)] == [
        *("a_3", "b", "b_2")
    ]
    assert taken == {"a", "a_2", "a_3", "b", "b_2"}
