"""Pixels as lines: a strided stack of maps as few lines, as long as the strides allow.

A program takes one block of one line. It computes the number of its line once, so all divisions are scalar, and the
pixels of a block are one stride apart. A plane whose rows follow each other without a gap is a single line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor


@dataclass(frozen=True)
class Lines:
    """`rows` lines of `columns` pixels for each of `batch` images."""

    batch: int
    rows: int
    columns: int

    def blocks(self, block: int) -> int:
        return triton.cdiv(self.columns, block)

    def programs(self, block: int) -> int:
        return self.batch * self.rows * self.blocks(block)


def stacked(maps: Tensor, dims: int) -> Tensor:
    """Merges all dimensions before the last `dims` into one batch dimension: a view where that is possible."""
    if maps.dim() == dims + 1:
        return maps
    return maps.reshape(math.prod(maps.shape[:-dims]), *maps.shape[-dims:])


def lines(*maps: Tensor) -> tuple[Lines, list[tuple[int, int]]]:
    """The common lines of stacks of one size, and for each stack the strides between lines and between pixels."""
    batch, (height, width) = maps[0].shape[0], maps[0].shape[-2:]
    strides = [m.stride()[-2:] for m in maps]
    if width == 1:
        return Lines(batch, 1, height), [(0, row) for row, _ in strides]
    if height == 1 or all(row == width * column for row, column in strides):
        return Lines(batch, 1, height * width), [(0, column) for _, column in strides]
    return Lines(batch, height, width), [(row, column) for row, column in strides]


@triton.jit
def segment(rows, columns, blocks, BLOCK: tl.constexpr):
    """Image, line and pixels of this program as 64-bit numbers, and whether the line has these pixels."""
    program = tl.program_id(0)
    line = program // blocks
    column = (program % blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    return (line // rows).to(tl.int64), (line % rows).to(tl.int64), column, column < columns
