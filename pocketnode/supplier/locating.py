"""Where in a YAML text a value stands, so that a mistake is named with its line."""

from __future__ import annotations

import yaml

Place = tuple[int | str, ...]


def line_of(text: str, place: Place) -> int:
    """Return the line, from 1, on which a place of a YAML text stands; of what holds it, where it is missing.

    >>> line_of("a: 1\\nb:\\n  - c: 2\\n", ("b", 0, "c"))
    3
    """
    node = yaml.compose(text)
    line = 1
    for key in place:
        found = _child(node, key)
        if found is None:
            break
        line, node = found
    return line


def _child(node: yaml.Node | None, key: int | str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((k.start_mark.line + 1, v) for k, v in node.value if k.value == str(key)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key].start_mark.line + 1, node.value[key]
    return None


def place_of(place: Place) -> str:
    """Return a place for people: `services.0.price`."""
    return ".".join(map(str, place)) or "file"
