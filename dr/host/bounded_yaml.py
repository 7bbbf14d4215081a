"""YAML whose size and depth are bounded before anything is built of it."""

from __future__ import annotations

from typing import Any

import yaml


def load(text: str, depth: int, values: int) -> Any:
    """What ``text`` says, nested at most ``depth`` levels deep, and coming down to at most so many ``values``, each
    alias counted with all that it stands for. Raises yaml.YAMLError, and what constructing a value raises."""
    loader = _Bounded(text, depth, values)
    try:
        node = loader.get_single_node()
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def compose(text: str, depth: int, values: int) -> yaml.Node | None:
    """The nodes of ``text``, with their places in it, within the same bounds. Raises yaml.YAMLError."""
    loader = _Bounded(text, depth, values)
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


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
        weight = self._weights.setdefault(id(node), 1 + sum(self._weights[id(child)] for child in _children(node)))
        if max(weight, len(self._weights)) > self._values:
            raise _refusal(f"it comes down to more than {self._values} values", event)
        return node


def _refusal(problem: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _children(node: yaml.Node | None) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
