"""Names of parameters: legal, each once, and the initializer's own where torch takes it."""

import pytest

from oq.training.names import parameter_names

TAKEN = {"forward", "training", "to"}


def test_a_dotted_name_is_a_path_of_modules() -> None:
    assert parameter_names(["a.0.weight", "a.0.bias"], TAKEN) == {
        "a.0.weight": "a.0.weight",
        "a.0.bias": "a.0.bias",
    }


@pytest.mark.parametrize(
    "tensors",
    [["a", "a.b"], ["a.b", "a"], ["a.b", "a_b_"], ["a_b_", "a..b"], ["to", "to_"], ["x", "x.y.z"]],
)
def test_names_that_torch_cannot_hold_together_are_kept_apart(tensors: list[str]) -> None:
    found = parameter_names(tensors, TAKEN)
    paths = list(found.values())
    assert len(set(paths)) == len(tensors)
    for path in paths:
        parts = path.split(".")
        assert all(parts) and not TAKEN & set(parts)
        assert not any(other.startswith(f"{path}.") for other in paths)
