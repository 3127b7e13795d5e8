"""linear_argmax and nearest_code in C++, see src/affine_argmax.cpp.

The results equal those of the reference: a fast pass finds the codes that can win, and float64 decides among them.
Operands in float64 are scored by the reference itself.
"""

import math
from typing import Any

import torch
from torch import Tensor

from gsskernels.native import library
from gsskernels.reference import codebook as reference

ROUNDING = {None: 0, "fp32": 0, "tf32": 1, "bf16": 2}  # the same numbers as in src/operands.h
MOST_FEATURES = 2**20  # with more, the error bounds of float32 sums are useless


def nearest_code(x: Tensor, codebook: Tensor, dim: int, precision: str | None) -> Tensor:
    if x.dtype is torch.float64 or codebook.shape[1] > MOST_FEATURES:
        return reference.nearest_code(x, codebook, dim, precision)
    return _affine_argmax(x, codebook, None, True, dim, precision)


def linear_argmax(x: Tensor, weight: Tensor, bias: Tensor | None, dim: int, precision: str | None) -> Tensor:
    if x.dtype is torch.float64 or weight.shape[1] > MOST_FEATURES:
        return reference.linear_argmax(x, weight, bias, dim, precision)
    return _affine_argmax(x, weight, bias, False, dim, precision)


def _affine_argmax(
    x: Tensor, codes: Tensor, bias: Tensor | None, nearest: bool, dim: int, precision: str | None
) -> Tensor:
    x, shape, arguments = operands(x, codes, bias, dim)
    out = torch.empty(shape, dtype=torch.int64)
    status = library.functions.affine_argmax(
        *arguments, nearest, library.DTYPES[x.dtype], ROUNDING[precision], torch.get_num_threads(), out.data_ptr()
    )
    if status:
        library.check(status)
    return out


def operands(x: Tensor, codes: Tensor, bias: Tensor | None, dim: int) -> tuple[Tensor, list[int], tuple[Any, ...]]:
    """The first arguments of the C functions affine_argmax and linear_sample: addresses, sizes and strides.

    Also returns the tensor that holds the rows, which must live until the call returns, and the shape of the rows.
    Row n starts at (n // inner) * outer_stride + (n % inner) * inner_stride.
    """
    shape = list(x.shape)
    features = shape.pop(dim)
    if x.is_contiguous():
        inner = math.prod(shape[dim:])
        places = (0, math.prod(shape), features, 1) if inner == 1 else (features * inner, inner, 1, inner)
    else:
        strides = list(x.stride())
        feature_stride = strides.pop(dim)
        runs: list[tuple[int, int]] = []  # (size, stride) of the rows' dimensions, merged where one stride serves two
        for size, stride in zip(shape, strides, strict=True):
            if runs and runs[-1][1] == size * stride:
                runs[-1] = (runs[-1][0] * size, stride)
            elif size != 1:
                runs.append((size, stride))
        if len(runs) > 2:
            return operands(x.contiguous(), codes, bias, dim)
        inner, inner_stride = runs[-1] if runs else (1, 0)
        places = (runs[0][1] if runs else 0, inner, inner_stride, feature_stride)
    arguments = (x.data_ptr(), math.prod(shape), *places, codes.data_ptr(), *codes.shape, *codes.stride())
    if bias is None:
        return x, shape, (*arguments, None, 0, 0)
    return x, shape, (*arguments, bias.data_ptr(), library.DTYPES[bias.dtype], bias.stride(0))
