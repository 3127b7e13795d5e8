"""Resizes label maps by weighted vote: one-hot -> bilinear -> argmax, without the planes.

Along an axis of n inputs and m outputs, output i lies at s = n/m (i + 1/2) - 1/2 between a = floor(s) and a + 1:
    w1 = s - a,  w0 = 1 - w1
    votes[k] = h0 (w0 [a=k] + w1 [b=k]) + h1 (w0 [c=k] + w1 [d=k])      for the four neighbours' classes a, b, c, d
    out = the class with most votes, the lowest on ties; ignored labels vote as class K, which loses all ties

Contract: the labels of the reference bit for bit. Coordinates are float64 and rounded to float32 once; votes are
float32 without fused operations. A margin map that is resized with the labels has the same weights.

A program, one warp, computes ROWS lines of BLOCK pixels: the float64 arithmetic, slow on consumer GPUs, is done once
per column for all these lines, and a warp whose neighbours are all equal does not vote.

Right on an H200, timed as part of evaluate.py. Compiled for sm_80 to sm_100: at most 79 registers, no spills; 51
instructions per pixel where all neighbours in a warp are equal, 51 more where it votes.
Slow case: rows shorter than BLOCK leave lanes idle.
"""

from __future__ import annotations

import ctypes

import triton
import triton.language as tl
from torch import Tensor

from gsskernels.triton.launch import launch
from gsskernels.triton.lines import stacked

Size = tuple[int, int]

ROWS = 4
BLOCK = 128
NUM_WARPS = 1


def label_resize(labels: Tensor, size: Size, num_classes: int, ignore_index: int) -> Tensor:
    out = labels.new_empty((*labels.shape[:-2], *size))
    if out.numel() > 0:
        vote(stacked(labels, 2), None, out, None, num_classes, ignore_index, checked=True)
    return out


def vote(
    labels: Tensor,
    margin: Tensor | None,
    out: Tensor,
    out_margin: Tensor | None,
    num_classes: int,
    ignore_index: int,
    checked: bool,
) -> None:
    """Fills `out` (*, H', W') from labels (B, H, W), and `out_margin` from a margin map laid out like the labels.

    checked: labels may lie outside 0..K-1. These labels vote as class K, and where it wins the output is
    `ignore_index`.
    """
    batch, height, width = labels.shape
    out_height, out_width = out.shape[-2:]
    blocks, groups = triton.cdiv(out_width, BLOCK), triton.cdiv(out_height, ROWS)
    launch(
        _vote_kernel,
        (batch * groups * blocks,),
        labels,
        margin,
        out,
        out_margin,
        num_classes,
        ignore_index,
        height,
        width,
        out_height,
        out_width,
        *scales((height, width), (out_height, out_width)),
        *labels.stride(),
        groups,
        blocks,
        CHECKED=checked,
        WIDE=num_classes >= 2**31 - 1,
        ROWS=ROWS,
        BLOCK=BLOCK,
        num_warps=NUM_WARPS,
        exact=True,
    )


def scales(size: Size, out_size: Size) -> tuple[float, float]:
    """Inputs per output along both axes, rounded to float32 as in the reference."""
    return ctypes.c_float(size[0] / out_size[0]).value, ctypes.c_float(size[1] / out_size[1]).value


