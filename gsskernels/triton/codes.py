"""Prepares a table of codes: an aligned layout, a bias, and norms for the error bound.

On Hopper and newer GPUs, kernels read codes through tensor descriptors: the copy engine fetches tiles without address
arithmetic in the loop. On older GPUs they use pointers. Both need rows at 16-byte steps; a table with other steps is
copied. The bias, -|c|^2 / 2 for codes, is float32 and padded with -inf beyond V to whole tiles, so the loop needs no
mask.

For the certified search a float32 code c is split, c = high + low + rest, with high and low in float16 (22 bits
between them). `errors` holds, over all codes, the largest |c|, |c - high|, |c - high - low| and |bias|, each rounded
up. They give a bound on the error of every fast score (certified.py). A NaN or infinite code makes them infinite or
NaN, and then no row is decided.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from gsskernels.triton.launch import launch
from gsskernels.triton.plan import Architecture
from gsskernels.triton.rows import power_of_two

BLOCK_CODES = 16
MOST_BLOCK_CODES = 256  # the widest tile of any plan
# sqrt(sum of squares) of D float32 values is rounded up by a relative 2^-12, and by 2e-19 sqrt(D) for squares that
# underflow.
UP = tl.constexpr(1 + 2**-12)
UNDERFLOW = tl.constexpr(2e-19)
FORBIDS = tl.constexpr(-1e38)  # a bias below this, -inf or the lowest float32, forbids a code


def operand(
    table: Tensor, block_codes: int, block_features: int, architecture: Architecture
) -> tuple[Tensor | TensorDescriptor, int]:
    """A (V, D) table as `tiles.code_tile` reads it, and the elements between its rows."""
    table = _aligned(table)
    if not has_descriptors(architecture):
        return table, table.stride(0)
    return TensorDescriptor.from_tensor(table, [block_codes, block_features]), table.stride(0)


def has_descriptors(architecture: Architecture) -> bool:
    return architecture.capability >= 90


def _aligned(table: Tensor) -> Tensor:
    item = table.element_size()
    codes, features = table.shape
    if (
        table.stride(1) == 1
        and table.stride(0) >= features
        and table.stride(0) * item % 16 == 0
        and table.data_ptr() % 16 == 0
    ):
        return table
    step = -(-features * item // 16) * 16 // item
    copy = table.new_empty((codes, step))[:, :features]
    return copy.copy_(table)


def padded_bias(table: Tensor, bias: Tensor | None, nearest: bool) -> Tensor:
    """The bias of every code in float32, -inf beyond the last code. With `nearest` it is -|c|^2 / 2."""
    codes, features = table.shape
    out = torch.empty(-(-codes // MOST_BLOCK_CODES) * MOST_BLOCK_CODES, dtype=torch.float32, device=table.device)
    launch(
        _bias_kernel,
        (triton.cdiv(out.numel(), BLOCK_CODES),),
        table,
        bias,
        out,
        codes,
        features,
        *table.stride(),
        0 if bias is None else bias.stride(0),
        NEAREST=nearest,
        BLOCK_CODES=BLOCK_CODES,
        BLOCK_FEATURES=min(256, power_of_two(features)),
    )
    return out


@dataclass(frozen=True)
class SplitCodes:
    high: Tensor  # (V, D) in rows of whole 16 bytes, float16
    low: Tensor
    bias: Tensor  # as in `padded_bias`, but 3 * FORBIDS for codes that are forbidden or beyond V
    errors: Tensor  # (4,) float32, see the module's documentation


def split_codes(codebook: Tensor, bias: Tensor | None, nearest: bool) -> SplitCodes:
    """Splits a float32 codebook. With `nearest` the bias is -|c|^2 / 2 instead of the given one."""
    codes, features = codebook.shape
    step = -(-features // 8) * 8
    device = codebook.device
    parts = torch.empty((2, codes, step), dtype=torch.float16, device=device)
    high, low = parts[0, :, :features], parts[1, :, :features]
    offset = torch.empty(-(-codes // MOST_BLOCK_CODES) * MOST_BLOCK_CODES, dtype=torch.float32, device=device)
    errors = torch.zeros(4, dtype=torch.int32, device=device)  # bits of non-negative floats are ordered like integers
    launch(
        _split_kernel,
        (triton.cdiv(offset.numel(), BLOCK_CODES),),
        codebook,
        bias,
        high,
        low,
        offset,
        errors,
        codes,
        features,
        step,
        *codebook.stride(),
        0 if bias is None else bias.stride(0),
        NEAREST=nearest,
        BLOCK_CODES=BLOCK_CODES,
        BLOCK_FEATURES=min(256, power_of_two(features)),
    )
    return SplitCodes(high, low, offset, errors.view(torch.float32))


@triton.jit
def _bias_kernel(
    codes_ptr,
    bias_ptr,
    out_ptr,
    codes,
    features,
    code_stride,
    feature_stride,
    bias_stride,
    NEAREST: tl.constexpr,
    BLOCK_CODES: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
):
    v = tl.program_id(0) * BLOCK_CODES + tl.arange(0, BLOCK_CODES)
    ok = v < codes
    bias = tl.zeros((BLOCK_CODES,), tl.float32)
    if NEAREST:
        at = codes_ptr + v.to(tl.int64)[:, None] * code_stride
        for first in tl.range(0, features, BLOCK_FEATURES):
            d = first + tl.arange(0, BLOCK_FEATURES)
            inside = ok[:, None] & (d < features)[None, :]
            c = tl.load(at + d.to(tl.int64)[None, :] * feature_stride, mask=inside, other=0.0).to(tl.float32)
            bias -= 0.5 * tl.sum(c * c, 1)
    elif bias_ptr is not None:
        bias = tl.load(bias_ptr + v * bias_stride, mask=ok, other=0.0).to(tl.float32)
    tl.store(out_ptr + v, tl.where(ok, bias, float("-inf")))


@triton.jit
def _split_kernel(
    codes_ptr,
    bias_ptr,
    high_ptr,
    low_ptr,
    offset_ptr,
    errors_ptr,
    codes,
    features,
    step,
    code_stride,
    feature_stride,
    bias_stride,
    NEAREST: tl.constexpr,
    BLOCK_CODES: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
):
    v = tl.program_id(0) * BLOCK_CODES + tl.arange(0, BLOCK_CODES)
    ok = v < codes
    row = v.to(tl.int64)[:, None]
    whole = tl.zeros((BLOCK_CODES,), tl.float32)
    once = tl.zeros((BLOCK_CODES,), tl.float32)
    twice = tl.zeros((BLOCK_CODES,), tl.float32)
    for first in tl.range(0, features, BLOCK_FEATURES):
        d = first + tl.arange(0, BLOCK_FEATURES)
        inside = ok[:, None] & (d < features)[None, :]
        c = tl.load(
            codes_ptr + row * code_stride + d.to(tl.int64)[None, :] * feature_stride, mask=inside, other=0.0
        ).to(tl.float32)
        high = c.to(tl.float16)
        rest = c - high.to(tl.float32)
        low = rest.to(tl.float16)
        last = rest - low.to(tl.float32)
        whole += tl.sum(c * c, 1)
        once += tl.sum(rest * rest, 1)
        twice += tl.sum(last * last, 1)
        tl.store(high_ptr + row * step + d[None, :], high, mask=inside)
        tl.store(low_ptr + row * step + d[None, :], low, mask=inside)
    if NEAREST:
        offset = -0.5 * whole
    elif bias_ptr is not None:
        offset = tl.load(bias_ptr + v * bias_stride, mask=ok, other=0.0).to(tl.float32)
    else:
        offset = tl.zeros((BLOCK_CODES,), tl.float32)
    # A column is packed into the low bits of a score, which would turn -inf into NaN.
    forbids = offset < FORBIDS
    tl.store(offset_ptr + v, tl.where(ok & ~forbids, offset, 3 * FORBIDS))
    _raise_to(errors_ptr, norm_above(whole, features))
    _raise_to(errors_ptr + 1, norm_above(once, features))
    _raise_to(errors_ptr + 2, norm_above(twice, features))
    # A forbidding bias does not count: its code never wins, and neither does NaN. +inf must leave all rows undecided.
    size = tl.where(forbids, 0.0, tl.abs(offset))
    _raise_to(errors_ptr + 3, tl.where(ok & (size == size), size, 0.0))


@triton.jit
def norm_above(squares, features):
    """An upper bound of the norm whose squares were summed in float32."""
    return tl.sqrt(squares) * UP + UNDERFLOW * tl.sqrt(tl.cast(features, tl.float32))


@triton.jit
def _raise_to(pointer, values):
    """Raises *pointer to the maximum of non-negative floats, compared as integers: NaN is above infinity."""
    tl.atomic_max(pointer, tl.max(values.to(tl.int32, bitcast=True) & 0x7FFFFFFF, 0))
