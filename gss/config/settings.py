"""The types of single settings, and the way from a mapping to a checked configuration class."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, Strict, TypeAdapter, ValidationError

# Every class of settings: unknown keys are refused, and a value that is assigned is checked like one that is passed.
CHECKED = ConfigDict(extra="forbid", allow_inf_nan=False, validate_assignment=True)

Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Count = Annotated[Whole, Field(ge=1)]
CountOrZero = Annotated[Whole, Field(ge=0)]
Size = tuple[Count, Count]  # height and width in pixels
Real = Annotated[float, Strict()]
Positive = Annotated[Real, Field(gt=0)]
NotNegative = Annotated[Real, Field(ge=0)]
Probability = Annotated[Real, Field(ge=0, le=1)]
BelowOne = Annotated[Real, Field(ge=0, lt=1)]

Settings = TypeVar("Settings")


def as_config(kind: type[Settings], value: Settings | Mapping[str, Any] | None, name: str = "") -> Settings:
    """`value` as an instance of the configuration class `kind`: itself, built from a mapping, or for None the default.

    Args:
        name: begins the path of each setting in messages, such as "prior".

    Raises:
        TypeError: `value` is none of these.
        ValueError: an unknown key or a wrong value; one line for each, with its path, what was expected and what came.

    >>> from gss.config import PriorConfig
    >>> as_config(PriorConfig, {"window": 8}).window
    8
    >>> as_config(PriorConfig, {"window": 0}, "prior")
    Traceback (most recent call last):
    ValueError: prior.window: expected greater than or equal to 1, got 0 (int)
    """
    if isinstance(value, kind):
        return value
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{name or 'value'}: expected {kind.__name__}, a mapping or None, got {type(value).__name__}")
    try:
        return TypeAdapter(kind).validate_python(dict(value or {}))
    except ValidationError as error:
        prefix = f"{name}." if name else ""
        raise ValueError("\n".join(f"{prefix}{path}: {text}" for path, text in problems(error, kind))) from error


def problems(error: ValidationError, kind: Any) -> Iterator[tuple[str, str]]:
    """(dotted path, what was expected and what came) of everything that is wrong in settings of the class `kind`."""
    for problem in error.errors(include_url=False):
        path, within = _place(problem["loc"], kind)
        found, rule, context = problem["input"], problem["type"], problem.get("ctx", {})
        if rule == "value_error":  # of settings that do not fit together; the message begins with the name of one
            yield f"{path}.{context['error']}".removeprefix(".").partition(": ")[::2]
            continue
        known: list[str] = []
        if rule == "unexpected_keyword_argument":
            known = [entry.name for one in within for entry in fields(one)]
            yield path, f"unknown key{suggestion(path.rpartition('.')[2], known)}; known here: {', '.join(known)}"
            continue
        text = re.sub(r"^\w+ should (be|have) ", "expected ", problem["msg"]).replace(" after validation", "")
        if rule == "union_tag_invalid":
            path, found, known = f"{path}.type", found["type"], _quoted(context["expected_tags"])
            text = f"expected one of {context['expected_tags']}"
        elif rule == "literal_error":
            known = _quoted(context["expected"])
        elif rule == "missing":
            text = "expected a value"
        yield path, f"{text}, got {describe(found)}{suggestion(str(found), known)}"


def describe(value: Any) -> str:
    """A value and its type, for messages."""
    return "nothing (null)" if value is None else f"{value!r} ({type(value).__name__})"


def suggestion(word: str, known: Iterable[str]) -> str:
    """The known word that `word` is probably meant to be, as the end of a message; empty where none is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def _place(location: tuple[int | str, ...], kind: Any) -> tuple[str, list[type]]:
    """The dotted path of a problem, and the classes of settings whose mapping it is in.

    Pydantic's location also names the member of a union (`tokenizer`, `dalle`, `codes`), which no recipe does.
    """
    path, classes, inside = "", _classes(kind), _classes(kind)
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        tagged = [one for one in inside if len(inside) > 1 and getattr(one, "type", None) == part]
        if tagged:
            classes = inside = tagged
            continue
        path += f".{part}" if path else part
        classes, inside = (
            inside or classes,
            [found for one in inside for found in _classes(typing.get_type_hints(one).get(part))],
        )
    return path, classes


def _classes(annotation: Any) -> list[type]:
    """The classes of settings in a type annotation."""
    if is_dataclass(annotation):
        return [typing.cast(type, annotation)]
    return [found for argument in typing.get_args(annotation) for found in _classes(argument)]
