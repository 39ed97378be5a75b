"""Settings are plain values: what has no end, or executes, is refused."""

import pytest
import yaml

from oq.plain_yaml import read_yaml


def test_values_lists_and_mappings() -> None:
    assert read_yaml("a: [1, 2.5, true, word]\nb: {c: null}") == {
        "a": [1, 2.5, True, "word"],
        "b": {"c": None},
    }
    assert read_yaml("") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [*a]", "aliases are not read"),
        ("a: &a [1, 1]\nb: [*a, *a]", "aliases are not read"),
        ("[" * 3000 + "]" * 3000, "more than 20 lists or mappings"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(yaml.YAMLError, match=message):
        read_yaml(text)
