"""Settings from mappings, with one line of error for each mistake."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from typing import Any, NamedTuple, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from gss.config.tokenizer import TOKENIZERS, TokenizerConfig

T = TypeVar("T")


class Mistake(NamedTuple):
    """The dotted path of a setting, and what is wrong with it."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


class SettingsError(ValueError):
    """Settings that cannot be used; `mistakes` has one entry for each of them."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("; ".join(map(str, mistakes)))
        self.mistakes = mistakes


def read_settings(kind: type[T], settings: Any) -> T:
    """An instance of a configuration dataclass from a mapping of its fields.

    Raises SettingsError, a ValueError, naming every unknown key (with a suggestion) and every wrong value by its path.
    """
    return _read(kind, kind, settings)


def as_config(kind: type[T], value: T | Mapping[str, Any] | None) -> T:
    """A configuration as it is, or from a mapping of its fields; the default for None.

    >>> from gss.config import PriorConfig
    >>> as_config(PriorConfig, {"window": 5}).window
    5
    """
    return value if isinstance(value, kind) else read_settings(kind, {} if value is None else value)


def tokenizer_config(settings: TokenizerConfig | Mapping[str, Any]) -> TokenizerConfig:
    """The configuration of a tokenizer as it is, or from a mapping; `type` names the class, "compact" by default.

    Raises SettingsError.
    """
    return _read(TokenizerConfig, None, settings)


def _read(kind: Any, fields: type | None, settings: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(settings)
    except ValidationError as error:
        raise SettingsError([_mistake(entry, fields) for entry in error.errors()]) from error


def _mistake(error: Any, root: type | None) -> Mistake:
    """A mistake from an entry of pydantic's list, whose messages read "Input should be ..."."""
    places = [part for part in error["loc"] if part not in TOKENIZERS]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in places).lstrip(".")
    kind, value, message = error["type"], error["input"], error["msg"]
    if kind == "unexpected_keyword_argument":
        known = _fields(error["loc"][:-1], root)
        return Mistake(path, f"unknown key{suggestion(str(places[-1]), known)}; known here: {', '.join(known)}")
    if kind == "missing":
        return Mistake(path, f"missing, got {describe(value)}")
    if kind == "value_error":
        message = message.removeprefix("Value error, ")
        return Mistake(path, message if ", got " in message else f"{message}, got {describe(value)}")
    if kind == "union_tag_invalid":
        path, value = f"{path}.type".lstrip("."), error["ctx"]["tag"]
        message = f"one of {error['ctx']['expected_tags']}"
    for phrase, ours in (("Input should be ", ""), ("Tuple should have", "a list with"), (" after validation", "")):
        message = message.replace(phrase, ours)
    close = suggestion(value, _words(error)) if isinstance(value, str) else ""
    return Mistake(path, f"expected {message[0].lower()}{message[1:]}, got {describe(value)}{close}")


def _fields(loc: tuple[Any, ...], root: type | None) -> list[str]:
    """The names of the settings at a place; a tokenizer's type stands in the place as a step of its own."""
    kind: Any = root
    for step in loc:
        kind = TOKENIZERS[step] if step in TOKENIZERS else get_type_hints(kind)[step]
    return list(get_type_hints(kind)) if is_dataclass(kind) else []


def _words(error: Any) -> list[str]:
    """The words that a setting may have, from the text of the error."""
    context = error.get("ctx", {})
    return (
        str(context.get("expected", context.get("expected_tags", "")))
        .replace(" or ", ", ")
        .replace("'", "")
        .split(", ")
    )


def describe(value: Any) -> str:
    """A value and its type, for messages."""
    return "nothing (null)" if value is None else f"{value!r} ({type(value).__name__})"


def suggestion(word: str, known: Iterable[str]) -> str:
    """ " (did you mean 'x'?)", or nothing where no known word is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
