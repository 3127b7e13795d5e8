"""Types of settings: what YAML, JSON and Python may give, and the range of each number."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text, because it has no dot."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


# Unknown settings are errors. A list from YAML or JSON becomes a tuple; nothing else is converted.
SETTINGS = ConfigDict(extra="forbid")

Text = Annotated[str, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Integer = Annotated[int, Field(strict=True)]
AtLeast1 = Annotated[Integer, Field(ge=1)]
AtLeast0 = Annotated[Integer, Field(ge=0)]

Number = Annotated[float, BeforeValidator(_number), Field(strict=True, allow_inf_nan=False)]
NotNegative = Annotated[Number, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]
Probability = Annotated[Number, Field(ge=0, le=1)]
Below1 = Annotated[Number, Field(ge=0, lt=1)]

# (height, width) in pixels.
Size = tuple[AtLeast1, AtLeast1]
