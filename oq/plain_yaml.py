"""YAML for settings: values, lists and mappings.

Aliases are refused: one that names what it stands in has no end, and nested ones grow without
limit.  Tags are refused by PyYAML's safe loader; nothing in a file is executed.
"""

from typing import Any

import yaml

DEEPEST = 20
"""Lists and mappings inside one another: a deeper file is a fault."""


class _Plain(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.YAMLError(f"more than {DEEPEST} lists or mappings inside one another")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read_yaml(text: str) -> Any:
    """The value that ``text`` holds; None for an empty one.

    >>> read_yaml("scale: [1, 0.5]")
    {'scale': [1, 0.5]}

    Raises:
        yaml.YAMLError: it is not YAML, has aliases or tags, or is nested too deep.
    """
    loader = _Plain(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
