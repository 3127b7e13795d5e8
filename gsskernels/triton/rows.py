"""Rows of features in any layout (channels last, channels first, strided), without copies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

FEW_FEATURES = 64
FEWEST = 32  # with fewer rows per batch most of a tile would be empty: the rows are then copied to one batch


@dataclass(frozen=True)
class Rows:
    """x as `batches` of `per_batch` rows: row r of batch b starts at b * batch_stride + r * row_stride.

    A channels-first map (B, D, H, W) has B batches of H * W rows that lie side by side; a row-major matrix is one
    batch. Rows are numbered batch after batch, which is the order of a result without the feature dimension.
    """

    x: Tensor
    shape: list[int]  # of the result
    features: int
    batches: int
    per_batch: int
    batch_stride: int
    row_stride: int
    feature_stride: int

    @property
    def count(self) -> int:
        return self.batches * self.per_batch

    @property
    def places(self) -> tuple[int, int, int, int]:
        """Arguments of a kernel that locate a row, in the order of `row_offsets`, then the feature stride."""
        return self.per_batch, self.batch_stride, self.row_stride, self.feature_stride


def rows_of(x: Tensor, dim: int) -> Rows:
    """The rows of x along every dimension but `dim`."""
    shape = [size for axis, size in enumerate(x.shape) if axis != dim]
    features, count = x.shape[dim], math.prod(shape)
    if count >= 2**31:
        raise ValueError(f"x must have fewer than 2^31 rows on the triton backend, got {count}: pass it in parts")
    loops: list[tuple[int, int]] = []  # (size, stride) of the rows' dimensions, merged where one stride serves two
    for axis, (size, stride) in enumerate(zip(x.shape, x.stride(), strict=True)):
        if axis == dim or size == 1:
            continue
        if loops and loops[-1][1] == size * stride:
            loops[-1] = (loops[-1][0] * size, stride)
        else:
            loops.append((size, stride))
    if len(loops) < 2:
        size, stride = loops[0] if loops else (1, features)
        return Rows(x, shape, features, 1, size if count else 0, 0, stride, x.stride(dim))
    if len(loops) == 2 and loops[1][0] >= FEWEST:
        (batches, batch_stride), (per_batch, row_stride) = loops
        return Rows(x, shape, features, batches, per_batch, batch_stride, row_stride, x.stride(dim))
    copied = x.movedim(dim, -1).contiguous()
    return Rows(copied, shape, features, 1, count, 0, features, 1)


class RowList:
    """A list of row numbers whose length is known only to the device, so that the host never waits."""

    def __init__(self, capacity: int, device: torch.device) -> None:
        self.rows = torch.empty(capacity, dtype=torch.int64, device=device)
        self.count = torch.zeros(1, dtype=torch.int32, device=device)


def aligned_features(x: Tensor, table: Tensor, dim: int) -> tuple[Tensor, Tensor, int]:
    """Returns x, a (V, D) table and the dimension of the features, so that kernels can read x in units of 16 bytes.

    Where the layout of x does not allow that, and there are more than FEW_FEATURES features, x and the table are copied
    and padded with zeros to a multiple of 16 features.
    """
    features = x.shape[dim]
    steps = [stride * x.element_size() for size, stride in zip(x.shape, x.stride(), strict=True) if size > 1]
    whole = sum(step % 16 != 0 for step in steps) <= 1 and x.data_ptr() % 16 == 0
    if features <= FEW_FEATURES or (features % 16 == 0 and whole):
        return x, table, dim
    extra = -features % 16
    return F.pad(x.movedim(dim, -1), (0, extra)).contiguous(), F.pad(table, (0, extra)), x.dim() - 1


@triton.jit
def row_offsets(rows, per_batch, batch_stride, row_stride):
    """The start of rows, in elements. `rows` are row numbers, int64."""
    batch = rows // per_batch
    return batch * batch_stride + (rows - batch * per_batch) * row_stride


@triton.jit
def tile_of_rows(tile, per_batch, BLOCK: tl.constexpr):
    """The batch of a tile and its first row in the batch. A tile lies within one batch."""
    tiles = tl.cdiv(per_batch, BLOCK)
    batch = tile // tiles
    return batch.to(tl.int64), (tile - batch * tiles) * BLOCK


def tiles(rows: Rows, block: int) -> int:
    return rows.batches * triton.cdiv(rows.per_batch, block)


def power_of_two(n: int, least: int = 16) -> int:
    """The smallest power of two that is at least n and `least`."""
    return max(least, triton.next_power_of_2(max(1, n)))
