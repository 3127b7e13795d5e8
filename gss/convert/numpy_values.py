"""Numbers and arrays of numpy in a checkpoint: read from their bytes, without numpy.

Training tools leave them beside the weights: a best score, a learning rate, a palette.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

# numpy's name of a type -> struct's letter.
_FORMATS = {
    "b1": "?", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q", "f2": "e",
    "f4": "f", "f8": "d",
}  # fmt: skip
_ORDERS = {"<": "<", "|": "<", "=": "<", ">": ">"}


@dataclass
class NumberType:
    """A dtype of plain numbers: numpy's name of it, and struct's mark of the byte order, which its state brings."""

    name: str
    order: str = "<"

    def set_state(self, state: Any) -> None:
        # (version, byte order, sub-array, names, fields, ...)
        if not isinstance(state, tuple) or len(state) < 5 or not isinstance(state[1], str) or state[1] not in _ORDERS:
            raise ValueError("numpy.dtype: expected a byte order")
        if any(part is not None for part in state[2:5]):
            raise ValueError("numpy.dtype: a type with fields is not allowed")
        self.order = _ORDERS[state[1]]

    @property
    def format(self) -> str:
        return self.order + _FORMATS[self.name]


@dataclass
class NumberArray:
    """An array as it stands in the file: its shape, type and bytes. Nothing of a conversion reads it."""

    shape: tuple[int, ...] = (0,)
    type: NumberType | None = None
    data: bytes = b""

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("numpy.ndarray: expected version, shape, type, order and data")
        _, shape, kind, _, data = state
        if not isinstance(kind, NumberType) or not isinstance(data, bytes) or not isinstance(shape, tuple):
            raise ValueError("numpy.ndarray: an array of anything but numbers is not allowed")
        self.shape, self.type, self.data = shape, kind, data


def number_type(name: Any, align: Any = False, copy: Any = False) -> NumberType:
    """numpy.dtype(name, align, copy). Raises ValueError for anything but a plain number's."""
    if not isinstance(name, str) or name not in _FORMATS:
        raise ValueError("numpy.dtype: a type of anything but plain numbers is not allowed")
    return NumberType(name)


def number(kind: Any, data: Any) -> int | float | bool:
    """numpy.core.multiarray.scalar(kind, data). Raises ValueError for other arguments or another number of bytes."""
    if not isinstance(kind, NumberType) or not isinstance(data, bytes):
        raise ValueError("a numpy number: expected its type and bytes")
    try:
        (value,) = struct.unpack(kind.format, data)
    except struct.error as error:
        raise ValueError(f"a numpy number: {error}") from error
    return value


def array(kind: Any, shape: Any, code: Any) -> NumberArray:
    """numpy.core.multiarray._reconstruct(kind, shape, code): an empty array, to which a state follows."""
    return NumberArray()
