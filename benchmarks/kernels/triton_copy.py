"""A copy as a Triton kernel, for the roof: often the fastest copy of large tensors on a GPU."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

BLOCK = 4096


@triton.jit
def _copy_kernel(source, target, size, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    tl.store(target + at, tl.load(source + at, inside), inside)


def copy(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Copies a contiguous tensor into another of the same size and dtype, and returns that."""
    _copy_kernel[(triton.cdiv(source.numel(), BLOCK),)](source, target, source.numel(), BLOCK, num_warps=8)
    return target
