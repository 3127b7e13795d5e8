"""Tensors of a checkpoint as views of its mapped file, each claim of the file checked against what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import Any

import torch
from torch import Tensor

STORAGE_DTYPES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
MAX_DIMENSIONS = 64


@dataclass(frozen=True)
class StorageType:
    """The class of a storage: its dtype and nothing more."""

    dtype: torch.dtype


@dataclass(frozen=True)
class Storage:
    """A storage of the file: its elements as a flat tensor."""

    elements: Tensor


def map_elements(data: mmap, start: int, count: int, dtype: torch.dtype) -> Tensor:
    """`count` elements at byte `start` of the mapped file; copied only if they are not aligned."""
    if count == 0:
        return torch.empty(0, dtype=dtype)
    if start % dtype.itemsize == 0:
        return torch.frombuffer(data, dtype=dtype, count=count, offset=start)
    # One copy of each storage: the caller keeps it.
    return torch.frombuffer(bytearray(data[start : start + count * dtype.itemsize]), dtype=dtype)


def rebuild_tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    """A view of `storage`; gradients are not required, whatever the file says.

    Raises ValueError for hooks, for metadata, and for a view that reaches outside the storage or has more elements.
    """
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    if hooks or metadata:
        raise ValueError("a tensor with hooks or metadata is not allowed")
    size, stride = _whole_numbers("size", size), _whole_numbers("stride", stride)
    (start,) = _whole_numbers("offset", (offset,))
    if len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
        raise ValueError(f"a tensor of {len(size)} sizes and {len(stride)} strides")
    there = storage.elements.numel()
    count = 1
    for length in size:
        count *= length
    if count > there:
        raise ValueError(f"a tensor of {count} elements in a storage of {there}")
    if count == 0:
        return storage.elements.new_empty(size)
    last = start + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if last >= there:
        raise ValueError(f"a tensor that reaches element {last} of a storage of {there}")
    return storage.elements.as_strided(size, stride, start)


def rebuild_parameter(tensor: Any, requires_grad: Any = False, hooks: Any = None) -> Tensor:
    """The tensor of a parameter. Raises ValueError for hooks and for anything but a tensor."""
    if not isinstance(tensor, Tensor) or hooks:
        raise ValueError("a parameter that is no plain tensor is not allowed")
    return tensor


def _whole_numbers(what: str, values: Any) -> Sequence[int]:
    if not isinstance(values, (tuple, list)) or len(values) > MAX_DIMENSIONS:
        raise ValueError(f"{what} of a tensor: expected at most {MAX_DIMENSIONS} whole numbers")
    for value in values:
        # No file is larger than this; the bound also keeps the products below cheap.
        if type(value) is not int or not 0 <= value < 2**48:
            raise ValueError(f"{what} of a tensor: expected whole numbers in 0..2^48 - 1")
    return values
