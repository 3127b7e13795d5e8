"""Confusion matrices: integer counts of (target, prediction) pairs, with little contention where label maps are smooth.

    counts[t, p] = number of pixels with target t and prediction p,  both in 0..K-1 and t not ignored

Contract: exact and the same in every run, because integer additions commute. Counts have 64 bits, so they never
overflow. Neighbouring pixels are mostly equal, so pixels are taken in runs of RUN: a run of equal pairs is one addition
of RUN, any other run adds its pixels one by one. Programs are distributed over private tables of at most SCRATCH bytes
in all, which are added at the end. For few pixels or many classes there is one table, which is the result.

Right on an H200 where checked (docs/performance.md), not timed there yet. Compiled for sm_80 to sm_100: 64 registers,
no spills, loads of 16 bytes where labels are contiguous; 36 instructions a pixel including the additions, which
return no result (RED, not ATOM).
Slow case: noise of few classes. Every pixel is then an addition to one of a few addresses.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gsskernels.triton.launch import launch
from gsskernels.triton.lines import lines, segment, stacked

RUN = 16
BLOCK = 4096
NUM_WARPS = 8
SCRATCH = 2**22  # bytes of private tables
PIXELS_A_TABLE = 2**15
MOST_TABLES = 64


def confusion_matrix(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    tables = Tables(prediction.device, num_classes, prediction.numel())
    if prediction.numel() > 0:
        maps = [stacked(m if m.dim() > 1 else m.reshape(1, -1), 2) for m in (prediction, target)]
        line, strides = lines(*maps)
        launch(
            _confusion_kernel,
            (line.programs(BLOCK),),
            *maps,
            tables.counts,
            tables.number,
            num_classes,
            ignored_class(ignore_index, num_classes),
            line.rows,
            line.columns,
            line.blocks(BLOCK),
            *(s for m, (row, column) in zip(maps, strides, strict=True) for s in (m.stride(0), row, column)),
            WIDE=wide(num_classes),
            RUN=RUN,
            BLOCK=BLOCK,
            num_warps=NUM_WARPS,
        )
    return tables.sum()


def ignored_class(ignore_index: int, num_classes: int) -> int:
    """The ignore index if it is a class id, else -1: labels outside the classes are not counted anyway."""
    return ignore_index if 0 <= ignore_index < num_classes else -1


def wide(num_classes: int) -> bool:
    """Whether positions in a table need 64 bits."""
    return num_classes**2 >= 2**31


class Tables:
    """`number` private tables of counts, all zero."""

    def __init__(self, device: torch.device, num_classes: int, pixels: int) -> None:
        fit = SCRATCH // (8 * num_classes**2)
        self.number = max(1, min(MOST_TABLES, fit, pixels // PIXELS_A_TABLE))
        self.counts = torch.zeros(self.number, num_classes, num_classes, dtype=torch.int64, device=device)

    def sum(self) -> Tensor:
        return self.counts[0] if self.number == 1 else self.counts.sum(0)


@triton.jit
def _confusion_kernel(
    prediction_ptr,
    target_ptr,
    counts_ptr,
    tables,
    num_classes,
    ignored,
    rows,
    columns,
    blocks,
    prediction_batch,
    prediction_row,
    prediction_column,
    target_batch,
    target_row,
    target_column,
    WIDE: tl.constexpr,
    RUN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    image, row, column, inside = segment(rows, columns, blocks, BLOCK)
    prediction = tl.load(
        prediction_ptr + image * prediction_batch + row * prediction_row + column * prediction_column,
        mask=inside,
        other=0,
    )
    target = tl.load(
        target_ptr + image * target_batch + row * target_row + column * target_column, mask=inside, other=0
    )
    count(counts_ptr, tables, prediction, target, inside, num_classes, ignored, WIDE, RUN)


@triton.jit
def count(counts_ptr, tables, prediction, target, inside, num_classes, ignored, WIDE: tl.constexpr, RUN: tl.constexpr):
    """Adds a block of pixels to the table of this program."""
    counted = inside & (target >= 0) & (target < num_classes) & (target != ignored)
    counted &= (prediction >= 0) & (prediction < num_classes)
    POSITION: tl.constexpr = tl.int64 if WIDE else tl.int32
    cell = target.to(POSITION) * num_classes + prediction.to(POSITION)
    runs = tl.reshape(tl.where(counted, cell, -1), [cell.shape[0] // RUN, RUN])
    counts_ptr += (tl.program_id(0) % tables).to(tl.int64) * num_classes * num_classes
    least = tl.min(runs, 1)
    equal = least == tl.max(runs, 1)
    whole = tl.full(least.shape, RUN, tl.int64)
    tl.atomic_add(counts_ptr + least, whole, mask=equal & (least >= 0), sem="relaxed")
    single = tl.full(runs.shape, 1, tl.int64)
    tl.atomic_add(counts_ptr + runs, single, mask=~equal[:, None] & (runs >= 0), sem="relaxed")
