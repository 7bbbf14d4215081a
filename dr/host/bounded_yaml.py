"""YAML whose size and depth are bounded before anything is built of it."""

from __future__ import annotations

from typing import Any

import yaml


def load(text: str, depth: int, values: int) -> Any:
    """What ``text`` says, nested at most ``depth`` levels deep, and coming down to at most so many ``values``, each
    alias counted with all that it stands for. Raises yaml.YAMLError, and what constructing a value raises."""
    loader = _Bounded(text, depth, values)
    node = loader.get_single_node()
    return None if node is None else loader.construct_document(node)


def compose(text: str, depth: int, values: int) -> yaml.Node | None:
    """The nodes of ``text``, with their places in it, within the same bounds. Raises yaml.YAMLError."""
    node: yaml.Node | None = _Bounded(text, depth, values).get_single_node()
    return node


MERGE = "tag:yaml.org,2002:merge"


class _Bounded(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses depth, and aliases that multiply or lead to themselves, as it meets them.
    libyaml's own crashes on many brackets."""

    def __init__(self, text: str, depth: int, values: int) -> None:
        super().__init__(text)
        self._depth, self._values = depth, values
        self._level = 0
        self._weights: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self._level += 1
        if self._level > self._depth:
            raise _refusal(f"it is nested deeper than {self._depth} levels", event)
        node = super().compose_node(parent, index)
        self._level -= 1
        if isinstance(event, yaml.AliasEvent) and id(node) not in self._weights:
            raise _refusal("an alias leads to what it stands in", event)
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        inner = [part for one in parts for part in (one if isinstance(one, tuple) else (one,))]  # a mapping holds pairs
        weight = self._weights.setdefault(id(node), 1 + sum(self._weights[id(part)] for part in inner))
        if isinstance(node, yaml.MappingNode):
            _once_each(node)
        if max(weight, len(self._weights)) > self._values:
            raise _refusal(f"it comes down to more than {self._values} values", event)
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str) and not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise _refusal("an escape stands for half a character: write the character itself", node)
        return value


def _once_each(node: yaml.MappingNode) -> None:
    """Raises where a key stands twice: of the two, PyYAML would keep the last and say nothing."""
    seen = set[str]()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
            if key.value in seen:
                raise _refusal(f"the key {key.value} stands twice", key)
            seen.add(key.value)


def _refusal(problem: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