@triton.jit
def _vote_kernel(
    labels_ptr,
    margin_ptr,
    out_ptr,
    out_margin_ptr,
    num_classes,
    ignore_index,
    height,
    width,
    out_height,
    out_width,
    scale_y,
    scale_x,
    label_batch,
    label_row,
    label_column,
    groups,
    blocks,
    CHECKED: tl.constexpr,
    WIDE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    image, first_row, column = tile(groups, blocks, ROWS, BLOCK)
    inside = column < out_width
    left, right, w0, w1 = axis(column, width, scale_x)
    left, right = left.to(tl.int64) * label_column, right.to(tl.int64) * label_column
    for row in range(first_row, tl.minimum(first_row + ROWS, out_height)):
        top, bottom, h0, h1 = axis(row, height, scale_y)
        upper = image * label_batch + top.to(tl.int64) * label_row
        lower = image * label_batch + bottom.to(tl.int64) * label_row
        a = class_at(labels_ptr + upper + left, inside, num_classes, ignore_index, CHECKED, WIDE)
        b = class_at(labels_ptr + upper + right, inside, num_classes, ignore_index, CHECKED, WIDE)
        c = class_at(labels_ptr + lower + left, inside, num_classes, ignore_index, CHECKED, WIDE)
        d = class_at(labels_ptr + lower + right, inside, num_classes, ignore_index, CHECKED, WIDE)
        winner = elected(a, b, c, d, w0, w1, h0, h1)
        if CHECKED:
            winner = tl.where(winner == num_classes, ignore_index, winner)
        offset = (image * out_height + row) * out_width + column
        tl.store(out_ptr + offset, winner.to(out_ptr.dtype.element_ty), mask=inside)
        if margin_ptr is not None:
            upper_sum = w0 * tl.load(margin_ptr + upper + left, mask=inside, other=0.0)
            upper_sum += w1 * tl.load(margin_ptr + upper + right, mask=inside, other=0.0)
            lower_sum = w0 * tl.load(margin_ptr + lower + left, mask=inside, other=0.0)
            lower_sum += w1 * tl.load(margin_ptr + lower + right, mask=inside, other=0.0)
            tl.store(out_margin_ptr + offset, h0 * upper_sum + h1 * lower_sum, mask=inside)


@triton.jit
def tile(groups, blocks, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Image (64-bit), first row and columns of this program."""
    program = tl.program_id(0)
    group = program // blocks
    column = program % blocks * BLOCK + tl.arange(0, BLOCK)
    return (group // groups).to(tl.int64), group % groups * ROWS, column


@triton.jit
def axis(i, n, scale):
    """Both neighbours and their weights for output i of an axis of n inputs."""
    source = ((tl.cast(i, tl.float64) + 0.5) * scale - 0.5).to(tl.float32)
    source = tl.maximum(source, 0.0)
    near = tl.minimum(source.to(tl.int32), n - 1)
    far = tl.minimum(near + 1, n - 1)
    w1 = tl.minimum(source - near, 1.0)
    return near, far, 1.0 - w1, w1


@triton.jit
def class_at(label_ptr, inside, num_classes, ignore_index, CHECKED: tl.constexpr, WIDE: tl.constexpr):
    """Labels as class ids; K for labels that are ignored or outside 0..K-1."""
    label = tl.load(label_ptr, mask=inside, other=0)
    if CHECKED:
        known = (label >= 0) & (label < num_classes) & (label != ignore_index)
        label = tl.where(known, label, num_classes)
    return label.to(tl.int64 if WIDE else tl.int32)


@triton.jit
def elected(a, b, c, d, w0, w1, h0, h1):
    """The class with the largest weight among the four neighbours. There is no vote if all are equal in the block."""
    winner = a
    if tl.max(tl.where((a != b) | (a != c) | (a != d), 1, 0), 0) > 0:
        most = _votes(a, a, b, c, d, w0, w1, h0, h1)
        for n in tl.static_range(3):
            k = b if n == 0 else (c if n == 1 else d)
            votes = _votes(k, a, b, c, d, w0, w1, h0, h1)
            better = (votes > most) | ((votes == most) & (k < winner))
            winner = tl.where(better, k, winner)
            most = tl.where(better, votes, most)
    return winner


@triton.jit
def _votes(k, a, b, c, d, w0, w1, h0, h1):
    upper = tl.where(a == k, w0, 0.0) + tl.where(b == k, w1, 0.0)
    lower = tl.where(c == k, w0, 0.0) + tl.where(d == k, w1, 0.0)
    return h0 * upper + h1 * lower
