"""float32 values with the 10 explicit mantissa bits of tf32: nearest, ties to even; infinities and NaN as they are.

Matrix units read float32 as tf32 by ignoring the low bits. Operands that are rounded before have no such bits, so the
product uses the documented values. Rounding inside the loop of the product would cost about 30 instructions per score.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsskernels.triton.launch import launch

BLOCK = 1024


def to_tf32(values: Tensor) -> Tensor:
    """Returns a contiguous tensor of the rounded values."""
    values = values.contiguous()
    out = torch.empty_like(values)
    launch(_round_kernel, (triton.cdiv(values.numel(), BLOCK),), values, out, values.numel(), BLOCK=BLOCK)
    return out


@triton.jit
def _round_kernel(values_ptr, out_ptr, count, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    values = tl.load(values_ptr + i, mask=i < count, other=0.0)
    bits = values.to(tl.int32, bitcast=True)
    rounded = (bits + 0xFFF + ((bits >> 13) & 1)) & -0x2000
    finite = (bits & 0x7F800000) != 0x7F800000
    tl.store(out_ptr + i, tl.where(finite, rounded, bits).to(tl.float32, bitcast=True), mask=i < count)
