"""The range of every number in a configuration; each file here adds those of its own settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

# What is expected, in words, and whether a value is that.
Rule = tuple[str, Callable[[Any], bool]]

AT_LEAST_1: Rule = ("at least 1", lambda value: value >= 1)
NOT_NEGATIVE: Rule = ("0 or more", lambda value: value >= 0)
POSITIVE: Rule = ("more than 0", lambda value: value > 0)
BELOW_1: Rule = ("at least 0 and less than 1", lambda value: 0 <= value < 1)

# Configuration class -> setting -> its rule.
RULES: dict[type, dict[str, Rule]] = {}


def require_in_range(settings: Any) -> None:
    """Raises ValueError for the first number in a dataclass of settings, or in one within it, that cannot work."""
    for path, expected, value in _out_of_range(settings, ""):
        raise ValueError(f"{path}: expected {expected}, got {value!r}")


def _out_of_range(settings: Any, prefix: str) -> Iterator[tuple[str, str, Any]]:
    """(dotted path, what was expected, value) of every number outside its range; None stands for "not used"."""
    for entry in fields(settings):
        value, path = getattr(settings, entry.name), prefix + entry.name
        if is_dataclass(value):
            yield from _out_of_range(value, f"{path}.")
        elif entry.name in RULES.get(type(settings), {}) and value is not None:
            expected, holds = RULES[type(settings)][entry.name]
            if not holds(value):
                yield path, expected, value
